"""Draw a recorded terminal as an animated SVG: ``python docs/_scripts/cast_to_svg.py [CAST [FILE]]``.

The default is docs/assets/demo.cast, as ``record_demo.py`` writes it, and docs/assets/demo.svg. The package pyte, which
reads the control sequences of a terminal, is needed (``pip install pyte``). The picture shows text, plays in a browser
and on GitHub without a script, and begins again at its end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from hiast.files import write_atomically

CAST = Path(__file__).parents[1] / "assets" / "demo.cast"
LARGEST = 1_500_000
"""Bytes of the file at most."""
SHORTEST, LONGEST, LAST = 0.1, 0.3, 6.0
"""Seconds: between two frames at least and at most, and of the last frame."""
LETTER, LINE, MARGIN = 8.4, 19, 14
"""Pixels of a letter's width, of a line's height, and of the border. Letters are 14 pixels high."""
PAPER, INK = "#1b2229", "#d7dee3"
COLORS = {
    "black": "#6b7780", "red": "#f0717a", "green": "#7fc98f", "brown": "#e3c26b", "blue": "#74aee8",
    "magenta": "#c99be0", "cyan": "#6cc5c9", "white": "#d7dee3",
}  # fmt: skip
"""Colors of a terminal by the names of pyte, which calls yellow brown."""

Line = tuple[tuple[str, str, bool], ...]
"""Runs of a line: text, color and whether it is bold."""
Frame = tuple[Line, ...]


def frames(cast: str) -> list[tuple[float, Frame]]:
    """What the terminal showed, and for how long, in seconds. Long pauses are cut."""
    import pyte

    header, *events = [json.loads(line) for line in cast.splitlines()]
    screen = pyte.Screen(header["width"], header["height"])
    stream = pyte.Stream(screen)
    shown: list[tuple[float, Frame]] = []
    for place, (now, _, text) in enumerate(events):
        stream.feed(text)
        following = events[place + 1][0] if place + 1 < len(events) else None
        if following is not None and following - now < SHORTEST / 4:
            continue  # a part of one output
        frame = tuple(_line(screen.buffer[row], screen.columns) for row in range(screen.lines))
        if shown and shown[-1][1] == frame:
            continue
        if shown and now - shown[-1][0] < SHORTEST and following is not None:
            shown[-1] = (shown[-1][0], frame)
        else:
            shown.append((now, frame))
    durations = [min(LONGEST, max(SHORTEST, after - before)) for (before, _), (after, _) in pairwise(shown)]
    return [(each, frame) for each, (_, frame) in zip([*durations, LAST], shown, strict=True)]


def _line(cells: Any, columns: int) -> Line:
    found = [(cells[place].data, *_style(cells[place])) for place in range(columns)]
    runs = [
        ("".join(text for text, *_ in group), color, bold)
        for (color, bold), group in groupby(found, key=lambda cell: cell[1:])
    ]
    return tuple(runs) if any(text.strip() for text, *_ in runs) else ()


def _style(cell: Any) -> tuple[str, bool]:
    if cell.data == " ":
        return INK, False
    known = COLORS.get(cell.fg.removeprefix("bright"))
    color = INK if cell.fg == "default" else known or f"#{cell.fg}"
    return color, bool(cell.bold)


def to_svg(shown: Sequence[tuple[float, Frame]], columns: int, lines: int) -> str:
    """An SVG of all frames, of which a style sheet shows one after the other."""
    width, height = round(columns * LETTER + 2 * MARGIN), lines * LINE + 2 * MARGIN
    total = sum(duration for duration, _ in shown)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-label="Recording of the demo in a terminal">',
            "<style>",
            f"text{{font:14px ui-monospace,Menlo,Consolas,monospace;fill:{INK};white-space:pre}}",
            f".f{{visibility:hidden;animation:f {total:.2f}s step-end infinite}}",
            *_animation(shown, total),
            f".f{len(shown) - 1}{{visibility:visible}}@media(prefers-reduced-motion){{.f{{animation:none!important}}}}",
            "</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
            *(f'<g class="f f{place}">{_texts(frame)}</g>' for place, (_, frame) in enumerate(shown)),
            "</svg>\n",
        ]
    )


def _animation(shown: Sequence[tuple[float, Frame]], total: float) -> Iterator[str]:
    begin = 0.0
    for place, (duration, _) in enumerate(shown):
        start, end = 100 * begin / total, 100 * (begin + duration) / total
        hidden = f"{end:.3f}%{{visibility:hidden}}" if place + 1 < len(shown) else ""
        before = "0%{visibility:hidden}" if place else ""
        yield f"@keyframes f{place}{{{before}{start:.3f}%{{visibility:visible}}{hidden}}}.f{place}{{animation-name:f{place}}}"
        begin += duration


def _texts(frame: Frame) -> str:
    found = []
    for row, runs in enumerate(frame):
        place, y = 0, MARGIN + LINE * row + 14
        for text, color, bold in runs:
            written = text.rstrip()
            if written.strip():
                skipped = len(written) - len(written.lstrip())
                written = written.lstrip()
                x = MARGIN + LETTER * (place + skipped)
                style = ("" if color == INK else f' style="fill:{color}"') + (
                    ' font-weight="bold"' if bold else ""
                )
                length = f' textLength="{LETTER * len(written):.1f}"'
                found.append(f'<text x="{x:.1f}" y="{y}"{length}{style}>{escape(written)}</text>')
            place += len(text)
    return "".join(found)


def main() -> None:
    """Draw and write the file."""
    cast = Path(sys.argv[1]) if len(sys.argv) > 1 else CAST
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else cast.with_suffix(".svg")
    text = cast.read_text(encoding="utf-8")
    header = json.loads(text.partition("\n")[0])
    shown = frames(text)
    content = to_svg(shown, header["width"], header["height"]).encode()
    if len(content) > LARGEST:
        raise SystemExit(f"The picture has {len(content):,} bytes, and {LARGEST:,} are allowed.")
    write_atomically(target, content)
    print(f"Wrote {target}: {len(shown)} frames, {len(content):,} bytes, {sum(d for d, _ in shown):.0f} s.")


if __name__ == "__main__":
    main()
