"""A recorded terminal as an animated picture."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "docs/_scripts/cast_to_svg.py"
ASSETS = Path(__file__).parents[1] / "docs/assets"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_frames_show_what_the_terminal_showed(script: ModuleType) -> None:
    pytest.importorskip("pyte", reason="pyte is not installed: pip install pyte")
    events = [
        (0.0, "\x1b[32m$\x1b[0m go <1>\r\n"),
        (0.2, "10 %"),
        (5.0, "\r\x1b[2K100 %\r\n"),
        (5.01, "\x1b[1mend\x1b[0m"),
    ]
    lines = [{"version": 2, "width": 20, "height": 3}, *([time, "o", text] for time, text in events)]
    shown = script.frames("\n".join(map(json.dumps, lines)))
    texts = [["".join(text for text, *_ in line).rstrip() for line in frame] for _, frame in shown]
    assert texts == [["$ go <1>", "", ""], ["$ go <1>", "10 %", ""], ["$ go <1>", "100 %", "end"]]
    assert [duration for duration, _ in shown] == [0.2, script.LONGEST, script.LAST]
    assert shown[0][1][0][0][:2] == ("$", script.COLORS["green"])


def test_the_picture_shows_one_frame_at_a_time(script: ModuleType) -> None:
    ink = script.INK
    frames = [
        (1.0, ((("a  b", ink, False),), ())),
        (3.0, ((("x", "#ffffff", False), (" <y>", ink, True)), ())),
    ]
    svg = script.to_svg(frames, 10, 2)
    root = ET.fromstring(svg)
    groups = root.findall("{http://www.w3.org/2000/svg}g")
    assert [group.get("class") for group in groups] == ["f f0", "f f1"]
    assert [text.text for text in groups[1]] == ["x", "<y>"]
    assert "@keyframes f0{0.000%{visibility:visible}25.000%{visibility:hidden}}" in svg
    assert "@keyframes f1{0%{visibility:hidden}25.000%{visibility:visible}}" in svg
    places = [float(str(text.get("x"))) for text in groups[1]]
    assert places[1] - places[0] == pytest.approx(2 * script.LETTER, abs=0.1)


def test_the_recording_of_the_readme_is_one_of_the_demo() -> None:
    header, *events = map(json.loads, (ASSETS / "demo.cast").read_text(encoding="utf-8").splitlines())
    shown = "".join(text for *_, text in events)
    assert header["version"] == 2 and "hiast-train +scenario=demo" in shown and "Report:" in shown
    assert (ASSETS / "demo.svg").stat().st_size < 1_500_000
    assert ET.parse(ASSETS / "demo.svg").getroot().tag.endswith("svg")
