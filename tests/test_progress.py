"""Progress on a terminal and in a log file."""

from __future__ import annotations

import itertools
import logging
import time

import pytest
from consoles import file, terminal

from hiast.progress import Progress, ProgressFunction, track


def test_a_log_gets_a_line_at_intervals(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with caplog.at_level(logging.INFO), Progress("work", 10, done=2, seconds=15, console=file()) as progress:
        now = 114.0
        assert not progress.due(3)
        now = 116.0
        assert progress.due(4)
        progress.report(4, "loss 0.5")
        assert not progress.due(10)
    assert caplog.messages == ["work, 4/10: loss 0.5, 0.12 steps/s, 0:48 left"]


def test_a_terminal_gets_a_live_line_and_another_below() -> None:
    console = terminal()
    with Progress("training", 10, console=console) as outer:
        outer.report(5, "loss 0.5")
        with Progress("validation", 3, unit="images", below=outer, console=console) as inner:
            inner.report(2)
            outer._bars.refresh()
        outer.report(6)
        outer._bars.refresh()
    shown = console.file.getvalue()
    assert "5/10  loss 0.5" in shown and "2/3" in shown and "images/s" in shown
    assert "validation" not in shown[shown.rindex("6/10") - 40 :]


def test_a_function_shows_progress() -> None:
    console = terminal()
    with ProgressFunction("labeling", console=console) as progress:
        progress(2, 6)
        progress(6, 6)
    assert "6/6" in console.file.getvalue()


def test_items_are_tracked(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.count(0.0, 10.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    with caplog.at_level(logging.INFO):
        assert list(track("abcd", 4, "reading", console=file())) == list("abcd")
    # Asked at 10 and 20 s, reported at 30 s, and so on.
    assert caplog.messages == [
        "reading, 2/4: 0.07 images/s, 0:30 left",
        "reading, 4/4: 0.07 images/s, 0:00 left",
    ]
    console = terminal()
    assert list(track(iter("abcd"), None, "reading", console=console)) == list("abcd")
    assert "reading" in console.file.getvalue()


def test_an_error_in_tracked_work_stops_the_display() -> None:
    console = terminal()

    def failing():
        yield 1
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(track(failing(), 2, "reading", console=console))
    console.print("after")
    assert console.file.getvalue().rstrip().endswith("after")


def test_unknown_totals_and_no_speed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Progress("looking", None, unit="files", console=file()).report(7)
        Progress("looking", 9, unit="files", console=file()).report(0)
    assert caplog.messages[0].startswith("looking, 7: ") and "left" not in caplog.messages[0]
    assert caplog.messages[1] == "looking, 0/9: 0.00 files/s, unknown time left"
