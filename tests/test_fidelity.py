"""docs/explanation/fidelity.md names tests that exist, and its script measures every golden file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "explanation" / "fidelity.md"


def test_every_named_test_exists():
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text()))
    assert len(named) > 50
    for file, test in sorted(named):
        functions = {
            node.name for node in ast.parse((TESTS / file).read_text()).body if hasattr(node, "name")
        }
        assert test in functions, f"{file} has no {test}: write docs/explanation/fidelity.md again"


def test_the_page_was_made_from_all_golden_files():
    count = len(list((TESTS / "golden").glob("*.npz")))
    assert f"{count} files in `tests/golden`" in PAGE.read_text()
