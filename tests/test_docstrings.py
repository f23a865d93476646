"""The examples in docstrings run, and every public name has one that shows a result."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hiast
import hiast.data

FINDER = doctest.DocTestFinder(exclude_empty=True)
WITHOUT = {"hiast.cli"}
"""Packages whose docstrings are not examined."""


def public_names() -> Iterator[tuple[str, Any]]:
    """The names in the two lists of lazy exports."""
    for package in (hiast, hiast.data):
        text = Path(str(package.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
        for name in re.findall(r"^from \S+ import \w+ as (\w+)$", text, re.MULTILINE):
            yield f"{package.__name__}.{name}", getattr(package, name)


def modules_with_examples() -> list[str]:
    """Modules whose text holds a prompt."""
    found = []
    for info in pkgutil.walk_packages(hiast.__path__, "hiast."):
        path = info.module_finder.find_spec(info.name, None)  # type: ignore[call-arg]
        text = Path(str(path.origin)).read_text(encoding="utf-8") if path and path.origin else ""
        if ">>> " in text and not any(info.name.startswith(name) for name in WITHOUT):
            found.append(info.name)
    return found


def examples_of(module: ModuleType) -> Iterator[doctest.DocTest]:
    return (test for test in FINDER.find(module, module.__name__) if test.examples)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    for number, test in enumerate(examples_of(module)):
        (folder := tmp_path / str(number)).mkdir()
        monkeypatch.chdir(folder)
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
        assert result.attempted and not result.failed, f"{test.name}: see the output"


def test_there_are_examples_to_run() -> None:
    assert len(modules_with_examples()) > 30


@pytest.mark.parametrize(("name", "value"), [pytest.param(*pair, id=pair[0]) for pair in public_names()])
def test_a_public_name_has_an_example_with_a_result(name: str, value: Any) -> None:
    examples = doctest.DocTestParser().get_examples(value.__doc__ or "")
    run = [one for one in examples if not one.options.get(doctest.SKIP)]
    assert any(one.want or one.exc_msg for one in run), f"{name} has no example that runs and shows a result"
