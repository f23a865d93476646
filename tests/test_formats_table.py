"""docs/reference/formats_table.md is what its script makes of the tests' data today."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif")
    pytest.importorskip("PIL.AvifImagePlugin")
    script, page = DOCS / "_scripts/make_formats_table.py", DOCS / "reference/formats_table.md"
    made = tmp_path / "page.md"
    monkeypatch.chdir(tmp_path)  # and back at the end: the script changes the working directory
    monkeypatch.setattr("sys.argv", [str(script), str(made)])
    runpy.run_path(str(script), run_name="__main__")
    assert made.read_text() == page.read_text(), f"run python {script.relative_to(DOCS.parent)}"
