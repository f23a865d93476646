"""The comparison of runs as one page."""

from __future__ import annotations

import math
from typing import Any

from hiast.report.charts import Chart, Series, line_chart
from hiast.report.compare import Compared, Comparison, Figure, Group
from hiast.report.notices import notices_of
from hiast.report.page import Card, page_environment, percent, signed

MOST_LINES = 8
LONGEST = 200
"""Characters of a setting that are shown."""


def comparison_page(comparison: Comparison) -> str:
    """The comparison as HTML; equal facts give equal text."""
    environment = page_environment()
    environment.filters |= {"figure": figure}
    return str(
        environment.get_template("comparison.html").render(
            title=f"Comparison of {len(comparison.runs)} runs",
            comparison=comparison,
            cards=_cards(comparison),
            chart=_chart(comparison),
            groups=list(comparison.groups),
            classes=_class_rows(comparison),
            runs=[(group, run) for group in comparison.groups for run in group.runs],
            notices={run.label: notices_of(run.facts) for run in comparison.runs},
            settings=[(key, list(map(_shortened, values))) for key, values in comparison.settings.items()],
        )
    )


def figure(value: Figure) -> str:
    """Mean and deviation in percent, ``47.1 \N{PLUS-MINUS SIGN} 0.8``."""
    if not math.isfinite(value.deviation):
        return percent(value.mean)
    return f"{percent(value.mean)} \N{PLUS-MINUS SIGN} {percent(value.deviation)}"


def _cards(comparison: Comparison) -> list[Card]:
    if not comparison.titles:
        return []
    title = comparison.titles[0]
    ranked = sorted(
        (group for group in comparison.groups if group.mean(title).count),
        key=lambda group: -group.mean(title).mean,
    )
    cards = [Card(figure(group.mean(title)), f"{title}, {group.name}") for group in ranked[:3]]
    if len(ranked) > 1:
        ahead = ranked[0].mean(title).mean - ranked[1].mean(title).mean
        cards.append(Card(signed(ahead), f"points: {ranked[0].name} before {ranked[1].name}"))
    return cards


def _chart(comparison: Comparison) -> Chart | None:
    """A line per run, or one per group where there are many runs."""
    if len(comparison.runs) <= MOST_LINES:
        style = {run.label: place for place, group in enumerate(comparison.groups) for run in group.runs}
        series = [Series(run.label, _points(run), style=style[run.label]) for run in comparison.runs]
    else:
        series = [Series(group.name, _mean_points(group)) for group in comparison.groups[:MOST_LINES]]
    means = dict.fromkeys(run.facts.main_mean for run in comparison.runs if run.facts.main_mean)
    return line_chart(f"{' and '.join(means) or 'mIoU'} in percent", series, digits=2, most=100.0)


def _points(run: Compared) -> tuple[tuple[float, float], ...]:
    facts = run.facts
    return tuple(
        (float(one.begin + step), 100 * value)
        for one in facts.rounds
        for step, value in one.values.get(f"val/{facts.main_mean}", [])
    )


def _mean_points(group: Group) -> tuple[tuple[float, float], ...]:
    """Mean over the runs at the steps that all of them have."""
    lines = [dict(_points(run)) for run in group.runs]
    steps = set(lines[0]).intersection(*lines[1:])
    return tuple((step, Figure.of(line[step] for line in lines).mean) for step in sorted(steps))


def _class_rows(comparison: Comparison) -> list[dict[str, Any]]:
    colors: dict[str, Any] = {}
    for run in comparison.runs:
        if run.facts.classes is not None:
            colors |= dict(zip(run.facts.classes.names, run.facts.classes.colors, strict=True))
    rows = []
    for name in comparison.classes:
        figures = [group.iou(name) for group in comparison.groups]
        rows.append(
            {
                "name": name,
                "color": colors.get(name, (150, 150, 150)),
                "figures": figures,
                "best": max((each.mean for each in figures if each.count), default=math.nan),
                "differ": len({each.mean for each in figures if each.count}) > 1,
                "change": figures[-1].mean - figures[0].mean if len(figures) > 1 else math.nan,
            }
        )
    return rows


def _shortened(value: Any) -> Any:
    """A value, or the beginning of a long one, such as a list of augmentations."""
    text = str(value)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
