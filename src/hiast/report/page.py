"""A run as one page: charts, tables and pictures from its facts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hiast.classes import LabelSpace
from hiast.pages import environment
from hiast.progress import duration
from hiast.report.charts import mark_path, spark, text
from hiast.report.facts import RunFacts
from hiast.report.notices import notices_of
from hiast.report.run_charts import coverage_charts, loss_charts, miou_chart, score_charts, selected_name
from hiast.report.run_tables import (
    candidate_rows,
    class_rows,
    confusion,
    settings,
    stage_rows,
    threshold_tables,
    time_rows,
)

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES_SHOWN, IMAGES_SHOWN = 4, 2
"""Rounds of which pictures are shown, the latest ones: a page of many rounds would become heavy."""


def run_page(facts: RunFacts) -> str:
    """The report of a run as HTML; equal facts give equal text."""
    page: str = (
        page_environment()
        .get_template("run.html")
        .render(
            title=f"{facts.name}: report",
            facts=facts,
            notices=notices_of(facts),
            cards=_cards(facts),
            means=list(dict.fromkeys(title for one in facts.rounds for title in one.means())),
            miou=miou_chart(facts),
            stages=stage_rows(facts),
            classes=class_rows(facts),
            confusions=[confusion(facts, title) for title in facts.validations],
            coverage=coverage_charts(facts),
            thresholds=threshold_tables(facts),
            examples=_latest(facts.examples, EXAMPLES_SHOWN),
            images=_latest(facts.validations, IMAGES_SHOWN),
            candidates=candidate_rows(facts),
            scores=score_charts(facts),
            losses=loss_charts(facts),
            times=time_rows(facts),
            settings=settings(facts),
            lineage=facts.lineage,
        )
    )
    return page


@cache
def page_environment() -> Any:
    """The environment of all pages of this package; it keeps compiled templates, since a run writes its page often."""
    made = environment(TEMPLATES)
    made.filters |= {
        "percent": percent,
        "signed": signed,
        "text": text,
        "duration": _duration,
        "spark": spark,
        "sortable": sortable,
        "value": _value,
        "known": _known,
        "swatch": _swatch,
        "color_names": _color_names,
    }
    made.globals["mark_path"] = mark_path
    return made


def percent(value: float | None, digits: int = 1) -> str:
    """A share as percent; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference of shares in points, with its sign; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def sortable(value: Any) -> str:
    """What a table sorts a cell by: digits that give the number back; empty where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(float(value)) if isinstance(value, int | float | np.number) else str(value)


@dataclass(frozen=True)
class Card:
    """A figure at the top.

    Attributes:
        value: The figure.
        name: What it is.
    """

    value: str
    name: str


def _cards(facts: RunFacts) -> list[Card]:
    cards = []
    scored = [one for one in facts.rounds if math.isfinite(facts.mean(one))]
    if scored:
        cards.append(Card(percent(facts.mean(scored[-1])), f"{facts.main_mean} after {scored[-1].title}"))
    if len(scored) > 1:
        change = facts.mean(scored[-1]) - facts.mean(scored[0])
        cards.append(Card(signed(change), f"points since {scored[0].title}"))
    name = selected_name(facts)
    if name is not None:
        miou = facts.labeled.get(name, (0, math.nan))[1]
        shown = percent(miou) if math.isfinite(miou) else "chosen"
        cards.append(Card(shown, f"{name}, chosen without labels"))
    if facts.labels:
        cards.append(
            Card(f"{percent(facts.labels[-1].coverage)} %", f"pixels labeled in {facts.labels[-1].title}")
        )
    if math.isfinite(facts.device_seconds):
        unit = "min:s" if round(facts.device_seconds) < 3600 else "h:min:s"
        cards.append(Card(_duration(facts.device_seconds), f"device time, {unit}"))
    return cards


def _latest(records: Mapping[str, dict[str, Any]], count: int) -> list[tuple[str, dict[str, Any]]]:
    """The last records, the latest first."""
    return list(records.items())[::-1][:count]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None or not math.isfinite(seconds) else duration(seconds)


def _value(value: Any) -> str:
    return "null" if value is None else str(value)


def _known(value: Any) -> str:
    return "not known" if value is None else str(value)


def _swatch(color: Sequence[int]) -> str:
    return f"rgb({','.join(str(int(part)) for part in color)})"


def _color_names(classes: LabelSpace) -> str:
    """JSON pairs of color and class, for the name under the pointer."""
    pairs = [
        [",".join(map(str, color)), name] for color, name in zip(classes.colors, classes.names, strict=True)
    ]
    return json.dumps(pairs, ensure_ascii=False)
