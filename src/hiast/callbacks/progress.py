"""Progress of training and validation."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console

from hiast.progress import SECONDS, Progress
from hiast.training.module import AdaptationModule


class StageProgress(pl.Callback):
    """Shows stage, round, step, losses, throughput and time left, and the progress of a validation below.

    Args:
        rounds: Number of rounds of the stage, for "round 2/3".
        seconds: Time between two log records where there is no terminal.
        console: Console of the live bar; None: standard error.
    """

    def __init__(self, rounds: int = 1, seconds: float = SECONDS, console: Console | None = None) -> None:
        self.rounds = rounds
        self.options: dict[str, Any] = {"seconds": seconds, "console": console}
        self._training: Progress | None = None
        self._validation: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the display of the stage."""
        if trainer.is_global_zero and isinstance(pl_module, AdaptationModule):
            title, steps = self._title(pl_module), pl_module.max_steps
            self._training = Progress(title, steps, done=pl_module.steps_done, **self.options)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step and its losses."""
        if self._training is None or not isinstance(pl_module, AdaptationModule):
            return
        done = pl_module.steps_done
        # The last step is always reported: its losses are the round's.
        if self._training.due(done) or done == pl_module.max_steps:
            losses = {name: value for name, value in outputs.items() if name != "loss"}
            if self._training.is_live and "total" in losses:  # more would push title and bar out of the line
                losses = {"total": losses["total"]}
            shown = (f"{name} {float(torch.as_tensor(value)):.3f}" for name, value in losses.items())
            self._training.report(done, " ".join(shown))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the display of a validation, below that of the training."""
        if trainer.is_global_zero and isinstance(pl_module, AdaptationModule):
            batches = sum(int(count) for count in trainer.num_val_batches)
            title = f"{self._title(pl_module)}, validation"
            self._validation = Progress(title, batches, unit="images", below=self._training, **self.options)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Report the batch."""
        if self._validation is not None and self._validation.due(batch_idx + 1):
            self._validation.report(batch_idx + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the display of the validation."""
        if self._validation is not None:
            self._validation.close()
            self._validation = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the display of the training."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Remove both displays, so that the error is printed below them."""
        self.on_validation_end(trainer, pl_module)
        self._close()

    def _close(self) -> None:
        if self._training is not None:
            self._training.close()
            self._training = None

    def _title(self, module: AdaptationModule) -> str:
        if self.rounds == 1:
            return module.stage
        return f"{module.stage}, round {module.round_number}/{self.rounds}"
