"""How far a piece of work is: a live line for a person, or a line now and then for a log file."""

from __future__ import annotations

import logging
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hiast.evaluation.tables import duration

log = logging.getLogger(__name__)


class Meter:
    """Says title, units done, a text, speed and time left.

    On a terminal it is a live line; otherwise a log record at most every ``seconds``, and at the end of work that took
    longer than that.

    Args:
        title: What is being done.
        total: Units of work in all.
        done: Units that were done before.
        unit: Their name, in the plural.
        seconds: Time between two log records where there is no terminal.
        console: Where the live line goes; None: standard error.
        beside: A meter that is running: a live line is shown below its own.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        done: int = 0,
        unit: str = "steps",
        seconds: float = 15.0,
        console: Console | None = None,
        beside: Meter | None = None,
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self._first, self._began = done, time.monotonic()
        self._told = self._began
        theirs: Progress | None = beside._bar if beside else None
        self._owns = theirs is None
        self._bar: Progress | None = theirs or self._new_bar(console or Console(stderr=True))
        self._pause = 0.5 if self._bar else seconds
        self._task: TaskID | None = None
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(title, total=total, completed=done, text="")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def due(self, done: int) -> bool:
        """Whether ``tell`` would say something new; asking costs nothing."""
        return time.monotonic() - self._told >= self._pause or (self._bar is not None and done >= self.total)

    def tell(self, done: int, text: str = "") -> None:
        """Say how far the work is."""
        self._told = time.monotonic()
        speed = (done - self._first) / max(self._told - self._began, 1e-9)
        pace = f"{speed:.2f} {self.unit}/s"
        if self._bar and self._task is not None:
            shown = f"{done}/{self.total}  {text}{'  ' if text else ''}{pace}"
            self._bar.update(self._task, completed=done, text=shown)
            return
        left = duration((self.total - done) / max(speed, 1e-9)) if speed else "unknown time"
        log.info(
            "%s, %d/%d: %s%s, %s left", self.title, done, self.total, f"{text}, " if text else "", pace, left
        )

    def close(self) -> None:
        """Take the line away, so that what comes next stands below."""
        if self._bar and self._owns:
            self._bar.stop()
        elif self._bar and self._task is not None:
            self._bar.remove_task(self._task)
        self._bar = None

    @staticmethod
    def _new_bar(console: Console) -> Progress | None:
        if not console.is_terminal:
            return None
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        return Progress(*columns, TimeRemainingColumn(), console=console)
