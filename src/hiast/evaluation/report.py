"""Tables of results, to be shown by whoever asks for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from hiast.evaluation.metrics import Scores

Result = Mapping[str, Any]


def stage_table(results: Sequence[Result]) -> Table:
    """One row per stage and round: what it reached, in percent, and what it took.

    Args:
        results: As ``hiast.run.Pipeline.run`` returns them.
    """
    table = Table(title="mIoU on the labelled target images, in percent")
    header, rows = _stage_rows(results)
    for position, title in enumerate(header):
        table.add_column(title, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(results: Sequence[Result]) -> str:
    """The same as a Markdown table that ends with a line break."""
    header, rows = _stage_rows(results)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *rows))


def class_table(scores: Scores) -> Table:
    """IoU of each class in percent, absent classes marked, then the means under their names."""
    table = Table(title="IoU in percent")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, value in scores.iou.items():
        table.add_row(name, "absent" if name in scores.absent else percent(value))
    table.add_section()
    for title, value in scores.means.items():
        table.add_row(title, percent(value), style="bold")
    if scores.absent:
        for title, value in scores.published_means.items():
            table.add_row(f"{title} (absent = 0)", percent(value), style="dim")
    table.add_row("pixel accuracy", percent(scores.pixel_accuracy))
    return table


def percent(value: float | None) -> str:
    """A share as percent with two digits; a dash where there is nothing to show."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _stage_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    titles = list(dict.fromkeys(title for result in results for title in result["means"]))
    header = ["stage", "round", "steps", *titles, "change", "time"]
    rows = []
    before = math.nan
    for result in results:
        means = [result["means"].get(title) for title in titles]
        now = math.nan if not means or means[0] is None else means[0]
        change = "" if math.isnan(now - before) else f"{100 * (now - before):+.2f}"
        rows.append(
            [result["stage"], str(result["round"]), f"{result['steps']:,}", *map(percent, means), change,
             duration(result["seconds"])]
        )  # fmt: skip
        before = now
    return header, rows
