"""Labeling of the target images at the start of each round of self-training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from hiast.callbacks.bn_statistics import StatisticsStore, estimate_on, processes_of
from hiast.callbacks.hashing import weights_hash
from hiast.callbacks.stop import GracefulShutdown
from hiast.data import AdaptationDataModule
from hiast.data.datasets.joined import JoinedDataset
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.errors import InputError
from hiast.progress import ProgressFunction
from hiast.pseudo_labels import InstanceAdaptive, top_class
from hiast.pseudo_labels.generate import generate_round
from hiast.pseudo_labels.policies import Policy
from hiast.pseudo_labels.round_reader import RoundReader, read_signals
from hiast.training import AdaptationModule, HIASTModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSettings:
    """Settings of the labeling of a round.

    Attributes:
        policy: Builds the selection policy; called with ``num_classes``.
        size: (height, width) at which the network sees the images and labels are stored.
        group_size: Images that go through the network together and share one step of the thresholds.

    Raises:
        InputError: ``size`` is not a pair of positive numbers.
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
    """Labels the target images with the teacher before the first batch of a round.

    A complete round is kept, a partial one is resumed. After labeling, the teacher becomes a copy of the student. In a
    round that resumes from a checkpoint, nothing is labeled, and the teacher is the checkpoint's.

    Args:
        directory: Folder of the round's labels.
        settings: How to label.
        round_number: Round, counted from 1. From the second on, the labels are compared with those of the round
            before, in the folder of that number beside ``directory``.
        seed: Seed, together with the round, of the order of the images.
        labeled_with: The checkpoint that labels, for the manifest.
        stop: Asked after each group whether to stop; the round is resumed later.
        store: Statistics of the target that are known already; None: none are.
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
        store: StatisticsStore | None = None,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.round_number = round_number
        self.seed = seed
        self.labeled_with = labeled_with
        self.stop = stop
        self.store = StatisticsStore() if store is None else store

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Label, unless that has been done."""
        if not isinstance(pl_module, HIASTModule):
            raise TypeError(f"LabelRound labels with a HIASTModule, not {type(pl_module).__name__}.")
        if pl_module.batches_done == 0:
            try:
                self._label(trainer, pl_module)
            except RuntimeError:
                # When rank zero stops on request, the other processes only see that it is gone.
                self._stop_if_asked()
                raise
            pl_module.begin_round()

    def reader(self) -> RoundReader:
        """The finished pseudo-labels of the round."""
        return RoundReader(self.directory)

    def signals(self) -> dict[str, float]:
        """Label-free signals of the labeled round: coverage, and overlap with the round before it if there is one.

        They were computed while the labels were written; this only reads them.
        """
        return read_signals(self.directory)

    def _label(self, trainer: pl.Trainer, module: HIASTModule) -> None:
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        images = data.labeling_images()
        # Before the statistics are estimated: their last bits depend on the machine.
        weights = weights_hash(module.teacher.network)
        if module.bn_statistics == "target":
            # Also for the student, whose statistics the teacher copies in training: the stage before may not have
            # estimated them.
            with trainer.precision_plugin.forward_context():
                for network in (module.network, module.teacher.network):
                    estimate_on(network, module, images, store=self.store, communicator=processes_of(trainer))
        title = f"{module.stage}, round {self.round_number}: labeling"
        log.info("%s %d images.", title, len(images))
        with ProgressFunction(title) as progress:
            self._generate(trainer, module, images, weights, progress)

    def _generate(
        self,
        trainer: pl.Trainer,
        module: HIASTModule,
        images: SegmentationDataset | JoinedDataset,
        weights: str,
        progress: ProgressFunction,
    ) -> None:
        def report(done: int, total: int) -> None:
            progress(done, total)
            self._stop_if_asked()

        generate_round(
            directory=self.directory,
            names=images.names,
            read_image=images.read_image,
            predict=predictor(module, module.teacher.network, trainer.precision_plugin.forward_context),
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
            previous=self._previous(),
            communicator=processes_of(trainer),
            progress=report,
        )

    def _previous(self) -> Path | None:
        """The round before this one."""
        return self.directory.parent / str(self.round_number - 1) if self.round_number > 1 else None

    def _stop_if_asked(self) -> None:
        if self.stop is not None and self.stop.asked:
            raise SIGTERMException


def predictor(
    module: AdaptationModule, network: nn.Module, autocast: Callable[[], AbstractContextManager[Any]]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function from images uint8 [b, 3, h, w] to confidence float32 and prediction uint8 [b, h, w].

    Args:
        module: Normalizes the images; its device is used.
        network: The network that labels, in eval mode: that of the module, or its teacher's.
        autocast: Makes the context of the run's precision.
    """

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            normalized = module.normalize(images.to(module.device))
            with autocast():
                coarse: Tensor = network.coarse(normalized)  # type: ignore[operator]
            # In float32, as validation: interpolating 16 bits would change the class of one pixel in 500.
            return top_class(module.network.upsampling(*normalized.shape[-2:])(coarse.float()))

    return predict


def label_identity(module: AdaptationModule, precision: str) -> dict[str, object]:
    """The settings of a module that determine its labels beside the weights, for the identity of a round."""
    return {
        "network": getattr(module.network, "recipe", None),
        "bn_statistics": module.bn_statistics,
        "precision": precision,
    }
