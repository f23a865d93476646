"""Candidates: networks of a run that may become its result, kept and measured without target labels."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hiast.callbacks.bn_statistics import StatisticsStore, estimate_on, processes_of
from hiast.callbacks.colored_images import colored_images
from hiast.callbacks.hashing import weights_hash
from hiast.callbacks.labeled_scores import LabeledScores
from hiast.callbacks.rounds import LabelRound
from hiast.callbacks.sample_images import in_batches, labeled_batches, labeled_images, own_indices, to_batch
from hiast.callbacks.schedule import is_look
from hiast.classes import LabelSpace
from hiast.data import AdaptationDataModule
from hiast.errors import InputError, check_not_negative
from hiast.models.batch_norm import batch_norms
from hiast.selection import (
    Candidate,
    CandidateRecords,
    CandidateScores,
    PredictionStore,
    measure_source,
    measure_target,
)
from hiast.selection.alarms import raised
from hiast.selection.candidates import SOURCE_ONLY
from hiast.selection.measure import class_shares, with_ensemble
from hiast.training import AdaptationModule, HIASTModule, OnlineModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SelectionSettings:
    """Which candidates a run keeps, and how they are measured.

    Attributes:
        images: Target images that every candidate is measured on, evenly spaced; 0 measures nothing.
        source_fraction: Share of a source without validation images that is held out to measure candidates on.
        source_images: Held-out source images at most; 0: candidates are not measured on the source.
        shrink: Stored predictions are smaller than the image by this factor.
        looks: Candidates within online training besides its end, evenly spaced over the steps.
        target_statistics: Shares of batch-norm statistics of the target, of which each makes a candidate of the first
            stage without training: 1 replaces the statistics, 0.5 averages both.
        return_to_best: A round or stage starts from the best candidate so far if the rule rejects the last one.

    Raises:
        InputError: A setting is out of range.
    """

    images: int = 64
    source_fraction: float = 0.0
    source_images: int = 64
    shrink: int = 4
    looks: int = 0
    target_statistics: Sequence[float] = (1.0,)
    return_to_best: bool = False

    def __post_init__(self) -> None:
        check_not_negative(
            "selection", images=self.images, source_images=self.source_images, looks=self.looks
        )
        if self.shrink < 1 or not all(0 < share <= 1 for share in self.target_statistics):
            raise InputError(
                "selection: shrink must be at least 1 and target_statistics a list of shares above 0, at most 1."
            )


class CandidateKeeper(pl.Callback):
    """Keeps and measures the candidates of one fit; one for each round, all of a run with the same folder.

    Args:
        folder: Run directory.
        settings: What to keep and measure.
        step_before: Optimizer steps of all rounds before this one.
        is_first: Whether this is the first stage of the run, of which target statistics are a candidate.
        init_stage: Stage of the checkpoint that the first stage starts from, which then is a candidate, too; None: it
            starts from no checkpoint.
        name: Name of the candidate at the end of the fit.
        seed: Seed of the pixels that scores look at.
        labels: The pseudo-labels of the round; None in other stages.
    """

    def __init__(
        self,
        folder: Path,
        settings: SelectionSettings,
        *,
        name: str,
        step_before: int = 0,
        is_first: bool = False,
        init_stage: str | None = None,
        seed: int = 888,
        labels: LabelRound | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.name = name
        self.step_before = step_before
        self.is_first = is_first
        self.init_stage = init_stage
        self.seed = seed
        self.labels = labels
        self.records = CandidateRecords(folder)
        self.labeled = LabeledScores(folder, settings.images)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the checkpoint that the run starts from, and a look that an interruption has cost."""
        assert isinstance(pl_module, AdaptationModule)
        if self.settings.images and self.is_first and self.init_stage and not pl_module.batches_done:
            self._measure(trainer, pl_module, "start", source_trained=self.init_stage == SOURCE_ONLY)
            self._measure_statistics(trainer, pl_module)
        # A run that was killed while it measured a look resumes behind the look.
        if self.settings.images and pl_module.batches_done and is_look(pl_module, self.settings.looks):
            self._keep(trainer, pl_module, f"{self.name}-{pl_module.steps_done:05d}")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Keep a candidate at each look."""
        assert isinstance(pl_module, AdaptationModule)
        if self.settings.images and is_look(pl_module, self.settings.looks):
            self._keep(trainer, pl_module, f"{self.name}-{pl_module.steps_done:05d}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the end of the fit."""
        assert isinstance(pl_module, AdaptationModule)
        if pl_module.batches_done == pl_module.batches:
            self.keep_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the end of a fit that was stopped behind its last step, and is only validated now."""
        assert isinstance(pl_module, AdaptationModule)
        if trainer.state.fn == "validate":
            self.keep_end(trainer, pl_module)

    def keep_end(self, trainer: pl.Trainer, module: AdaptationModule) -> None:
        """Keep and measure the network at the end of a fit and, after the first stage, target statistics."""
        if not self.settings.images:
            return
        self._keep(trainer, module, self.name)
        if self.is_first and not self.init_stage:
            self._measure_statistics(trainer, module)

    def _measure_statistics(self, trainer: pl.Trainer, module: AdaptationModule) -> None:
        """Keep the network with target statistics, if it has batch normalization."""
        if not any(True for _ in batch_norms(module.evaluation_network)):
            return
        store = StatisticsStore()  # All shares are of one estimate.
        for share in self.settings.target_statistics:
            name = "target_statistics" if share == 1 else f"target_statistics-{share:g}"
            with _mixed_statistics(trainer, module, share, store):
                self._measure(trainer, module, name)

    def _keep(self, trainer: pl.Trainer, module: AdaptationModule, name: str) -> None:
        self._measure(trainer, module, name, source_trained=module.stage == SOURCE_ONLY)
        if isinstance(module, OnlineModule):
            with module.evaluating("student" if module.evaluated == "teacher" else "teacher"):
                self._measure(trainer, module, f"{name}-{module.evaluated}")

    def _measure(
        self, trainer: pl.Trainer, module: AdaptationModule, name: str, *, source_trained: bool = False
    ) -> None:
        """Save and measure the network that the module evaluates now, unless that is done."""
        network = module.evaluation_network
        identity = weights_hash(network)
        if self.records.find(name, identity) is not None:
            # A run that was killed while its candidates were compared has recorded the last one without.
            recorded = [each for each in self.records.read() if each.checkpoint]
            if trainer.is_global_zero and any(math.isnan(each.scores.ensemble_miou) for each in recorded):
                self.compare(module.classes)
            trainer.strategy.barrier("candidate known")
            return
        checkpoint = self.folder / "candidates" / f"{name}.ckpt"
        log.info("%s: measuring on target images, without their labels.", name)
        if trainer.is_global_zero:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(checkpoint, weights_only=True)
        was_training = module.training
        module.eval()
        try:
            scores = self._scores(trainer, module, name, identity)
            if math.isnan(scores.entropy):
                log.warning(
                    "%s: the network gives values that are not finite on target images: use a smaller learning rate.",
                    name,
                )
            candidate = Candidate(
                name,
                checkpoint.relative_to(self.folder).as_posix(),
                self.step_before + module.steps_done,
                scores,
                identity,
                source_trained,
            )
            # Before the candidate is recorded, since one that is recorded is not measured again.
            self.labeled.measure(trainer, module, name, candidate.step)
        finally:
            module.train(was_training)
        if trainer.is_global_zero:
            self.records.record(candidate)
            self.compare(module.classes)
        trainer.strategy.barrier("candidate recorded")

    def _scores(
        self, trainer: pl.Trainer, module: AdaptationModule, name: str, identity: str
    ) -> CandidateScores:
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        store = PredictionStore(
            self.folder / "candidates" / "predictions", len(module.classes), self.settings.shrink
        )
        if trainer.is_global_zero:
            store.begin(name, identity)
        trainer.strategy.barrier("candidate")

        def predict(images: Tensor) -> Tensor:
            with trainer.precision_plugin.forward_context():
                return module.probabilities(images, (images.shape[2], images.shape[3])).float()

        teacher = module.teacher.network if isinstance(module, HIASTModule | OnlineModule) else None
        if teacher is module.evaluation_network or not module.batches_done:
            teacher = None  # It would be compared with itself, or is still a copy of the start.
        scores = measure_target(
            predict,
            _target_batches(trainer, module, data, self.settings.images),
            module.classes,
            seed=self.seed,
            teacher=None if teacher is None else _predictor(trainer, module, teacher),
            store=store,
            candidate=name,
            device=module.device,
        )
        plain: Iterable[tuple[Tensor, Tensor]] = ()
        colored: Iterable[tuple[Tensor, Tensor]] = ()
        if data.source.has_val and self.settings.source_images:
            source, count = data.source.val_dataset(), self.settings.source_images
            plain = labeled_images(trainer, module, source, count)
            samples = colored_images(trainer, module, source, data.labeling_images(), count, self.seed)
            colored = ((image, label) for _, image, label in samples)
        measure = partial(measure_source, predict, classes=module.classes, device=module.device)
        source_miou, source_labels = measure(labeled_batches(plain))
        return dataclasses.replace(
            scores,
            source_miou=source_miou,
            colored_miou=measure(labeled_batches(colored))[0],
            source_labels=source_labels,
            labels=self._label_shares(module.classes),
        )

    def _label_shares(self, classes: LabelSpace) -> Mapping[str, float]:
        if self.labels is None:
            return {}
        reader = self.labels.reader()
        return class_shares(classes, reader.image_pixels.sum(0), reader.pixels)

    def compare(self, classes: LabelSpace) -> None:
        """Score all candidates against each other, and log alarms."""
        store = PredictionStore(
            self.folder / "candidates" / "predictions", len(classes), self.settings.shrink
        )
        candidates = with_ensemble(self.records.read(), store, classes)
        self.records.record_all(candidates)
        for sentence in raised(candidates):
            log.warning("%s", sentence)


def keep_end(trainer: pl.Trainer, module: AdaptationModule) -> None:
    """Let the keepers of a trainer, whose call has ended, keep and measure the end of a fit."""
    module.to(trainer.strategy.root_device)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, CandidateKeeper):
            callback.keep_end(trainer, module)


@contextmanager
def _mixed_statistics(
    trainer: pl.Trainer, module: AdaptationModule, share: float, store: StatisticsStore
) -> Iterator[None]:
    """Within this context the evaluated network has ``share`` of the batch-norm statistics of the target."""
    data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
    network = module.evaluation_network
    norms = [norm for norm in batch_norms(network) if norm.running_mean is not None]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]  # type: ignore[union-attr]
    try:
        with trainer.precision_plugin.forward_context():
            images, processes = data.labeling_images(), processes_of(trainer)
            estimate_on(network, module, images, store=store, communicator=processes)
        for norm, (mean, var) in zip(norms, before, strict=True):
            norm.running_mean.lerp_(mean, 1 - share)  # type: ignore[union-attr]
            norm.running_var.lerp_(var, 1 - share)  # type: ignore[union-attr]
        yield
    finally:
        for norm, (mean, var) in zip(norms, before, strict=True):
            norm.running_mean.copy_(mean)  # type: ignore[union-attr]
            norm.running_var.copy_(var)  # type: ignore[union-attr]


def _predictor(trainer: pl.Trainer, module: AdaptationModule, network: nn.Module) -> Any:
    def predict(images: Tensor) -> Tensor:
        with trainer.precision_plugin.forward_context():
            logits: Tensor = network(module.normalize(images))
        return logits.float().softmax(1)

    return predict


def _target_batches(
    trainer: pl.Trainer, module: AdaptationModule, data: AdaptationDataModule, count: int
) -> Iterator[tuple[list[int], Tensor]]:
    """This process's share of ``count`` target images."""
    dataset = data.labeling_images()
    indices = own_indices(trainer, len(dataset), count)
    for batch in in_batches((to_batch(dataset.read_image(index), module), index) for index in indices):
        yield [index for _, index in batch], torch.cat([image for image, _ in batch])
