"""Line charts as SVG in the page, with a table of values for the box that follows the pointer.

They are drawn here and not by a library. The bundles of plotly (about 1 MB in its smallest form, more than 4 MB in its
Python package) and of vega (about 0.8 MB with vega-lite) would stand in every report, which is written again after
every look and may be one of hundreds, and no package brings the small ones along. What a report needs, lines with
marks, takes 1 KB of script, can be read on paper and without JavaScript, and is a drawing that text readers know by its
summary. Series differ by color, dashes and marks, so color is not needed to tell them apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

WIDTH, HEIGHT = 720.0, 290.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 26.0, 34.0
DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 2", "1 4", "6 2 1 2")
MARKS = ("circle", "square", "triangle", "diamond")
STAR = "star"
"""A mark for one point that stands out."""
COLORS = 8
LETTER = 7.2
"""Width of a letter of the names of parts, about."""
BAND_ROWS = 3
"""Rows for the names of parts."""
Place = Callable[[float], float]
MOST_POINTS = 240
"""Points of a series beyond which only every second, third, ... is drawn, and always the last."""
MOST_MARKS = 60
"""Points of a series beyond which only its line is drawn."""


@dataclass(frozen=True)
class Series:
    """A line, or single marks.

    Attributes:
        name: Shown in the legend and beside values.
        points: (x, y), x ascending; a NaN interrupts the line.
        joined: Whether points are joined by a line.
        style: Number of color, dashes and mark; None: its place in the chart.
        mark: Another mark than that of the style.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    joined: bool = True
    style: int | None = None
    mark: str | None = None


@dataclass(frozen=True)
class Path:
    """A series as it is drawn.

    Attributes:
        name: Its name.
        color: Number of its color.
        dash: Its dashes, as ``stroke-dasharray`` has them.
        mark: Kind of its marks.
        path: The line, as ``d`` of an SVG path; empty: none.
        marks: The marks, as ``d``; empty: none.
    """

    name: str
    color: int
    dash: str
    mark: str
    path: str
    marks: str


@dataclass(frozen=True)
class Band:
    """Where a part of the x-axis begins.

    Attributes:
        at: Its place.
        name: Its name.
        row: Row of its name, from 0; None: there is no room for it.
        text_at: Place of the name.
        anchor: ``start`` or ``end``: which end of the name is there.
    """

    at: float
    name: str
    row: int | None
    text_at: float
    anchor: str


@dataclass(frozen=True)
class Chart:
    """All that the template draws.

    Attributes:
        title: What is shown.
        width: Width of the drawing.
        height: Height of the drawing.
        left: Left edge of the area of the plot; ``right``, ``top`` and ``bottom`` are its others.
        x_ticks: (place, text).
        y_ticks: (place, text).
        bands: Where a stage or round begins.
        paths: The series.
        columns: JSON of the values at each x.
        x_name: What x is.
        summary: The chart in one sentence, for those who do not see it.
    """

    title: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    bands: tuple[Band, ...]
    paths: tuple[Path, ...]
    columns: str
    x_name: str
    summary: str


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str = "step",
    digits: int | None = None,
    bands: Sequence[tuple[float, str]] = (),
    most: float = math.inf,
) -> Chart | None:
    """A chart of the finite values of some series; None if there are none.

    Args:
        title: What is shown.
        series: The lines.
        x_name: What x is, in the singular.
        digits: Digits behind the point; None: three significant ones.
        bands: x at which a part begins, and its name.
        most: The largest value that is possible, beyond which there is no tick.
    """
    finite = [(x, y) for one in series for x, y in one.points if math.isfinite(x) and math.isfinite(y)]
    if not finite:
        return None
    xs, ys = [x for x, _ in finite] + [x for x, _ in bands], [y for _, y in finite]
    x_low, x_high = _spread(min(xs), max(xs))
    y_low, y_high = _spread(min(ys), max(ys), 0.06)
    # Counts, shares and losses are never negative, so no tick should suggest it.
    y_ticks = ticks(max(0.0, y_low) if min(ys) >= 0 else y_low, y_high)
    y_ticks = [tick for tick in y_ticks if tick <= max(most, max(ys))]
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place_x(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (right - LEFT), 1)

    def place_y(y: float) -> float:
        return round(bottom - (y - y_low) / (y_high - y_low) * (bottom - TOP), 1)

    shown = [
        _thinned(one) for one in series if any(math.isfinite(x) and math.isfinite(y) for x, y in one.points)
    ]
    x_ticks = [tick for tick in ticks(x_low, x_high, 6) if x_low <= tick <= x_high]
    return Chart(
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=right,
        top=TOP,
        bottom=bottom,
        x_ticks=tuple((place_x(tick), text(tick)) for tick in x_ticks),
        y_ticks=tuple((place_y(tick), text(tick)) for tick in y_ticks),
        bands=_bands([(place_x(x), name) for x, name in bands], right),
        paths=tuple(
            _path(one, number if one.style is None else one.style, place_x, place_y)
            for number, one in enumerate(shown)
        ),
        columns=_columns(shown, x_name, digits, place_x, bands),
        x_name=x_name,
        summary=_summary(title, shown, digits),
    )


