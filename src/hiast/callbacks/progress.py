"""A live line for a person, or a line now and then for a log file."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hiast.evaluation.report import duration
from hiast.training.module import AdaptationModule

log = logging.getLogger(__name__)


class StageProgress(pl.Callback):
    """Says stage, round, step, losses, speed and time left.

    On a terminal it is one live line; otherwise a log record at most every ``seconds``.

    Args:
        rounds: Rounds of the stage, for "round 2/3".
        seconds: Time between two log records where there is no terminal.
        console: Where the live line goes; None: standard error.
    """

    def __init__(self, rounds: int = 1, seconds: float = 15.0, console: Console | None = None) -> None:
        self.rounds = rounds
        self.seconds = seconds
        self.console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: Any = None
        self._started = self._reported = 0.0
        self._first = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and, on a terminal, the line."""
        if not trainer.is_global_zero or not isinstance(pl_module, AdaptationModule):
            return
        self._started = self._reported = time.monotonic()
        self._first = pl_module.steps_done
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self.console)
            self._bar.start()
            self._task = self._bar.add_task(
                self._title(pl_module), total=pl_module.steps, completed=pl_module.steps_done, text=""
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on."""
        if not trainer.is_global_zero or not isinstance(pl_module, AdaptationModule):
            return
        now = time.monotonic()
        due = now - self._reported >= (0.5 if self._bar else self.seconds)
        if not due and pl_module.steps_done < pl_module.steps:
            return
        self._reported = now
        done = pl_module.steps_done
        speed = (done - self._first) / max(now - self._started, 1e-9)
        losses = " ".join(
            f"{name} {float(torch.as_tensor(value)):.3f}" for name, value in outputs.items() if name != "loss"
        )
        if self._bar:
            text = f"{done}/{pl_module.steps}  {losses}  {speed:.2f} steps/s"
            self._bar.update(self._task, completed=done, text=text)
        else:
            left = (pl_module.steps - done) / max(speed, 1e-9)
            where = f"{self._title(pl_module)}, step {done}/{pl_module.steps}"
            log.info("%s: %s, %.2f steps/s, %s left", where, losses, speed, duration(left))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the line."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the line, so that the error stands below it."""
        self._close()

    def _close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _title(self, module: AdaptationModule) -> str:
        return (
            f"{module.stage}, round {module.round_number}/{self.rounds}" if self.rounds > 1 else module.stage
        )
