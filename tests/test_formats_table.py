"""docs/reference/formats_table.md is what its script makes of the tests' data today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_current(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    pytest.importorskip("PIL.AvifImagePlugin")
    script, page = DOCS / "_scripts/make_formats_table.py", DOCS / "reference/formats_table.md"
    made = tmp_path / "page.md"
    subprocess.run([sys.executable, str(script), str(made)], check=True, timeout=600)
    assert made.read_text() == page.read_text(), f"run python {script.relative_to(DOCS.parent)}"
