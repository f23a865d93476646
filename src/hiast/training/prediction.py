"""Validation on labeled target images, and prediction of single images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiast.classes import LabelSpace
from hiast.data.io.images import read_image
from hiast.data.sample import Sample
from hiast.errors import InputError
from hiast.evaluation.inference import Prediction, predict_probabilities
from hiast.evaluation.metrics import Scores, SegmentationMetrics
from hiast.evaluation.readout import coarse_views
from hiast.models.normalize import normalize
from hiast.upsampling import ReadOut, read_out

if TYPE_CHECKING:
    from hiast.models import SegmentationNetwork


class PredictionModule(pl.LightningModule):
    """A module that validates and predicts with its network.

    Args:
        network: The segmentation network.
        classes: The label space; its length is C.
        validation_size: (height, width) to which images are resized for validation and prediction. None keeps the
            size of each image.

    Attributes:
        scores: Scores of the last validation; None before the first.
        inference: Options of ``probabilities`` in validation: ``sizes``, ``flip``, ``window``.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        validation_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if getattr(network, "num_classes", len(classes)) != len(classes):
            raise InputError(
                f"The network has {network.num_classes} classes and the scenario {len(classes)}: build it with "
                f"num_classes={len(classes)}."
            )
        # Convolutions run faster in this layout, on tensor cores and on CPUs.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes = classes
        self.validation_size = None if validation_size is None else (validation_size[0], validation_size[1])
        self.metrics = SegmentationMetrics(classes)
        self.scores: Scores | None = None
        self.inference: dict[str, Any] = {}
        self._entropies: list[Tensor] = []

    @property
    def evaluation_network(self) -> nn.Module:
        """The network that is validated, predicts and labels."""
        return self.network

    def probabilities(self, images: Tensor, output_size: tuple[int, int], **options: Any) -> Tensor:
        """Class probabilities float32 [B, C, *output_size] of uint8 images [B, 3, H, W] (method section 10)."""
        sizes = options.pop("sizes", None) or ([self.validation_size] if self.validation_size else None)
        return predict_probabilities(
            self.evaluation_network,
            images,
            mean=self.network.mean,  # type: ignore[arg-type]
            std=self.network.std,  # type: ignore[arg-type]
            sizes=sizes,
            output_size=output_size,
            **options,
        )

    def read_out(
        self, images: Tensor, output_size: tuple[int, int], *, entropy: bool = False, **options: Any
    ) -> ReadOut:
        """Labels and confidence of uint8 images [B, 3, H, W] at ``output_size``, without probabilities at full size.

        Args:
            images: uint8 [B, 3, H, W].
            output_size: (height, width) of the result.
            entropy: Also compute the mean normalized entropy of each image.
            options: ``sizes``, ``flip`` and ``window``, as in ``hiast.evaluation.readout.coarse_views``.
        """
        sizes = options.pop("sizes", None) or ([self.validation_size] if self.validation_size else None)
        network: Any = self.evaluation_network
        normalized = normalize(images, self.network.mean, self.network.std)  # type: ignore[arg-type]
        views = coarse_views(network, normalized, sizes=sizes, output_size=output_size, **options)
        found: ReadOut = read_out(views, entropy=entropy)
        return found

    def validation_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Count one batch of labeled target images; returns the predicted labels."""
        label = batch["label"]
        found = self.read_out(
            batch["image"], (label.shape[-2], label.shape[-1]), entropy=True, **self.inference
        )
        assert found.entropy is not None
        self.metrics.update(found.labels, label)
        self._entropies.append(found.entropy.mean().reshape(1))
        return found.labels

    def on_validation_epoch_end(self) -> None:
        """Scores of the whole set, over all processes, and the label-free mean entropy."""
        self.scores = self.metrics.compute()
        self.metrics.reset()
        entropy = torch.cat(self._entropies).sum() if self._entropies else torch.zeros((), device=self.device)
        count = torch.tensor(float(len(self._entropies)), device=self.device)
        self._entropies.clear()
        sums: Any = self.all_gather(torch.stack([entropy, count]))
        total = sums.reshape(-1, 2).sum(0)
        self.log("val/entropy", total[0] / total[1])
        self.log_dict({f"val/{title}": value for title, value in self.scores.means.items()})

    @torch.inference_mode()
    def predict(self, image: NDArray[np.uint8] | str | Path, **options: Any) -> Prediction:
        """Labels and confidence of one image, at its own size.

        Args:
            image: uint8 [H, W, 3] RGB array, or the path of an image file.
            options: ``sizes`` (sequence of (height, width)), ``flip`` (bool) and ``window`` as in
                ``hiast.evaluation.predict_probabilities``.

        Returns:
            ``Prediction(labels uint8 [H, W], confidence float32 [H, W])``.

        Raises:
            InputError: The array has another shape or dtype, or the file cannot be read.
        """
        array = read_image(Path(image)) if isinstance(image, str | Path) else image
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise InputError(f"predict needs a uint8 array [H, W, 3], not {array.dtype} {list(array.shape)}.")
        images = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None].to(self.device)
        was_training = self.training
        self.eval()
        try:
            found = self.read_out(images, (array.shape[0], array.shape[1]), **options)
        finally:
            self.train(was_training)
        return Prediction(found.labels[0].cpu().numpy(), found.confidence[0].float().cpu().numpy())
