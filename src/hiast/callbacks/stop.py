"""Stopping a run on SIGTERM (batch systems, containers, spot machines) or SIGINT (Ctrl+C)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from types import FrameType, TracebackType
from typing import Any, Self

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from hiast.callbacks.schedule import ValidationSchedule
from hiast.training.module import AdaptationModule

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STEPS_BETWEEN = 5
"""Steps between two agreements of several accelerators, each of which makes the hosts wait for their devices."""


class GracefulShutdown(pl.Callback):
    """Stops the run after SIGTERM or SIGINT, at the next step that a checkpoint covers.

    Replaces Lightning's signal handlers: its SIGTERM handler runs a collective inside the handler and can deadlock with
    one already in flight, and its SIGINT handler ends the program. Here the processes agree between two steps. Loader
    workers, which receive the signal too, keep working until the parent ends them. A second Ctrl+C stops at once.

    Use it as a context manager around all fits, and as a callback of each fit, after the callback that saves.

    Args:
        schedule: A validation that follows a step is waited for.

    Attributes:
        asked: Whether this process has received a signal.
        signal: Number of the signal.
    """

    def __init__(self, schedule: ValidationSchedule) -> None:
        self.schedule = schedule
        self.asked = False
        self.signal: int = signal.SIGTERM
        self._before: dict[int, Any] = {}
        self._process = os.getpid()
        self._children: list[Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.asked = False
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _in_main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def stop_if_asked(self, trainer: pl.Trainer) -> None:
        """Stop in all processes if one of them has received a signal; every process must call this.

        Raises:
            SIGTERMException: One has.
        """
        asked = self.asked
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            raise SIGTERMException

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remember the processes that Lightning has started; only the launcher of its first trainer knows them."""
        self._children += getattr(trainer.strategy.launcher, "procs", [])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the handlers again: Lightning has just replaced them by its own."""
        self._listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a whole optimizer step; several accelerators after every fifth, and after the last."""
        assert isinstance(pl_module, AdaptationModule)
        waits = trainer.world_size > 1 and pl_module.device.type != "cpu"
        between = pl_module.accumulate_grad_batches * (_STEPS_BETWEEN if waits else 1)
        whole = pl_module.batches_done % between == 0 or pl_module.batches_done == pl_module.batches
        if whole and not self.schedule.follows(trainer, pl_module):
            self.stop_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after a validation, except the last one of a round, whose result is written first."""
        assert isinstance(pl_module, AdaptationModule)
        if trainer.state.fn == "fit" and pl_module.batches_done < pl_module.batches:
            self.stop_if_asked(trainer)

    def _listen(self) -> None:
        if _in_main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked, self.signal = True, number
        # A terminal signals the whole group of processes itself.
        if number == signal.SIGTERM and os.getpid() == self._process:
            for child in self._children:
                child.send_signal(number)


@contextmanager
def keyboard_interrupt(stop: GracefulShutdown) -> Iterator[None]:
    """Turn a stop by Ctrl+C into a KeyboardInterrupt."""
    try:
        yield
    except SIGTERMException:
        if stop.signal == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
