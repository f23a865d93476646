"""``metrics.csv``: every recorded number of a run, in long form, and the same after a crash as without one."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from hiast.evaluation.metrics import Scores
from hiast.files import write_atomically
from hiast.online.thresholds import MovingThresholds
from hiast.report.files import COLUMNS, read_metrics
from hiast.training.module import AdaptationModule

Follower = Callable[[AdaptationModule, dict[str, float]], None]
"""Is given the module and every row that is written."""


class MetricsFile(pl.Callback):
    """Appends a round's signals at its start, losses and lr every few steps, and scores at each validation.

    A run that resumes from a checkpoint first drops the rows after it, which it writes again.

    Args:
        path: The file.
        every: Optimizer steps between two rows of loss terms.
        signals: Gives what is known of a round's pseudo-labels once they are made; None in other stages.
        follower: Is given the same numbers, to send them to loggers.
    """

    def __init__(
        self,
        path: Path,
        every: int = 50,
        signals: Callable[[], dict[str, float]] | None = None,
        follower: Follower | None = None,
    ) -> None:
        self.path = path
        self.every = every
        self.signals = signals
        self.follower = follower

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the rows that belong to steps behind the checkpoint; record the signals of a round that begins."""
        if not trainer.is_global_zero or not isinstance(pl_module, AdaptationModule):
            return
        module = pl_module

        def kept(row: dict[str, str]) -> bool:
            same = row["stage"] == module.stage and row["round"] == str(module.round_number)
            return not same or (module.batches_done > 0 and int(row["step"]) <= module.steps_done)

        rows = [row for row in read_metrics(self.path) if kept(row)]
        write_atomically(self.path, _as_csv([COLUMNS, *([row[c] for c in COLUMNS] for row in rows)]).encode())
        if self.signals is not None and not module.batches_done:
            self._append(trainer, module, self.signals())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record the loss terms of this step."""
        if not isinstance(pl_module, AdaptationModule) or not isinstance(outputs, dict):
            return
        if pl_module.batches_done % (self.every * pl_module.accumulate_grad_batches) == 0:
            terms = {name: float(torch.as_tensor(value)) for name, value in outputs.items() if name != "loss"}
            self._append(trainer, pl_module, terms | lrs(trainer.optimizers))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record means, per-class IoU and label-free signals of this validation."""
        if (
            trainer.state.fn != "fit"
            or not isinstance(pl_module, AdaptationModule)
            or pl_module.scores is None
        ):
            return
        values = dict(score_values(pl_module.scores))
        if "val/entropy" in trainer.callback_metrics:
            values["val/entropy"] = float(trainer.callback_metrics["val/entropy"])
        self._append(trainer, pl_module, values | online_thresholds(pl_module))

    def _append(self, trainer: pl.Trainer, module: AdaptationModule, values: dict[str, float]) -> None:
        if trainer.is_global_zero:
            rows = [
                [module.stage, module.round_number, module.steps_done, n, repr(v)] for n, v in values.items()
            ]
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(_as_csv(rows))
                # A checkpoint that covers these rows must not reach the disk before them.
                file.flush()
                os.fsync(file.fileno())
            if self.follower is not None:
                self.follower(module, values)


def score_values(scores: Scores) -> dict[str, float]:
    """Names and values of a validation: ``val/<mean>`` and ``val/iou/<class>``, in percent of 1."""
    values = {f"val/{title}": value for title, value in scores.means.items()}
    return values | {f"val/iou/{name}": value for name, value in scores.iou.items()}


def lrs(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, float]:
    """``lr/backbone``, ``lr/head`` and, with a second optimizer, ``lr/discriminator``.

    With layer decay ``lr/backbone`` is that of the deepest layer.
    """
    found = {}
    groups = optimizers[0].param_groups if optimizers else []
    for group in groups:
        if group.get("initial_lr") == group.get("backbone_lr", math.nan):
            found["lr/backbone"] = float(group["lr"])
    if groups:
        found["lr/head"] = float(groups[-1]["lr"])
    for optimizer in optimizers[1:]:
        found["lr/discriminator"] = float(optimizer.param_groups[-1]["lr"])
    return found


def online_thresholds(module: AdaptationModule) -> dict[str, float]:
    """``threshold/<class>`` of online self-training with thresholds that move; nothing in other stages."""
    trust = getattr(module, "trust", None)
    if not isinstance(trust, MovingThresholds):
        return {}
    values = trust.current().tolist()
    return {f"threshold/{name}": value for name, value in zip(module.classes.names, values, strict=True)}


def _as_csv(rows: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
