"""What the package tells installers and type checkers."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import hiast

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [Requirement(text) for text in PROJECT["dependencies"]]
OLDEST = [
    Requirement(line)
    for line in (ROOT / "constraints-oldest.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_types_are_public() -> None:
    assert (Path(hiast.__file__).parent / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_package_says_who_made_it_and_where_it_is() -> None:
    assert PROJECT["authors"] and {"Documentation", "Source", "Changelog", "Issues"} <= PROJECT["urls"].keys()


def test_loggers_are_extras() -> None:
    assert not {"wandb", "mlflow", "tensorboard"} & {requirement.name for requirement in REQUIREMENTS}
    assert {"wandb", "mlflow", "tensorboard"} <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_the_oldest_versions_are_those_that_are_allowed(requirement: Requirement) -> None:
    (bound,) = requirement.specifier
    (pinned,) = (oldest for oldest in OLDEST if oldest.name == requirement.name)
    (pin,) = pinned.specifier
    assert bound.operator == ">=" and pin.operator == "=="
    assert pin.version in (bound.version, f"{bound.version}.0"), f"{requirement} and {pinned}"
