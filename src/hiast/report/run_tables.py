"""The tables of a run's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.report.charts import spark
from hiast.report.facts import RunFacts
from hiast.report.history import Round
from hiast.report.run_charts import selected_name

_BY_MACHINE = "chosen_by_machine"
"""Setting that lists the settings that a machine chose."""


def stage_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """A row for each round: means, change, coverage, time."""
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
                "overlap": math.nan if labels is None else labels.overlap,
                "seconds": seconds,
            }
        )
        before = now if math.isfinite(now) else before
    return rows


def class_rows(facts: RunFacts) -> dict[str, Any] | None:
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


def confusion(facts: RunFacts, title: str) -> dict[str, Any] | None:
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


def threshold_tables(facts: RunFacts) -> list[dict[str, Any]]:
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
    covered = labels.covered[:, index].tolist()
    most = max(covered, default=0.0)
    return {
        "threshold": math.nan if values is None or not len(values) else float(values[-1]),
        "spark": "" if values is None else spark(values.tolist()),
        "share": float(labels.shares[index]),
        "covered": spark(covered, high=most) if most else "",
        "most": most,
        "pixels": int(labels.pixels[index]),
        "images": int(labels.class_images[index]),
        "confidence": float(labels.confidence[index]),
    }


def candidate_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """A row for each candidate: scores, rank, and why it was rejected."""
    table = {
        row.get("name"): row for row in (facts.choice or {}).get("table") or [] if isinstance(row, Mapping)
    }
    selected = selected_name(facts)
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
                "colored": scores.colored_miou,
                "teacher": scores.teacher_miou,
                "previous": scores.previous_miou,
            }
        )
    return rows


def time_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """A row for each round in each start of the program."""
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


def settings(facts: RunFacts) -> dict[str, Any]:
    """Choices and settings that differ from the defaults, as (name, default, value), and what the machine chose."""

    def pairs(key: str) -> list[tuple[str, Any, Any]]:
        values = facts.settings.get(key)
        found = values.items() if isinstance(values, Mapping) else ()
        return [(name, *pair) for name, pair in found if isinstance(pair, Sequence) and len(pair) == 2]

    found = pairs("settings")
    chosen = next((here for name, _, here in found if name == _BY_MACHINE), None)
    return {
        "choices": pairs("choices"),
        "settings": [each for each in found if each[0] != _BY_MACHINE],
        "by_machine": chosen if isinstance(chosen, list) else [],
        "known": bool(facts.settings),
    }
