"""Run all stages in order: each starts from the last checkpoint of the previous one, and finished ones are skipped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from hiast.callbacks import GracefulShutdown, LabelRound, SelectionSettings, ValidationSchedule
from hiast.callbacks.bn_statistics import StatisticsStore
from hiast.callbacks.candidates import keep_end
from hiast.callbacks.checkpoint import link_or_copy
from hiast.callbacks.report import RunReport
from hiast.callbacks.stop import keyboard_interrupt
from hiast.callbacks.tracking import Tracking
from hiast.classes import LabelSpace
from hiast.compile_modes import CompileMode
from hiast.data import AdaptationDataModule
from hiast.data.adaptation import Domain
from hiast.data.checks.headers import check_headers
from hiast.data.datasets.joined import JoinedDataset
from hiast.data.loading.loaders import end_workers
from hiast.errors import InputError
from hiast.files import write_json
from hiast.models import SegmentationNetwork
from hiast.ranks import is_rank_zero
from hiast.report.files import CLASSES, FORMAT, LINEAGE, REPORT
from hiast.run.callbacks import build_callbacks
from hiast.run.directory import RunDirectory
from hiast.run.images import record_images
from hiast.run.lineage import record_round
from hiast.run.modules import ModuleBuilder, start_from
from hiast.run.results import check_complete, make_result
from hiast.run.select import better_start, select
from hiast.run.stages import Stage
from hiast.run.trainer import build_trainer, time_left
from hiast.training import AdaptationModule
from hiast.training.checkpoint import check_fit, read_checkpoint

log = logging.getLogger(__name__)


@dataclass
class Pipeline:
    """Runs the stages of a run directory in order.

    Attributes:
        directory: The run directory.
        network: Function that builds the network with its pretrained weights.
        classes: The label space of the scenario.
        datamodule: The data of source and target.
        stages: Stages to run, in order.
        trainer: Arguments of ``pl.Trainer``, such as devices and precision.
        loggers: Lightning loggers.
        validation_size: (height, width) of images in validation and prediction; None keeps theirs.
        val_every_n_steps: Optimizer steps between two validations; the last step of a round is always validated.
        checkpoint_every_n_steps: Optimizer steps between two checkpoints.
        log_every_n_steps: Optimizer steps between two rows of loss terms.
        compile_mode: Mode of ``torch.compile`` for the passes of training; None: not compiled.
        seed: Seed of all random draws.
        init_from: Checkpoint to start from, instead of the network's pretrained weights.
        config: Plain values stored in every checkpoint, so that it can be evaluated alone.
        pictures: Validation images on the picture sheets, and target images among the examples of the report; 0: none.
        report: Whether ``report.html`` is written as the run goes.
        selection: Which candidates are kept and measured, of which one is chosen without labels.
        callbacks: Callbacks of your own, which all rounds share; they are called behind those of the run.
        bare_network: Function that builds the network without pretrained weights, for runs that start from a
            checkpoint. None: ``network`` is used.
        on_ready: Called with the pipeline and the network when all stages can be built and all images are listed,
            before the first stage.
    """

    directory: RunDirectory
    network: Callable[[], SegmentationNetwork]
    classes: LabelSpace
    datamodule: AdaptationDataModule
    stages: Sequence[Stage]
    trainer: dict[str, Any] = field(default_factory=dict)
    loggers: Sequence[Any] = ()
    validation_size: tuple[int, int] | None = None
    val_every_n_steps: int = 400
    checkpoint_every_n_steps: int = 400
    log_every_n_steps: int = 50
    compile_mode: CompileMode | None = None
    seed: int = 888
    init_from: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)
    pictures: int = 4
    report: bool = True
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    callbacks: Sequence[pl.Callback] = ()
    bare_network: Callable[[], SegmentationNetwork] | None = None
    on_ready: Callable[[Pipeline, SegmentationNetwork], None] | None = None
    target_statistics: StatisticsStore = field(default_factory=StatisticsStore, init=False)
    started: float = field(default_factory=time.monotonic, init=False)

    @property
    def build_module(self) -> ModuleBuilder:
        """Builds the module of a round."""
        return ModuleBuilder(self.classes, self.validation_size, self.seed)

    def run(self) -> list[dict[str, Any]]:
        """Run all stages.

        Returns:
            One result per round, in order: ``stage``, ``round``, ``steps``, ``means`` (title -> mIoU, 0..1),
            ``iou`` (class -> IoU or None if absent), ``signals`` (label-free), ``seconds``.

        Raises:
            InputError: Another process works in the directory, or an input does not fit.
            SIGTERMException: The process received SIGTERM; the same call resumes later.
            KeyboardInterrupt: It was interrupted by Ctrl+C; likewise.
        """
        if not self.stages:
            raise InputError("There is no stage to run: name at least one in stages.")
        if is_rank_zero():
            self.directory.lock()
        self.datamodule.use_skip_list(self.directory.skipped)
        network = self._check()
        if self.on_ready is not None:
            self.on_ready(self, network)
        if is_rank_zero():
            write_json(self.directory.path / CLASSES, {"format": FORMAT, **self.classes.to_dict()})
        report = RunReport(self.directory.path, enabled=self.report)
        tracking = Tracking(self.loggers, self.directory.path)
        tracking.start(self.config)
        status = "failed"
        try:
            results = self._run_stages(network, report, tracking)
            if is_rank_zero() and self.selection.images:
                select(self.directory.path)
            status = "success"
        finally:
            report.write()
            names = ("config.yaml", "metrics.csv", "selected.json", LINEAGE, REPORT)
            tracking.finish([self.directory.path / name for name in names], status)
        return results

    def _run_stages(
        self, network: SegmentationNetwork, report: RunReport, tracking: Tracking
    ) -> list[dict[str, Any]]:
        schedule = ValidationSchedule(self.val_every_n_steps, images=self.datamodule.target.has_val)
        results = []
        before: tuple[Stage, int] | None = None
        steps = 0
        with GracefulShutdown(schedule) as stop, keyboard_interrupt(stop):
            for stage in self.stages:
                for number in range(1, len(stage.rounds) + 1):
                    result = self.directory.read_result(stage.name, number)
                    tracking.steps_before = steps
                    if result is None:
                        start = self.init_from if before is None else self._start(*before)
                        result = self._fit(network, stage, number, start, stop, report, tracking)
                    else:
                        log.info("%s, round %d is finished: skipped.", stage.name, number)
                    results.append(result)
                    steps += result["steps"]
                    before = stage, number
        return results

    def _start(self, stage: Stage, number: int) -> Path:
        """The checkpoint that what follows this round of a stage starts from."""
        last = self.directory.checkpoints(stage.name) / f"round_{number}.ckpt"
        if not (self.selection.return_to_best and self.selection.images):
            return last
        return better_start(self.directory.path, stage, number) or last

    def _check(self) -> SegmentationNetwork:
        """Build the network, and check that all stages can be built and find their files."""
        first = self.stages[0].name
        begun = self.directory.read_result(first, 1) is not None or self._resume_point(first, 1) is not None
        torch.manual_seed(self.seed)
        # Weights that a checkpoint replaces need not be downloaded, unless a frozen copy of them is needed too.
        replaced = self.bare_network is not None and (begun or self.init_from is not None)
        frozen = any(stage.needs_pretrained for stage in self.stages)
        network = self.bare_network() if replaced and not frozen and self.bare_network else self.network()
        if self.init_from is not None:
            check_fit(read_checkpoint(self.init_from, "meta"), network, self.classes, self.init_from)
        domains: set[Domain] = set()
        for stage in self.stages:
            for number in range(1, len(stage.rounds) + 1):
                domains |= set(self.build_module(network, stage, number).domains)
        if is_rank_zero():
            self._list_images(domains, begun)
        return network

    def _list_images(self, domains: set[Domain], begun: bool) -> None:
        """List all images and read their headers now, so that problems are reported before training starts."""
        data = self.datamodule
        data.prepare_data()
        listed = {"source train": data.source.train_dataset()} if "source" in domains else {}
        if "target" in domains:
            listed["target train"] = data.labeling_images()
        if data.target.has_val:
            listed["target val"] = data.target.val_dataset()
        for dataset in listed.values():
            for part in dataset.datasets if isinstance(dataset, JoinedDataset) else [dataset]:
                check_headers(part)
        if any(settings.labels is not None for stage in self.stages for settings in stage.rounds):
            data.check_strong_view()
        names = {role: dataset.names for role, dataset in listed.items()}
        record_images(self.directory.path, names, begun=begun)

    def _fit(
        self,
        network: SegmentationNetwork,
        stage: Stage,
        number: int,
        start: Path | None,
        stop: GracefulShutdown,
        report: RunReport,
        tracking: Tracking,
    ) -> dict[str, Any]:
        """Train one round, from ``start`` or from its own last checkpoint, and write its result."""
        began = time.monotonic()
        settings = stage.rounds[number - 1]
        resume = self._resume_point(stage.name, number)
        module = self._module(network, stage, number, start, resume)
        label_round = self._labels(stage, number, start, stop)
        data = self.datamodule.with_plan(
            domains=module.domains,
            batch_size=settings.batch_size // settings.accumulate_grad_batches,
            steps=module.batches,
            start_step=module.batches_done,
            round=number if settings.labels else 0,
            round_directory=self.directory.round(stage.name, number) if settings.labels else None,
        )
        options = dict(self.trainer)
        if options.get("max_time") is not None:  # A limit of this start, and not of each round.
            options["max_time"] = time_left(options["max_time"], time.monotonic() - self.started)
        trainer = build_trainer(
            options,
            module,
            callbacks=[
                *build_callbacks(self, stage, module, label_round, stop, report, tracking),
                *self.callbacks,
            ],
            val_every_n_steps=self.val_every_n_steps,
            folder=self.directory.path,
        )
        try:
            if module.batches_done < module.batches:
                trainer.fit(module, data, ckpt_path=resume, weights_only=True)
            else:
                # The process was killed between the last checkpoint and the result: only the validation is missing.
                module.load_state_dict(read_checkpoint(str(resume))["state_dict"])
                trainer.validate(module, data, verbose=False)
                if not data.target.has_val:  # Lightning then calls no callback.
                    keep_end(trainer, module)
        finally:
            end_workers(trainer.train_dataloader)
            end_workers(trainer.val_dataloaders)
        check_complete(stage.name, module)
        if trainer.is_global_zero:
            entry = record_round(self.directory, stage.name, number, self._describe(start))
            tracking.round_ends(entry, module.steps_done)
        result = self._finish(trainer, stage, number, module, label_round, time.monotonic() - began)
        report.write()
        stop.stop_if_asked(trainer)
        return result

    def _module(
        self, network: SegmentationNetwork, stage: Stage, number: int, start: Path | None, resume: Path | None
    ) -> AdaptationModule:
        """The module of a round, at the position of ``resume`` or with the weights of ``start``."""
        module = self.build_module(network, stage, number)
        module.run_config = self.config
        module.finite_check_interval = self.log_every_n_steps
        module.compile_mode = self.compile_mode
        if resume is not None:
            module.on_load_checkpoint(read_checkpoint(resume))
        elif start is not None:
            start_from(module, start)
        return module

    def _resume_point(self, stage: str, number: int) -> Path | None:
        path = self.directory.checkpoints(stage) / "last.ckpt"
        if not path.is_file():
            return None
        about = read_checkpoint(path, "meta")["hiast"]
        return path if about["round"] == number else None

    def _labels(
        self, stage: Stage, number: int, start: Path | None, stop: GracefulShutdown
    ) -> LabelRound | None:
        settings = stage.rounds[number - 1].labels
        if settings is None:
            return None
        return LabelRound(
            self.directory.round(stage.name, number),
            settings,
            round_number=number,
            seed=self.seed,
            labeled_with=self._describe(start),
            stop=stop,
            store=self.target_statistics,
        )

    def _describe(self, checkpoint: Path | None) -> str:
        """The path of a checkpoint relative to the run directory, so that a copied directory still fits."""
        if checkpoint is None:
            return "initial weights"
        inside = checkpoint.resolve().is_relative_to(self.directory.path.resolve())
        return (
            str(checkpoint.resolve().relative_to(self.directory.path.resolve()))
            if inside
            else checkpoint.name
        )

    def _finish(
        self,
        trainer: pl.Trainer,
        stage: Stage,
        number: int,
        module: AdaptationModule,
        label_round: LabelRound | None,
        seconds: float,
    ) -> dict[str, Any]:
        result = make_result(trainer, module, label_round, seconds)
        if trainer.is_global_zero:
            checkpoints = self.directory.checkpoints(stage.name)
            link_or_copy(checkpoints / "last.ckpt", checkpoints / f"round_{number}.ckpt")
            self.directory.write_result(stage.name, number, result)
        trainer.strategy.barrier("round finished")
        return result