def spark(values: Sequence[float], low: float = 0.0, high: float = 1.0) -> str:
    """A small line in a box of 110 x 22, as ``points`` of an SVG polyline; empty for fewer than two values."""
    known = [(place, value) for place, value in enumerate(values) if math.isfinite(value)]
    if len(known) < 2:
        return ""
    width = 108 / max(1, len(values) - 1)
    span = (high - low) or 1.0
    return " ".join(
        f"{1 + place * width:.1f},{21 - 20 * min(1.0, max(0.0, (value - low) / span)):.1f}"
        for place, value in known
    )


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers that cover low .. high, about ``wanted`` of them.

    Examples:
        >>> ticks(0.0, 47.0)
        [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    raw = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def text(value: float, digits: int | None = None) -> str:
    """A number for people.

    Examples:
        >>> text(12000), text(0.000123), text(47.123456, 2)
        ('12,000', '0.000123', '47.12')
    """
    if not math.isfinite(value):
        return "-"
    if digits is not None:
        return f"{value:,.{digits}f}"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.3g}"


def _thinned(series: Series) -> Series:
    """At most about ``MOST_POINTS`` points; gaps stay."""
    is_known = [math.isfinite(x) and math.isfinite(y) for x, y in series.points]
    known = [place for place, found in enumerate(is_known) if found]
    stride = max(1, -(-len(known) // MOST_POINTS))
    kept = set(known[::-1][::stride])
    kept |= {place for place in range(1, len(is_known)) if is_known[place - 1] and not is_known[place]}
    return replace(series, points=tuple(series.points[place] for place in sorted(kept)))


def _spread(low: float, high: float, margin: float = 0.0) -> tuple[float, float]:
    """A range that is not empty, widened by a share of itself."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        half = abs(low) * 0.1 or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def _path(series: Series, style: int, place_x: Place, place_y: Place) -> Path:
    places = [
        (place_x(x), place_y(y)) if math.isfinite(x) and math.isfinite(y) else None for x, y in series.points
    ]
    line, pen_is_up = [], True
    for place in places:
        if place is not None:
            line.append(f"{'M' if pen_is_up else 'L'}{place[0]:g} {place[1]:g}")
        pen_is_up = place is None
    mark = series.mark or MARKS[style % len(MARKS)]
    known = [place for place in places if place is not None]
    marked = known if len(known) <= MOST_MARKS else [known[0], known[-1]]
    return Path(
        name=series.name,
        color=style % COLORS,
        dash=DASHES[style % len(DASHES)],
        mark=mark,
        path="".join(line) if series.joined and len(known) > 1 else "",
        marks="".join(mark_path(mark, x, y) for x, y in marked),
    )


def mark_path(mark: str, x: float, y: float, size: float = 4.5) -> str:
    """A mark around a point, as ``d`` of an SVG path."""
    s = size
    if mark == "square":
        return f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}z"
    if mark == "triangle":
        return f"M{x:.1f} {y - s * 1.2:.1f}l{s * 1.2:g} {s * 2.1:g}h{-s * 2.4:g}z"
    if mark == STAR:
        corners = ((1.9 * s if n % 2 == 0 else 0.8 * s, math.pi * (n / 5 - 0.5)) for n in range(10))
        return (
            "M" + "L".join(f"{x + r * math.cos(a):.1f} {y + r * math.sin(a):.1f}" for r, a in corners) + "z"
        )
    if mark == "diamond":
        return f"M{x:.1f} {y - s * 1.4:.1f}l{s * 1.4:g} {s * 1.4:g}l{-s * 1.4:g} {s * 1.4:g}l{-s * 1.4:g} {-s * 1.4:g}z"
    return f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0"


def _bands(bands: Sequence[tuple[float, str]], right: float) -> tuple[Band, ...]:
    """Names in three rows, as far as there is room for them."""
    taken = [-math.inf] * BAND_ROWS
    found = []
    for place, name in bands:
        length = LETTER * len(name)
        end = place + 3 + length <= right
        begin = place + 3 if end else place - 3 - length
        row = next((number for number, until in enumerate(taken) if begin > until + 6), None)
        if row is not None:
            taken[row] = begin + length
        found.append(Band(place, name, row, round(place + (3 if end else -3), 1), "start" if end else "end"))
    return tuple(found)


def _columns(
    series: Sequence[Series],
    x_name: str,
    digits: int | None,
    place_x: Place,
    bands: Sequence[tuple[float, str]],
) -> str:
    """JSON of the lines of text at each x: step and part, then the value of every series that has one there."""
    values: dict[float, list[str]] = {}
    for one in series:
        for x, y in one.points:
            if math.isfinite(x) and math.isfinite(y):
                values.setdefault(x, []).append(f"{one.name}: {text(y, digits)}")
    columns = []
    for x, lines in sorted(values.items()):
        # The end of a part is the beginning of the next one: its values belong to the part before.
        part = next((f", {name}" for begin, name in reversed(bands) if begin < x), "")
        columns.append({"at": place_x(x), "lines": [f"{x_name} {text(x)}{part}", *lines]})
    return json.dumps(columns, ensure_ascii=False, allow_nan=False)


def _summary(title: str, series: Sequence[Series], digits: int | None) -> str:
    ends = []
    for one in series:
        known = [y for _, y in one.points if math.isfinite(y)]
        ends.append(f"{one.name} from {text(known[0], digits)} to {text(known[-1], digits)}")
    return f"{title}: {'; '.join(ends)}."
