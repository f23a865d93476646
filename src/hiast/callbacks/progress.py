"""How far training, validation and labeling are."""

from __future__ import annotations

from typing import Any, Self

import pytorch_lightning as pl
import torch
from rich.console import Console

from hiast.callbacks.meter import Meter
from hiast.training.module import AdaptationModule


class StageProgress(pl.Callback):
    """Says stage, round, step, losses, speed and time left, and how far a validation is.

    Args:
        rounds: Rounds of the stage, for "round 2/3".
        seconds: Time between two log records where there is no terminal.
        console: Where the live line goes; None: standard error.
    """

    def __init__(self, rounds: int = 1, seconds: float = 15.0, console: Console | None = None) -> None:
        self.rounds = rounds
        self.options: dict[str, Any] = {"seconds": seconds, "console": console}
        self._training: Meter | None = None
        self._validation: Meter | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and, on a terminal, the line."""
        if trainer.is_global_zero and isinstance(pl_module, AdaptationModule):
            title, steps = self._title(pl_module), pl_module.max_steps
            self._training = Meter(title, steps, done=pl_module.steps_done, **self.options)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on."""
        if self._training is None or not isinstance(pl_module, AdaptationModule):
            return
        done = pl_module.steps_done
        # The last step is told even if it comes soon: its losses are the round's.
        if self._training.due(done) or done == pl_module.max_steps:
            losses = {name: value for name, value in outputs.items() if name != "loss"}
            self._training.tell(
                done,
                " ".join(f"{name} {float(torch.as_tensor(value)):.3f}" for name, value in losses.items()),
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start another line below."""
        if trainer.is_global_zero and isinstance(pl_module, AdaptationModule):
            batches = sum(int(count) for count in trainer.num_val_batches)
            title = f"{self._title(pl_module)}, validation"
            self._validation = Meter(title, batches, unit="images", beside=self._training, **self.options)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Move on."""
        if self._validation is not None and self._validation.due(batch_idx + 1):
            self._validation.tell(batch_idx + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the line of the validation away."""
        if self._validation is not None:
            self._validation.close()
            self._validation = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the line."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the lines, so that the error stands below them."""
        self.on_validation_end(trainer, pl_module)
        self._close()

    def _close(self) -> None:
        if self._training is not None:
            self._training.close()
            self._training = None

    def _title(self, module: AdaptationModule) -> str:
        return (
            f"{module.stage}, round {module.round_number}/{self.rounds}" if self.rounds > 1 else module.stage
        )


class LabelProgress:
    """Says how far a labeling is; given to ``generate_round`` as ``progress``. Use it as a context manager.

    Args:
        title: What is being labeled.
        console: Where a live line goes; None: standard error.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title, self.console = title, console
        self._meter: Meter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._meter is not None:
            self._meter.close()

    def __call__(self, done: int, total: int) -> None:
        """Move on to ``done`` of ``total`` images."""
        if self._meter is None:
            self._meter = Meter(self.title, total, done=done, unit="images", console=self.console)
        if self._meter.due(done):
            self._meter.tell(done)
