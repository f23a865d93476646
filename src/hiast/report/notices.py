"""What a person should know about a run, in sentences, the worst first."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hiast.report.facts import RunFacts

Severity = Literal["error", "warning", "note"]
FELL = 0.05
"""Loss of IoU (0..1) from one round to a later one that is worth a sentence."""
LOW_COVERAGE = 0.1
ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Notice:
    """A sentence.

    Attributes:
        severity: How bad it is.
        text: The sentence.
    """

    severity: Severity
    text: str


def notices_of(facts: RunFacts) -> list[Notice]:
    """All sentences about a run."""
    found = [
        *_state(facts),
        *_adaptation(facts),
        *_pseudo_labels(facts),
        *_classes(facts),
        *_alarms(facts),
        *_files(facts),
        *_starts(facts),
    ]
    found += [Notice("warning", problem) for problem in facts.problems]
    return sorted(dict.fromkeys(found), key=lambda notice: ORDER[notice.severity])


def _alarms(facts: RunFacts) -> Iterator[Notice]:
    """The latest of those alarms that differ in the candidate and in numbers only, and since when."""
    alike: dict[str, list[str]] = {}
    for alarm in facts.alarms:
        alike.setdefault(re.sub(r"\d[\d.]*", "#", alarm.partition(": ")[2]), []).append(alarm)
    for alarms in alike.values():
        earlier = len(alarms) - 1
        since = alarms[0].partition(": ")[0]
        again = (
            f" The same of {earlier} candidate{'s' * (earlier > 1)} before, since {since}." if earlier else ""
        )
        yield Notice("warning", alarms[-1] + again)


def _state(facts: RunFacts) -> Iterator[Notice]:
    if not facts.rounds:
        yield Notice("note", "Nothing has been recorded yet.")
        return
    last = facts.rounds[-1]
    if not facts.finished and facts.planned:
        yield Notice(
            "note",
            f"The run has not ended: it is at step {last.seen:,} of {last.steps:,} of {last.title}, or was stopped "
            "there.",
        )
    if facts.rounds and not facts.main_mean and any(one.result is not None for one in facts.rounds):
        yield Notice(
            "note", "No mIoU is known, since the target has no labeled images; see the label-free scores."
        )


def _adaptation(facts: RunFacts) -> Iterator[Notice]:
    yield from _since_start(facts)
    means = [(one, facts.mean(one)) for one in facts.rounds if math.isfinite(facts.mean(one))]
    if len(means) < 2:
        return
    (first, before), (last, now) = means[0], means[-1]
    if now < before and last.result is not None:
        yield Notice(
            "error",
            f"Adaptation has done harm: {facts.main_mean} is {_percent(now)} after {last.title} and was "
            f"{_percent(before)} after {first.title}.",
        )
    best, top = max(means, key=lambda pair: pair[1])
    if top - now > 0.01 and best is not last:
        yield Notice(
            "warning",
            f"{best.title} was better than the end: {facts.main_mean} {_percent(top)} against {_percent(now)}.",
        )


def _since_start(facts: RunFacts) -> Iterator[Notice]:
    """Of a run that starts from a checkpoint, which is measured as a candidate."""
    if "start" not in facts.labeled or not facts.candidates:
        return
    chosen = (facts.choice or {}).get("selected", {}).get("name")
    name = str(chosen or facts.candidates[-1].name)
    before, now = facts.labeled["start"][1], facts.labeled.get(name, (0, math.nan))[1]
    ended = facts.rounds and facts.rounds[-1].result is not None
    if ended and now < before:
        yield Notice(
            "error",
            f"Adaptation has done harm: {name} has {_percent(now)} and the checkpoint that the run started from "
            f"{_percent(before)} ({facts.labeled_on}).",
        )


def _pseudo_labels(facts: RunFacts) -> Iterator[Notice]:
    if not facts.labels or facts.classes is None:
        return
    last = facts.labels[-1]
    if last.coverage < LOW_COVERAGE:
        yield Notice(
            "warning",
            f"Only {_percent(last.coverage)} % of the target pixels have a pseudo-label in {last.title}.",
        )
    since: dict[str, list[str]] = {}
    for index, name in enumerate(facts.classes.names):
        if index >= len(last.pixels) or last.pixels[index]:
            continue
        empty = [labels.pixels[index] == 0 for labels in facts.labels]
        first = max((place + 1 for place, none in enumerate(empty) if not none), default=0)
        since.setdefault(facts.labels[first].title, []).append(name)
    for title, names in since.items():
        verb = "has" if len(names) == 1 else "have"
        yield Notice("warning", f"{_listed(names)} {verb} had no pseudo-label pixel since {title}.")
    for earlier, later in zip(facts.labels, facts.labels[1:], strict=False):
        dried = (earlier.shares > 1e-4) & (later.shares > 0) & (later.shares < 0.2 * earlier.shares)
        if dried.any():
            names = [facts.classes.names[index] for index in np.flatnonzero(dried)]
            verb = "has" if len(names) == 1 else "have"
            yield Notice(
                "warning",
                f"{_listed(names)} {verb} less than a fifth of the pseudo-labels in {later.title} that there were in "
                f"{earlier.title}.",
            )


def _classes(facts: RunFacts) -> Iterator[Notice]:
    scored = [one for one in facts.rounds if any(math.isfinite(value) for value in one.iou().values())]
    if not scored:
        return
    first, last = scored[0].iou(), scored[-1].iou()
    zero = [name for name, value in last.items() if value == 0]
    if zero:
        lost = [name for name in zero if first.get(name, 0.0) > 0.01]
        never = [name for name in zero if name not in lost]
        if lost:
            yield Notice("error", f"{_listed(lost)}: the IoU fell to 0 in {scored[-1].title}.")
        if never:
            yield Notice("warning", f"{_listed(never)}: the IoU is 0 in {scored[-1].title}.")
    if len(scored) > 1:
        fell = [
            f"{name} ({_percent(first[name])} to {_percent(value)})"
            for name, value in last.items()
            if value > 0 and first.get(name, math.nan) - value > FELL
        ]
        if fell:
            yield Notice("warning", f"The IoU fell since {scored[0].title}: {_listed(fell)}.")
    absent = [name for name, value in last.items() if math.isnan(value)]
    if absent:
        yield Notice("note", f"{_listed(absent)}: neither in the labels nor predicted, so in no mean.")


def _files(facts: RunFacts) -> Iterator[Notice]:
    for role, files in facts.skipped.items():
        yield Notice(
            "warning",
            f"{len(files)} files of {role} could not be read and are left out, such as {next(iter(files))}.",
        )


def _starts(facts: RunFacts) -> Iterator[Notice]:
    starts = facts.starts
    if len(starts) > 1:
        yield Notice("note", f"The run was started {len(starts)} times.")
        versions = [dict(start.get("packages") or {}) for start in starts]
        changed = sorted({name for one in versions for name in one if one.get(name) != versions[0].get(name)})
        if changed:
            yield Notice("warning", f"Versions changed between starts: {_listed(changed)}.")
    if any(str(start.get("git") or "").endswith("-dirty") for start in starts):
        yield Notice("note", "The code had changes that were not committed.")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
