"""Tables of results for the console."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from hiast.classes import LabelSpace
from hiast.evaluation.metrics import Scores
from hiast.progress import duration

Result = Mapping[str, Any]

SIGNALS = {"labels/coverage": "kept", "labels/overlap": "overlap"}
"""Label-free signals of a round: key in the result -> title of the column."""

_ABOUT_SIGNALS = {
    "kept": "kept: target pixels with a pseudo-label",
    "overlap": "overlap: pixels with the same label in the round before, among those that either round keeps",
}
"""Title of a column -> what it shows."""


def stage_table(results: Sequence[Result]) -> Table:
    """One row per stage and round: what it reached, in percent, and what it took.

    Args:
        results: As ``hiast.run.Pipeline.run`` returns them.
    """
    header, rows = _stage_rows(results)
    measured = any(result["means"] for result in results)
    title = (
        "mIoU on the labeled target images, in percent"
        if measured
        else "Stages; without labeled target images there is no mIoU"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    table.caption = "; ".join(about for name, about in _ABOUT_SIGNALS.items() if name in header) or None
    for position, title in enumerate(header):
        table.add_column(title, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def markdown_table(results: Sequence[Result]) -> str:
    """The same as a Markdown table that ends with a line break."""
    header, rows = _stage_rows(results)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *rows))


def class_table(scores: Scores, classes: LabelSpace) -> Table:
    """IoU of each class in percent, those that are absent or in no mean marked, then the means under their names."""
    reported = {name for names in classes.reported.values() for name in names}
    table = Table(title="IoU in percent")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, value in scores.iou.items():
        shown = escape(name if name in reported else f"{name} (in no mean)")
        table.add_row(shown, "absent" if name in scores.absent else percent(value))
    table.add_section()
    for title, value in scores.means.items():
        table.add_row(escape(title), percent(value), style="bold")
    if scores.absent:
        for title, value in scores.published_means.items():
            table.add_row(f"{title} (absent = 0)", percent(value), style="dim")
    table.add_row("pixel accuracy", percent(scores.pixel_accuracy))
    return table


def percent(value: float | None) -> str:
    """A share as percent with two digits; a dash where there is nothing to show."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def _stage_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    titles = list(dict.fromkeys(title for result in results for title in result["means"]))
    signals = [key for key in SIGNALS if any(key in result.get("signals", {}) for result in results)]
    changes = ["change"] if titles else []
    header = ["stage", "steps", *titles, *changes, *(SIGNALS[key] for key in signals), "time"]
    several_rounds = {result["stage"] for result in results if result["round"] > 1}
    rows = []
    before = math.nan
    for result in results:
        means = [_number(result["means"].get(title)) for title in titles]
        now = means[0] if means else math.nan
        change = "" if math.isnan(now - before) else f"{100 * (now - before):+.2f}"
        shares = [_number(result.get("signals", {}).get(key)) for key in signals]
        rows.append(
            [
                result["stage"] + (f" {result['round']}" if result["stage"] in several_rounds else ""),
                f"{result['steps']:,}",
                *(percent(mean) for mean in means),
                *([change] if titles else []),
                *("" if math.isnan(share) else f"{100 * share:.1f}" for share in shares),
                duration(result["seconds"]),
            ]
        )
        before = now
    return header, rows


def _number(value: float | None) -> float:
    return math.nan if value is None else value
