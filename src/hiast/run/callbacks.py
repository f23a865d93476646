"""The callbacks of one round of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl

from hiast.callbacks import (
    CandidateKeeper,
    EqualStatistics,
    FindMargins,
    FindPlainShare,
    GracefulShutdown,
    LabelRound,
    MetricsFile,
    PictureSheet,
    SourcePixels,
    StageCheckpoint,
    StageProgress,
    TargetStatistics,
)
from hiast.callbacks.checkpoint import best_of
from hiast.callbacks.clock import Clock
from hiast.callbacks.report import RunReport
from hiast.callbacks.round_record import RoundRecord
from hiast.callbacks.tracking import Tracking
from hiast.callbacks.validation_record import ValidationRecord
from hiast.run.results import candidate_name
from hiast.run.stages import Stage
from hiast.training import AdaptationModule
from hiast.training.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from hiast.run.pipeline import Pipeline


def build_callbacks(
    run: Pipeline,
    stage: Stage,
    module: AdaptationModule,
    label_round: LabelRound | None,
    stop: GracefulShutdown,
    report: RunReport,
    tracking: Tracking,
) -> list[pl.Callback]:
    """The callbacks of a round, in the order in which Lightning calls them.

    The order matters: labels come before all, the row of a metric before the checkpoint that covers it, and the
    checkpoint before the stop.

    Args:
        run: The run, with its directory and intervals.
        stage: The stage of the round.
        module: The module of the round.
        label_round: Labels the round; None in other stages.
        stop: Stops the run on a signal.
        report: Writes the report.
        tracking: Feeds the loggers.
    """
    number, directory = module.round_number, run.directory
    checkpoints = directory.checkpoints(stage.name)
    best = _best_of(checkpoints / f"round_{number - 1}.ckpt")
    signals = label_round.signals if label_round else None
    is_first = stage is run.stages[0] and number == 1
    return [
        *([label_round] if label_round else []),
        stop.schedule,
        SourcePixels(),
        FindMargins(),
        FindPlainShare(),
        EqualStatistics(),
        TargetStatistics(stop.schedule, run.target_statistics, run.selection.looks),
        StageProgress(rounds=len(stage.rounds)),
        Clock(directory.path, stage.rounds[number - 1].batch_size),
        MetricsFile(directory.metrics, run.log_every_n_steps, signals, tracking.follow),
        PictureSheet(directory.pictures, run.pictures),
        ValidationRecord(directory.path, 6 if run.pictures else 0),
        RoundRecord(directory.path, run.pictures, label_round),
        StageCheckpoint(checkpoints, stop.schedule, run.checkpoint_every_n_steps, best=best),
        CandidateKeeper(
            directory.path,
            run.selection,
            name=candidate_name(stage, number),
            step_before=tracking.steps_before,
            is_first=is_first,
            init_stage=_stage_of(run.init_from) if is_first and run.init_from is not None else None,
            seed=run.seed,
            labels=label_round,
        ),
        report,
        stop,
    ]


def _stage_of(checkpoint: Path) -> str:
    stage: str = read_checkpoint(checkpoint, "meta")["hiast"]["stage"]
    return stage


def _best_of(checkpoint: Path) -> float | None:
    """The best mean so far that a checkpoint notes; None if there is no such file."""
    return best_of(read_checkpoint(checkpoint, "meta")) if checkpoint.is_file() else None
