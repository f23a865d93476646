"""The commands in README and docs name settings that exist and go together."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from hiast.cli.settings import TABLES
from hiast.cli.words import parse
from hiast.prediction.handover import check_format
from hiast.prediction.outputs import check_kinds

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLAIN = ("predict", "label", "export", "doctor", "report", "data-new", "data-demo")
"""Commands whose settings all stand in one file; the others are composed of groups."""


def commands(text: str) -> list[list[str]]:
    """The words of each command in the blocks of code of a page."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("hiast-")]


FOUND = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words)[:60]}")
    for page in PAGES
    for words in commands(page.read_text(encoding="utf-8"))
    if words[0].removeprefix("hiast-") in PLAIN
]


BARE = {"predict": ("checkpoint", "input", "output"), "label": ("checkpoint", "input", "output"),
        "export": ("checkpoint",), "report": ("run",)}  # fmt: skip
"""What a word without a key means."""


def settings(words: list[str]) -> dict[str, object]:
    name = words[0].removeprefix("hiast-")
    pairs = (
        word.partition("=") for word in parse(words[1:], BARE.get(name, ()), TABLES.get(name, {})).settings
    )
    return {key: yaml.safe_load(value) for key, _, value in pairs}


@pytest.mark.parametrize("words", FOUND)
def test_documented_settings_exist(words: list[str]) -> None:
    name = words[0].removeprefix("hiast-").replace("-", "_")
    known = yaml.safe_load((ROOT / "conf" / f"{name}.yaml").read_text(encoding="utf-8")).keys()
    known |= {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert {key.partition(".")[0] for key in settings(words)} <= known
    if name == "predict":
        given = settings(words)
        default = yaml.safe_load((ROOT / "conf" / "predict.yaml").read_text(encoding="utf-8"))
        kinds = given.get("save", default["save"])
        check_format(given.get("format"), check_kinds([kinds] if isinstance(kinds, str) else kinds))


def test_commands_are_found_and_wrong_ones_are_seen() -> None:
    assert len(FOUND) > 20
    words = commands("```bash\nhiast-predict input=a \\\n  save=[csv] format=cvat   # a note\n```\n")[0]
    assert words == ["hiast-predict", "input=a", "save=[csv]", "format=cvat"]
    with pytest.raises(ValueError, match="add labels to save"):
        check_format(str(settings(words)["format"]), check_kinds(settings(words)["save"]))
