"""How far the work is, on a terminal and in a log file."""

from __future__ import annotations

import io
import logging
import time

import pytest
from rich.console import Console
from tiny import CLASSES, TinyNetwork, batches, fit, settings

from hiast.callbacks import StageProgress
from hiast.callbacks.meter import Meter
from hiast.callbacks.progress import LabelProgress
from hiast.training import SourceOnlyModule


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)


def file() -> Console:
    return Console(file=io.StringIO(), force_terminal=False)


def test_a_log_gets_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with caplog.at_level(logging.INFO), Meter("work", 10, done=2, seconds=15, console=file()) as meter:
        now = 114.0
        assert not meter.due(3)
        now = 116.0
        assert meter.due(4)
        meter.tell(4, "loss 0.5")
        assert not meter.due(10)
    assert caplog.messages == ["work, 4/10: loss 0.5, 0.12 steps/s, 0:48 left"]


def test_a_terminal_gets_a_live_line_and_another_below() -> None:
    console = terminal()
    with Meter("training", 10, console=console) as outer:
        outer.tell(5, "loss 0.5")
        with Meter("validation", 3, unit="images", beside=outer, console=console) as inner:
            inner.tell(2)
            outer._bar.refresh()
        outer.tell(6)
        outer._bar.refresh()
    shown = console.file.getvalue()
    assert "5/10  loss 0.5" in shown and "2/3" in shown and "images/s" in shown
    assert "validation" not in shown[shown.rindex("6/10") - 40 :]


@pytest.mark.parametrize("console", [terminal(), file()])
def test_a_stage_says_where_it_is(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    made = SourceOnlyModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=3, round_number=2)
    with caplog.at_level(logging.INFO, logger="hiast"):
        fit(made, batches(3), callbacks=[StageProgress(rounds=3, console=console)])
    said = console.file.getvalue() if console.is_terminal else "\n".join(caplog.messages)
    assert "source_only, round 2/3" in said
    assert "3/3" in said and "cross_entropy" in said and "steps/s" in said


def test_labeling_says_where_it_is() -> None:
    console = terminal()
    with LabelProgress("labeling", console) as progress:
        progress(2, 6)
        progress(6, 6)
    assert "6/6" in console.file.getvalue()


def test_an_error_stands_below_the_line() -> None:
    class Broken(SourceOnlyModule):
        def losses(self, batch):
            raise RuntimeError("broken")

    console = terminal()
    progress = StageProgress(console=console)
    made = Broken(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=3)
    with pytest.raises(RuntimeError, match="broken"):
        fit(made, batches(3), callbacks=[progress])
    assert progress._training is None
