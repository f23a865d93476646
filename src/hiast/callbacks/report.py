"""``report.html`` of a run, written again as the run goes."""

from __future__ import annotations

import time
from pathlib import Path

import pytorch_lightning as pl

from hiast.callbacks.warn_on_error import warn_on_error
from hiast.ranks import is_rank_zero

PAUSE = 20.0
"""Seconds between two reports within a round."""


class RunReport(pl.Callback):
    """Writes ``report.html`` after validations and looks, and at the end of every round and of the run.

    One of a run, for all its fits. Rank zero writes. What goes wrong here is a warning and never ends a run.

    Args:
        directory: The run directory.
        enabled: Whether anything is written.
        pause: Seconds that lie at least between two reports within a round.
    """

    def __init__(self, directory: Path, *, enabled: bool = True, pause: float = PAUSE) -> None:
        self.directory = directory
        self.enabled = enabled
        self.pause = pause
        self._written = float("-inf")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the pseudo-labels of a round that begins."""
        self.write_if_due()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the scores of a validation."""
        if not trainer.sanity_checking:
            self.write_if_due()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Show how far a run got that ends early."""
        self.write()

    def write_if_due(self) -> None:
        """Write the report, unless that was done a moment ago."""
        if time.monotonic() - self._written >= self.pause:
            self.write()

    def write(self) -> None:
        """Write the report now."""
        if not self.enabled or not is_rank_zero() or not self.directory.is_dir():
            return
        with warn_on_error("The report of the run"):
            from hiast.report.write import write_report  # Not before it is needed: it takes templates apart.

            write_report(self.directory)
        self._written = time.monotonic()
