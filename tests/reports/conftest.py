"""What the tests of reported inputs share: a tiny project of a user's own, and commands that run in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from projects import Answer, Project

from hiast.cli.command import run_command
from hiast.cli.data_check import check
from hiast.cli.label import label
from hiast.cli.train import train

JOBS = {"data_check": check, "train": train, "label": label}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A labeled source, an unlabeled target with validation images, and three YAML files, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command on the scenario of ``project``."""

    def run(name: str, *words: str) -> Answer:
        scenario = [] if name == "label" else ["--config-dir", "my_conf", "+scenario=mine"]
        code = run_command(JOBS[name], name, "", [*scenario, *words])
        output = capsys.readouterr()
        return Answer(code, output.out, output.err.strip())

    return run


@pytest.fixture
def checked(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs ``hiast-data-check``."""
    return partial(command, "data_check")
