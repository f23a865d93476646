"""The charts of a run's page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hiast.report.charts import STAR, Chart, Series, line_chart
from hiast.report.facts import RunFacts

_LOSSES = ("total", "loss")
_HIDDEN = ("trusted",)


def miou_chart(facts: RunFacts) -> Chart | None:
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
    chosen = selected_name(facts)
    if chosen in facts.labeled:
        step, value = facts.labeled[chosen]
        series.append(
            Series(f"chosen: {chosen}", ((float(step), 100 * value),), joined=False, style=7, mark=STAR)
        )
    title = f"{facts.main_mean or 'mIoU'} in percent"
    return line_chart(title, series, digits=2, bands=_bands(facts), most=100.0)


def _role(name: str, facts: RunFacts) -> str:
    """Whether a candidate is a student, its teacher, or neither: source_only, target statistics and the like."""
    if name.endswith(("(teacher)", "-teacher")) or f"{name}-student" in facts.labeled:
        return "teacher"
    pair = f"{name} (teacher)" in facts.labeled or f"{name}-teacher" in facts.labeled
    return "student" if pair or name.endswith("-student") else "other candidates"


def _bands(facts: RunFacts) -> list[tuple[float, str]]:
    return [(float(one.begin), one.title) for one in facts.rounds]


def coverage_charts(facts: RunFacts) -> list[Chart]:
    """Coverage over the images of each round, and the weight of labels that a teacher gives in every step."""
    over_rounds = [
        Series(
            labels.title,
            tuple(
                (float(x), 100 * float(y)) for x, y in zip(labels.labeled, labels.covered.sum(1), strict=True)
            ),
        )
        for labels in facts.labels
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
            most=100.0,
        ),
        line_chart(
            "weight of the teacher's labels in training, in percent",
            [Series("trusted", tuple(trusted))],
            digits=1,
            most=100.0,
        ),
    ]
    return [chart for chart in charts if chart is not None]


def score_charts(facts: RunFacts) -> list[Chart]:
    """The label-free scores of the candidates over all steps."""
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
        series("on it in target colors", "colored_miou"),
    ]
    entropy = [series("InfoMax", "infomax"), series("entropy", "entropy")]
    charts = (
        line_chart("candidates: mIoU of agreement, in percent", agreement, digits=1, most=100.0),
        line_chart("candidates: InfoMax and entropy, in percent", entropy, digits=1, most=100.0),
    )
    return [chart for chart in charts if chart is not None]


def loss_charts(facts: RunFacts) -> list[Chart]:
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


def selected_name(facts: RunFacts) -> str | None:
    """Name of the candidate that was chosen; None: none was yet."""
    selected = (facts.choice or {}).get("selected")
    return str(selected["name"]) if isinstance(selected, Mapping) and "name" in selected else None
