"""Pseudo-labels at the start of each round of self-training."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from hiast.callbacks.bn_statistics import estimate_on
from hiast.callbacks.progress import LabelProgress
from hiast.callbacks.stop import GracefulShutdown
from hiast.data import AdaptationDataModule
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.errors import InputError
from hiast.evaluation.signals import agreement
from hiast.pseudo_labels import InstanceAdaptive
from hiast.pseudo_labels.collectives import SingleProcess, TorchProcesses
from hiast.pseudo_labels.generate import generate_round
from hiast.pseudo_labels.policies import Policy
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.training import AdaptationModule, HIASTModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSettings:
    """How a round is labeled (method section 2).

    Attributes:
        policy: Builds the selection policy; called with ``num_classes``.
        size: (height, width) at which the network sees the images and labels are stored.
        group_size: Images that move the thresholds together, and that go through the network together.
    """

    policy: Callable[..., Policy] = InstanceAdaptive
    size: tuple[int, int] = (768, 1536)
    group_size: int = 2

    def __post_init__(self) -> None:
        if self.size is None or len(self.size) != 2 or min(self.size) < 1:
            raise InputError(
                f"pseudo_label.size must be [height, width], not {self.size}: name the size to label at."
            )
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))


class LabelRound(pl.Callback):
    """Has the teacher label the target images before the first batch of a round.

    A complete round is left alone, a partial one is continued. When the labels are there, the teacher becomes a
    copy of the student, unless the round goes on from a checkpoint, which holds the teacher.

    Args:
        directory: Round directory to write.
        settings: How to label.
        round_number: Round, counted from 1.
        seed: Decides, with the round, the order of the images.
        labeled_with: The checkpoint that labels, in words, for the manifest.
        stop: Asked after each group whether to stop; the round is continued later.
    """

    def __init__(
        self,
        directory: Path,
        settings: LabelSettings,
        *,
        round_number: int,
        seed: int,
        labeled_with: str,
        stop: GracefulShutdown | None = None,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.round_number = round_number
        self.seed = seed
        self.labeled_with = labeled_with
        self.stop = stop
        self._signals: dict[str, float] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Label, unless that is done."""
        if not isinstance(pl_module, HIASTModule):
            raise TypeError(f"LabelRound labels with a HIASTModule, not {type(pl_module).__name__}.")
        if pl_module.batches_done == 0:
            try:
                self._label(trainer, pl_module)
            except RuntimeError:
                # Where the first process stops on request, the others only see that it is gone.
                self._stop_if_asked()
                raise
            pl_module.begin_round()

    def reader(self) -> RoundReader:
        """The finished pseudo-labels of the round."""
        return RoundReader(self.directory)

    def signals(self) -> dict[str, float]:
        """Label-free signals of the round: coverage, and agreement with the round before where there is one."""
        if self._signals is None:
            self._signals = self._compute_signals()
        return self._signals

    def _compute_signals(self) -> dict[str, float]:
        this = RoundReader(self.directory)
        before = self.directory.parent / str(self.round_number - 1)
        values = {"labels/coverage": coverage(this)}
        if self.round_number > 1:
            last = RoundReader(before)
            if last.label_size == this.label_size:
                shares = [agreement(this.label(name), last.label(name)) for name in this.names]
                known = [share for share in shares if not math.isnan(share)]
                values["labels/agreement"] = sum(known) / len(known) if known else math.nan
        return values

    def _label(self, trainer: pl.Trainer, module: HIASTModule) -> None:
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        images = data.labeling_images()
        # Before the statistics are estimated, whose last bits depend on the machine that does it.
        weights = weights_hash(module.teacher.network)
        if module.bn_statistics == "target":
            # The student too, whose statistics the teacher takes over in training: the stage before need not have.
            with trainer.precision_plugin.forward_context():
                for network in (module.network, module.teacher.network):
                    estimate_on(network, module, images)
        title = f"{module.stage}, round {self.round_number}: labeling"
        log.info("%s %d images.", title, len(images))
        with LabelProgress(title) as progress:
            self._generate(trainer, module, images, weights, progress)

    def _generate(
        self,
        trainer: pl.Trainer,
        module: HIASTModule,
        images: SegmentationDataset,
        weights: str,
        progress: LabelProgress,
    ) -> None:
        def tell(done: int, total: int) -> None:
            progress(done, total)
            self._stop_if_asked()

        generate_round(
            directory=self.directory,
            names=images.names,
            read_image=images.read_image,
            predict=predictor(module, module.teacher, trainer.precision_plugin.forward_context),
            policy=self.settings.policy(num_classes=len(module.classes)),
            size=self.settings.size,
            group_size=self.settings.group_size,
            seed=[self.seed, self.round_number],
            identity={
                "round": self.round_number,
                "labeled_with": self.labeled_with,
                "weights": weights,
                **label_identity(module, trainer.precision),
            },
            processes=TorchProcesses() if trainer.world_size > 1 else SingleProcess(),
            progress=tell,
        )

    def _stop_if_asked(self) -> None:
        if self.stop is not None and self.stop.asked:
            raise SIGTERMException


def predictor(
    module: AdaptationModule, network: nn.Module, autocast: Callable[[], AbstractContextManager[Any]]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function from images uint8 [b, 3, h, w] to confidence float32 and prediction int64 [b, h, w].

    Args:
        module: Says how images are normalized and on which device.
        network: The network that labels; in eval mode.
        autocast: Context of the run's precision.
    """

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(), autocast():
            logits = network(module.prepare(images.to(module.device)))
            confidence, prediction = logits.float().softmax(1).max(1)
        return confidence, prediction

    return predict


def label_identity(module: AdaptationModule, precision: str) -> dict[str, object]:
    """What else decides the labels that a network makes, for the identity of a round."""
    return {
        "network": getattr(module.network, "recipe", None),
        "bn_statistics": module.bn_statistics,
        "precision": precision,
    }


def coverage(labels: RoundReader) -> float:
    """Share of the pixels of a round that have a pseudo-label, 0..1."""
    height, width = labels.label_size
    return float(labels.image_pixels.sum() / (len(labels.names) * height * width))


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, in the order of its state dict."""
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
