"""What tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hiast.cli.command import run_command
from hiast.cli.data_check import check
from hiast.cli.data_demo import draw
from hiast.cli.data_new import write_templates
from hiast.cli.data_prepare import prepare_data
from hiast.cli.eval import evaluate
from hiast.cli.label import label
from hiast.cli.train import train

JOBS = {
    "data_demo": draw,
    "data_check": check,
    "data_prepare": prepare_data,
    "data_new": write_templates,
    "train": train,
    "eval": partial(evaluate, scenario=[]),
    "label": label,
}


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in an empty folder; returns its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: str) -> tuple[int, str, str]:
        code = run_command(JOBS[name], name, "", words)
        output = capsys.readouterr()
        return code, output.out, output.err.strip()

    return run
