"""Validation on labeled target images, and prediction of single images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiast.classes import LabelSpace
from hiast.data.sample import Sample
from hiast.errors import InputError
from hiast.evaluation.inference import Prediction, predict_probabilities
from hiast.evaluation.metrics import Scores, SegmentationMetrics
from hiast.evaluation.readout import coarse_views
from hiast.models.network import SegmentationNetwork
from hiast.models.normalize import Normalize
from hiast.prediction.image_settings import target_reader
from hiast.prediction.images import as_images, is_several
from hiast.prediction.inference import (
    InferenceSettings,
    Sizes,
    equal_sized,
    predict_arrays,
    to_planes,
    to_predictions,
    whole_numbers,
)
from hiast.prediction.windows import Blend
from hiast.training.samples import check_sample
from hiast.upsampling import ReadOut, read_out


class PredictionModule(pl.LightningModule):
    """A module that validates and predicts with its network.

    Args:
        network: The segmentation network.
        classes: The label space; its length is C.
        validation_size: (height, width) to which images are resized for validation and prediction. None keeps the
            size of each image.

    Raises:
        InputError: One of them is of another kind, or the network has another number of classes.

    Attributes:
        normalize: Images uint8 [B, 3, H, W] -> normalized float32 images, as the network reads them.
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
        if not isinstance(network, SegmentationNetwork):
            raise InputError(
                f"The network is a {type(network).__name__}: let it be a subclass of hiast.models.SegmentationNetwork, "
                "which says what a network has to give."
            )
        if not isinstance(classes, LabelSpace):
            raise InputError(
                f"The classes are a {type(classes).__name__}: give a hiast.classes.LabelSpace of names and colors."
            )
        if network.num_classes != len(classes):
            raise InputError(
                f"The network has {network.num_classes} classes and the scenario {len(classes)}: build it with "
                f"num_classes={len(classes)}."
            )
        # Convolutions run faster in this layout, on tensor cores and on CPUs.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalize = Normalize(network.mean, network.std)
        self.classes = classes
        self.validation_size: tuple[int, int] | None = None
        if validation_size is not None:
            height, width = whole_numbers(validation_size, 2, "validation_size", "(height, width)")
            self.validation_size = (height, width)
        self.metrics = SegmentationMetrics(classes)
        self.scores: Scores | None = None
        self.inference: dict[str, Any] = {}
        self._entropies: list[Tensor] = []

    @property
    def evaluation_network(self) -> nn.Module:
        """The network that is validated, predicts and labels."""
        return self.network

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C, H, W] of uint8 images [B, 3, H, W] at their own size; ``predict`` does more."""
        logits: Tensor = self.network(self.normalize(images))
        return logits

    def probabilities(self, images: Tensor, output_size: tuple[int, int], **options: Any) -> Tensor:
        """Class probabilities float32 [B, C, *output_size] of uint8 images [B, 3, H, W]."""
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
        views = coarse_views(network, self.normalize(images), sizes=sizes, output_size=output_size, **options)
        found: ReadOut = read_out(views, entropy=entropy)
        return found

    def validation_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Count one batch of labeled target images; returns the predicted labels.

        Raises:
            InputError: The batch lacks images or labels, or the images are not uint8 [B, 3, H, W].
        """
        check_sample("Validation batches", batch, ["image"], labeled=False)
        if "label" not in batch:
            raise InputError("Validation batches hold no tensor 'label'.")
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

    def predict(
        self,
        x: Any,
        *,
        sizes: Sizes = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: Sequence[int] | None = None,
        blend: Blend = "gaussian",
        batch_size: int = 1,
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
    ) -> Any:
        """Labels and confidence of images, each at its own size.

        The mode of the module and of all its parts is as before afterwards, after an error too.

        Args:
            x: An image: a path, a PIL image, an open file, or an array or tensor as ``hiast.prediction.as_rgb`` takes
                it; or a list of these, or a batch [B, ...].
            sizes: List of (height, width) at which the network sees the images; None: as in validation; "native":
                each image at its own size.
            scales: Factors of these sizes; the class probabilities of all are averaged.
            flip: Average with the mirrored image.
            window: (height, width, stride) of a sliding window; None: the whole image at once.
            blend: "gaussian" or "mean", see ``hiast.prediction.InferenceSettings``.
            batch_size: Consecutive images of equal size that go through the network together.
            bands: The bands of image files to use, counted from 1; None: as those of the target in training.
            value_range: (low, high) that become black and white in image files of more than 8 bits; None: as those of
                the target in training.

        Returns:
            ``Prediction(labels uint8 [H, W], confidence float32 [H, W])`` of one image; a list of them, in order, if
            ``x`` is a list, a tuple or a batch.

        Raises:
            InputError: An image is of no kind that is known, empty or cannot be read, a setting is out of range, or the
                weights are not float32.
        """
        dtype = next((parameter.dtype for parameter in self.network.parameters()), torch.float32)
        if dtype != torch.float32:
            name = str(dtype).removeprefix("torch.")
            raise InputError(
                f"The weights are {name}: predict needs those of float32. Call model.float(), and for passes in "
                f"{name} call predict within torch.autocast('{self.device.type}', {dtype})."
            )
        settings = InferenceSettings(
            sizes=self.sizes_to_see(sizes),
            scales=scales,  # type: ignore[arg-type]  # InferenceSettings checks and converts these.
            flip=flip,
            window=window,  # type: ignore[arg-type]
            blend=blend,
        )
        run_config: Any = self.run_config
        found: list[Prediction] = []
        with evaluating(self):
            for batch in equal_sized(as_images(x, target_reader(run_config, bands, value_range)), batch_size):
                found += self.predict_arrays(batch, settings)
        return found if is_several(x) else found[0]

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Predictions of one batch of images of equal size, for ``Trainer.predict``, by the settings of the validation.

        Args:
            batch: A collated ``Sample``, or its images alone, uint8 [B, 3, H, W].
            batch_idx: Not used.

        Returns:
            ``labels`` uint8 [B, H, W] and ``confidence`` float32 [B, H, W].

        Raises:
            InputError: The images are of another type or shape.
        """
        sample = batch if isinstance(batch, Mapping) else {"image": batch}
        check_sample("Batches to predict", sample, ["image"], labeled=False)
        images = sample["image"]
        found = self.read_out(images, (images.shape[-2], images.shape[-1]), **self.inference)
        return {"labels": found.labels, "confidence": found.confidence}

    def predict_arrays(self, images: NDArray[np.uint8], settings: InferenceSettings) -> list[Prediction]:
        """Predictions of images uint8 [B, H, W, 3] of one size; the module is in eval mode."""
        if settings.window is None:
            own = (images.shape[1], images.shape[2])
            with torch.inference_mode():
                planes = to_planes(images, self.device)
                seen = self.read_out(planes, own, sizes=settings.sizes_of(own), flip=settings.flip)
            return to_predictions(seen.labels, seen.confidence)
        return predict_arrays(
            self.evaluation_network,
            images,
            settings,
            mean=self.network.mean,  # type: ignore[arg-type]
            std=self.network.std,  # type: ignore[arg-type]
            device=self.device,
        )

    def sizes_to_see(self, sizes: Sizes) -> tuple[tuple[int, int], ...] | None:
        """The sizes at which the network sees images, as ``InferenceSettings`` has them."""
        if sizes is None:
            return None if self.validation_size is None else (self.validation_size,)
        if isinstance(sizes, str):
            if sizes != "native":
                raise InputError(f"sizes is '{sizes}': give 'native', or a list of (height, width).")
            return None
        return sizes  # type: ignore[return-value]  # InferenceSettings checks and converts them.


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode within this context; behind it each part has its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
