"""Progress of a piece of work: a live bar on a terminal, otherwise a line in the log every 15 seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 15.0
"""Time between two lines in the log."""
_REFRESH = 0.5
"""Time between two updates of a live bar, in seconds."""


class Progress:
    """Shows title, completed units, a message, throughput and time left. Use it as a context manager.

    On a terminal this is a live bar. Elsewhere it is a log record at most every ``seconds``; work that ends sooner
    leaves no record.

    Args:
        title: Name of the work.
        total: Number of units; None: it is not known.
        done: Number of units that were completed before.
        unit: Name of the units, in the plural.
        seconds: Time between two log records.
        console: Console of the live bar; None: standard error.
        below: A progress that is shown above this one, on the same terminal.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        done: int = 0,
        unit: str = "steps",
        seconds: float = SECONDS,
        console: Console | None = None,
        below: Progress | None = None,
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self._first, self._started = done, time.monotonic()
        self._reported = self._started
        above: Bars | None = below._bars if below else None
        self._owns_bars = above is None
        self._bars: Bars | None = above or _new_bars(console or Console(stderr=True))
        self._pause = _REFRESH if self._bars else seconds
        self._task: TaskID | None = None
        if self._bars:
            self._bars.start()
            self._task = self._bars.add_task(title, total=total, completed=done, text="")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_live(self) -> bool:
        """Whether this is a bar on a terminal, in one line."""
        return self._bars is not None

    def due(self, done: int) -> bool:
        """Whether ``report`` would show something; this costs next to nothing.

        Args:
            done: Number of completed units.
        """
        ends = self._bars is not None and self.total is not None and done >= self.total
        return ends or time.monotonic() - self._reported >= self._pause

    def report(self, done: int, text: str = "") -> None:
        """Show the number of completed units and a message."""
        self._reported = time.monotonic()
        speed = (done - self._first) / max(self._reported - self._started, 1e-9)
        pace = f"{speed:.2f} {self.unit}/s"
        count = str(done) if self.total is None else f"{done}/{self.total}"
        if self._bars and self._task is not None:
            shown = "  ".join(filter(None, (count, text, pace)))
            self._bars.update(self._task, completed=done, text=shown)
            return
        parts = [*([text] if text else []), pace]
        if self.total is not None:
            left = duration((self.total - done) / speed) if speed > 0 else "unknown time"
            parts.append(f"{left} left")
        log.info("%s, %s: %s", self.title, count, ", ".join(parts))

    def close(self) -> None:
        """Remove the live bar."""
        if self._bars and self._owns_bars:
            self._bars.stop()
        elif self._bars and self._task is not None:
            self._bars.remove_task(self._task)
        self._bars = None


class ProgressFunction:
    """A function ``(done, total)`` that shows progress, for work that reports by calling one.

    Use it as a context manager. The display starts with the first call.

    Args:
        title: Name of the work.
        unit: Name of the units, in the plural.
        console: Console of the live bar; None: standard error.
    """

    def __init__(self, title: str, unit: str = "images", console: Console | None = None) -> None:
        self.title, self.unit, self.console = title, unit, console
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.close()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units are completed."""
        if self._progress is None:
            self._progress = Progress(self.title, total, done=done, unit=self.unit, console=self.console)
        if self._progress.due(done):
            self._progress.report(done)


def track(
    items: Iterable[T], total: int | None, title: str, *, unit: str = "images", console: Console | None = None
) -> Iterator[T]:
    """Yield the items and show progress meanwhile.

    Args:
        items: The work, one unit per item.
        total: Number of items; None: it is not known.
        title: Name of the work.
        unit: Name of the units, in the plural.
        console: Console of the live bar; None: standard error.

    Examples:
        >>> sum(track([1, 2, 3], 3, "adding", unit="numbers"))
        6
    """
    with Progress(title, total, unit=unit, console=console) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            if progress.due(done):
                progress.report(done)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as ``1:02:03`` or ``2:03``.

    Examples:
        >>> duration(3723), duration(123)
        ('1:02:03', '2:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _new_bars(console: Console) -> Bars | None:
    if not console.is_terminal:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    return Bars(*columns, TimeRemainingColumn(), console=console)
