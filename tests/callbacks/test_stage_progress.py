"""Progress of a stage, on a terminal and in a log file."""

from __future__ import annotations

import logging

import pytest
from consoles import file, terminal
from rich.console import Console
from small_network import CLASSES, TinyNetwork, batches, fit, settings

from hiast.callbacks import StageProgress
from hiast.training import SourceOnlyModule


@pytest.mark.parametrize("console", [terminal(), file()])
def test_a_stage_says_where_it_is(console: Console, caplog: pytest.LogCaptureFixture) -> None:
    made = SourceOnlyModule(TinyNetwork(), CLASSES, optimizer=settings(), max_steps=3, round_number=2)
    with caplog.at_level(logging.INFO, logger="hiast"):
        fit(made, batches(3), callbacks=[StageProgress(rounds=3, console=console)])
    output = console.file.getvalue() if console.is_terminal else "\n".join(caplog.messages)
    assert "source_only, round 2/3" in output
    assert "3/3" in output and "total" in output and "steps/s" in output
    assert ("cross_entropy" in output) == (
        not console.is_terminal
    )  # a line of a terminal has no room for all losses


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
