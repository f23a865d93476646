"""A run as one page: charts, tables and pictures from its facts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.classes import LabelSpace
from hiast.pages import environment
from hiast.progress import duration
from hiast.report.charts import Chart, Series, line_chart, mark_path, spark, text
from hiast.report.facts import RunFacts
from hiast.report.history import Round
from hiast.report.notices import notices_of

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES_SHOWN, IMAGES_SHOWN = 4, 2
"""Rounds of which pictures are shown, the latest ones: a page of many rounds would become heavy."""
_LOSSES = ("total", "loss")
_HIDDEN = ("trusted",)


def run_page(facts: RunFacts) -> str:
    """The report of a run as HTML; equal facts give equal text."""
    return (
        page_environment()
        .get_template("run.html")
        .render(
            title=f"{facts.name}: report",
            facts=facts,
            notices=notices_of(facts),
            cards=_cards(facts),
            means=list(dict.fromkeys(title for one in facts.rounds for title in one.means())),
            miou=_miou_chart(facts),
            stages=_stage_rows(facts),
            classes=_class_rows(facts),
            confusions=[_confusion(facts, title) for title in facts.validations],
            coverage=_coverage_charts(facts),
            thresholds=_threshold_tables(facts),
            examples=_latest(facts.examples, EXAMPLES_SHOWN),
            images=_latest(facts.validations, IMAGES_SHOWN),
            candidates=_candidate_rows(facts),
            scores=_score_charts(facts),
            losses=_loss_charts(facts),
            times=_time_rows(facts),
            settings=_settings(facts),
            lineage=facts.lineage,
        )
    )


def page_environment() -> Any:
    """The environment of all pages of this package."""
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
    name = _selected(facts)
    if name is not None:
        miou = facts.labeled.get(name, (0, math.nan))[1]
        shown = percent(miou) if math.isfinite(miou) else "chosen"
        cards.append(Card(shown, f"{name}, chosen without labels"))
    if facts.labels:
        cards.append(
            Card(f"{percent(facts.labels[-1].coverage)} %", f"pixels labeled in {facts.labels[-1].title}")
        )
    if math.isfinite(facts.device_seconds):
        cards.append(Card(_duration(facts.device_seconds), "device time, h:min:s"))
    return cards


def _miou_chart(facts: RunFacts) -> Chart | None:
    """The main mean over all steps, and that of the candidates on their sample of images."""
    points: list[tuple[float, float]] = []
    for one in facts.rounds:
        points += [(one.begin + step, 100 * v) for step, v in one.values.get(f"val/{facts.main_mean}", [])]
    series = [Series("validated network", tuple(points), style=0)] if points else []
    groups: dict[str, list[tuple[float, float]]] = {"other candidates": [], "student": [], "teacher": []}
    for name, (step, value) in facts.labeled.items():
        groups[_role(name, facts)].append((float(step), 100 * value))
    for style, (title, marks) in enumerate(groups.items(), 1):
        series.append(Series(title, tuple(sorted(marks)), joined=title != "other candidates", style=style))
    chosen = _selected(facts)
    if chosen in facts.labeled:
        step, value = facts.labeled[chosen]
        series.append(Series(f"chosen: {chosen}", ((float(step), 100 * value),), joined=False, style=7))
    return line_chart(f"{facts.main_mean or 'mIoU'} in percent", series, digits=2, bands=_bands(facts))


def _role(name: str, facts: RunFacts) -> str:
    """Whether a candidate is a student, its teacher, or neither: source_only, target statistics and the like."""
    if name.endswith(("(teacher)", "-teacher")) or f"{name}-student" in facts.labeled:
        return "teacher"
    pair = f"{name} (teacher)" in facts.labeled or f"{name}-teacher" in facts.labeled
    return "student" if pair or name.endswith("-student") else "other candidates"


def _bands(facts: RunFacts) -> list[tuple[float, str]]:
    return [(float(one.begin), one.title) for one in facts.rounds]


def _selected(facts: RunFacts) -> str | None:
    selected = (facts.choice or {}).get("selected")
    return str(selected["name"]) if isinstance(selected, Mapping) and "name" in selected else None


def _stage_rows(facts: RunFacts) -> list[dict[str, Any]]:
    rows, before = [], math.nan
    by_title = {labels.title: labels for labels in facts.labels}
    for one in facts.rounds:
        now = facts.mean(one)
        seconds = (one.result or {}).get("seconds")
        labels = by_title.get(one.title)
        rows.append(
            {
                "title": one.title,
                "state": "ended" if one.result is not None else f"at step {one.seen:,}",
                "steps": one.steps,
                "means": one.means(),
                "change": now - before,
                "entropy": one.last("val/entropy"),
                "coverage": math.nan if labels is None else labels.coverage,
                "agreement": math.nan if labels is None else labels.agreement,
                "seconds": seconds,
            }
        )
        before = now if math.isfinite(now) else before
    return rows


def _class_rows(facts: RunFacts) -> dict[str, Any] | None:
    """IoU of each class after each round."""
    scored = [one for one in facts.rounds if one.iou()]
    if not scored or facts.classes is None:
        return None
    table = {one.title: one.iou() for one in scored}
    rows = []
    for index, name in enumerate(facts.classes.names):
        values = [table[one.title].get(name, math.nan) for one in scored]
        finite = [value for value in values if math.isfinite(value)]
        rows.append(
            {
                "name": name,
                "color": facts.classes.colors[index],
                "values": values,
                "change": values[-1] - values[0] if len(values) > 1 else math.nan,
                "best": max(finite, default=math.nan),
                "differ": len(set(finite)) > 1,
                "spark": spark(values),
            }
        )
    return {"titles": [one.title for one in scored], "rows": rows}


def _confusion(facts: RunFacts, title: str) -> dict[str, Any] | None:
    """Shares of each label's pixels by prediction, and the largest confusions."""
    record = facts.validations[title]
    names = facts.classes.names if facts.classes is not None else ()
    try:
        matrix = np.array(record["matrix"], np.int64)
    except (KeyError, TypeError, ValueError):
        return None
    if matrix.shape != (len(names), len(names)):
        return None
    totals = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    off = shares.copy()
    np.fill_diagonal(off, 0)
    places = np.argsort(-off, axis=None, kind="stable")[:8]
    worst = [
        (
            names[place // len(names)],
            names[place % len(names)],
            float(off.flat[place]),
            int(matrix.flat[place]),
        )
        for place in places.tolist()
        if off.flat[place] >= 0.01
    ]
    return {
        "title": title,
        "names": names,
        "step": record.get("step"),
        "images": record.get("images"),
        "accuracy": record.get("pixel_accuracy"),
        "rows": [
            (
                name,
                int(totals[row, 0]),
                [(float(share), int(count)) for share, count in zip(shares[row], matrix[row], strict=True)],
            )
            for row, name in enumerate(names)
            if totals[row, 0]
        ],
        "worst": worst,
    }


def _coverage_charts(facts: RunFacts) -> list[Chart]:
    over_rounds = [
        Series(labels.title, tuple((float(x), 100 * y) for x, y in labels.covered)) for labels in facts.labels
    ]
    trusted = [
        (one.begin + step, 100 * value)
        for one in facts.rounds
        for step, value in one.values.get("trusted", [])
    ]
    charts = [
        line_chart(
            "pixels with a pseudo-label, in percent, as the images were labeled",
            over_rounds,
            x_name="image",
            digits=1,
        ),
        line_chart(
            "weight of the teacher's labels in training, in percent",
            [Series("trusted", tuple(trusted))],
            digits=1,
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _latest(records: Mapping[str, dict[str, Any]], count: int) -> list[tuple[str, dict[str, Any]]]:
    """The last records, the latest first."""
    return list(reversed(records.items()))[:count]


def _threshold_tables(facts: RunFacts) -> list[dict[str, Any]]:
    """Thresholds and coverage of each class, a table per round; of moving thresholds at the end of the stage."""
    if facts.classes is None:
        return []
    names, colors = facts.classes.names, facts.classes.colors
    tables = []
    for labels in facts.labels:
        if len(labels.shares) == len(names):
            rows = [_of_class(labels, index) for index in range(len(names))]
            tables.append({"title": labels.title, "labeled": True, "rows": rows})
    for one in facts.rounds:
        moved = [[value for _, value in one.values.get(f"threshold/{name}", [])] for name in names]
        if any(moved):
            rows = [
                {"threshold": values[-1] if values else math.nan, "spark": spark(values)} for values in moved
            ]
            tables.append({"title": one.title, "labeled": False, "rows": rows})
    for table in tables:
        for row, name, color in zip(table["rows"], names, colors, strict=True):  # type: ignore[call-overload]
            row |= {"name": name, "color": color}
    return tables


def _of_class(labels: Any, index: int) -> dict[str, Any]:
    values: NDArray[np.float64] | None = None if labels.thresholds is None else labels.thresholds[:, index]
    return {
        "threshold": math.nan if values is None or not len(values) else float(values[-1]),
        "spark": "" if values is None else spark(values.tolist()),
        "share": float(labels.shares[index]),
        "pixels": int(labels.pixels[index]),
        "images": int(labels.class_images[index]),
        "confidence": float(labels.confidence[index]),
    }


def _candidate_rows(facts: RunFacts) -> list[dict[str, Any]]:
    table = {
        row.get("name"): row for row in (facts.choice or {}).get("table") or [] if isinstance(row, Mapping)
    }
    selected = _selected(facts)
    rows = []
    for candidate in facts.candidates:
        row = table.get(candidate.name, {})
        scores = candidate.scores
        rows.append(
            {
                "name": candidate.name,
                "step": candidate.step,
                "chosen": candidate.name == selected,
                "rank": row.get("rank"),
                "vetoes": row.get("vetoes") or [],
                "labeled": facts.labeled.get(candidate.name, (0, math.nan))[1],
                "ensemble": scores.ensemble_miou,
                "infomax": scores.infomax,
                "entropy": scores.entropy,
                "snd": scores.snd,
                "consistency": scores.consistency,
                "source": scores.source_miou,
                "teacher": scores.teacher_miou,
                "previous": scores.previous_miou,
            }
        )
    return rows


def _score_charts(facts: RunFacts) -> list[Chart]:
    kept = [candidate for candidate in facts.candidates if candidate.checkpoint]

    def series(name: str, key: str) -> Series:
        # Several networks of one step, as student and teacher, stand above each other.
        found = ((float(one.step), 100 * getattr(one.scores, key)) for one in kept)
        return Series(name, tuple(sorted(found)), joined=False)

    agreement = [
        series("with the ensemble", "ensemble_miou"),
        series("between views", "consistency"),
        series("with the teacher", "teacher_miou"),
        series("on held-out source", "source_miou"),
    ]
    entropy = [series("InfoMax", "infomax"), series("entropy", "entropy")]
    charts = (
        line_chart("candidates: mIoU of agreement, in percent", agreement, digits=1),
        line_chart("candidates: InfoMax and entropy, in percent", entropy, digits=1),
    )
    return [chart for chart in charts if chart is not None]


def _loss_charts(facts: RunFacts) -> list[Chart]:
    """The loss terms of each round, then learning rates and label-free entropy over the whole run."""
    charts = []
    for one in facts.rounds:
        names = [name for name in one.values if "/" not in name and name not in _HIDDEN]
        names.sort(key=lambda name: name not in _LOSSES)
        series = [
            Series(name, tuple((float(step), value) for step, value in one.values[name]))
            for name in names[:8]
        ]
        charts.append(line_chart(f"losses of {one.title}", series))
    rates = {name for one in facts.rounds for name in one.values if name.startswith("lr/")}
    lr = [Series(name.removeprefix("lr/"), _over_run(facts, name)) for name in sorted(rates)]
    charts.append(line_chart("learning rate", lr, bands=_bands(facts)))
    entropy = [Series("entropy", _over_run(facts, "val/entropy"))]
    charts.append(line_chart("mean entropy on the validation images, 0 to 1", entropy, bands=_bands(facts)))
    return [chart for chart in charts if chart is not None]


def _over_run(facts: RunFacts, name: str) -> tuple[tuple[float, float], ...]:
    """Points of a number over all steps, interrupted between rounds."""
    points: list[tuple[float, float]] = []
    for one in facts.rounds:
        own = [(float(one.begin + step), value) for step, value in one.values.get(name, [])]
        points += [*own, (math.nan, math.nan)] if own else []
    return tuple(points[:-1])


def _time_rows(facts: RunFacts) -> list[dict[str, Any]]:
    of_round = {(one.stage, one.number): one for one in facts.rounds}
    rows = []
    for fit in facts.times:
        one = of_round.get((fit["stage"], fit["round"]), Round(fit["stage"], fit["round"]))
        steps, training = fit["to"] - fit["from"], float(fit["training"])
        rows.append(
            {
                **fit,
                "title": one.title,
                "labeling": fit["labeling"] if one.labeled else None,
                "steps_per_second": steps / training if training and steps else math.nan,
                "images_per_second": fit["images"] / training if training and steps else math.nan,
            }
        )
    return rows


def _settings(facts: RunFacts) -> dict[str, Any]:
    def pairs(key: str) -> list[tuple[str, Any, Any]]:
        values = facts.settings.get(key)
        found = values.items() if isinstance(values, Mapping) else ()
        return [(name, *pair) for name, pair in found if isinstance(pair, Sequence) and len(pair) == 2]

    return {"choices": pairs("choices"), "settings": pairs("settings"), "known": bool(facts.settings)}


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
