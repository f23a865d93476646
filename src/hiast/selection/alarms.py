"""Alarms: each looks at the history of scores and says in a sentence what is going wrong, or nothing.

A history is a sequence of candidates or looks in the order in which they were measured, the start first. An alarm
decides nothing by itself; ``hiast.selection.guards`` and ``choose`` do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hiast.selection.candidates import Candidate
from hiast.selection.rules import divergence, expected_shares

History = Sequence[Candidate]


@dataclass(frozen=True)
class AlarmLimits:
    """When an alarm goes off.

    Attributes:
        vanished: A class has vanished below this part of its share in the source labels.
        least_share: Classes with less than this share of the source labels cannot vanish.
        teacher_miou: Teacher and student have parted below this mIoU.
        labels_left: Pseudo-labels of a class have dried up below this part of those of the first round.
        surer: Entropy (0..1) has fallen if it fell by more than this.
        less_consistent: View consistency (mIoU, 0..1) has fallen if it fell by more than this.
        divergence: The histogram of predicted classes is far from start and source beyond this KL divergence, in nats.
    """

    vanished: float = 0.01
    least_share: float = 1e-4
    teacher_miou: float = 0.5
    labels_left: float = 0.1
    surer: float = 0.01
    less_consistent: float = 0.02
    divergence: float = 0.5


def classes_vanish(history: History, source: Mapping[str, float], limits: AlarmLimits) -> str | None:
    """Say which classes have all but vanished from the predictions.

    Args:
        history: One look or more.
        source: Class -> share of the labeled source pixels.
        limits: ``vanished`` and ``least_share`` count.
    """
    predicted = history[-1].scores.predicted
    gone = [
        name
        for name, share in source.items()
        if name in predicted and share >= limits.least_share and predicted[name] < limits.vanished * share
    ]
    if not gone:
        return None
    parts = [
        f"{name} ({_share(predicted[name])}, {_share(source[name])} in the source labels)" for name in gone
    ]
    return f"{history[-1].name}: these classes have nearly vanished from the predictions: {', '.join(parts)}."


def teacher_and_student_part(
    history: History, source: Mapping[str, float], limits: AlarmLimits
) -> str | None:
    """Say that teacher and student predict different things. ``teacher_miou`` counts."""
    miou = history[-1].scores.teacher_miou
    if not miou < limits.teacher_miou:
        return None
    return (
        f"{history[-1].name}: teacher and student have parted: the mIoU between their predictions is "
        f"{100 * miou:.1f}, under {100 * limits.teacher_miou:g}."
    )


def coverage_falls(history: History, source: Mapping[str, float], limits: AlarmLimits) -> str | None:
    """Say of which classes the pseudo-labels dry up, against the first look with pseudo-labels."""
    rounds = _with_labels(history)
    if len(rounds) < 2 or rounds[-1] is not history[-1]:
        return None
    first, now = rounds[0], rounds[-1]
    dry = [
        name
        for name, share in first.scores.labels.items()
        if share > 0 and 0 < now.scores.labels.get(name, 0.0) < limits.labels_left * share
    ]
    if not dry:
        return None
    parts = [
        f"{name} ({_share(now.scores.labels[name])} of the pixels, {_share(first.scores.labels[name])} in {first.name})"
        for name in dry
    ]
    return f"{now.name}: pseudo-labels of these classes dry up: {', '.join(parts)}."


def sure_and_wrong(history: History, source: Mapping[str, float], limits: AlarmLimits) -> str | None:
    """Say that the network becomes surer while it contradicts itself more.

    The last look is compared with the earlier look that was the most consistent between views. ``surer`` and
    ``less_consistent`` count.
    """
    known = [look for look in history if not math.isnan(look.scores.consistency + look.scores.entropy)]
    if len(known) < 2 or known[-1] is not history[-1]:
        return None
    now = known[-1]
    best = max(known[:-1], key=lambda look: look.scores.consistency)
    surer = best.scores.entropy - now.scores.entropy
    less_consistent = best.scores.consistency - now.scores.consistency
    if not (surer > limits.surer and less_consistent > limits.less_consistent):
        return None
    return (
        f"{now.name}: the network becomes surer and contradicts itself more: since {best.name} the entropy fell from "
        f"{best.scores.entropy:.3f} to {now.scores.entropy:.3f}, and the mIoU between views of an image from "
        f"{100 * best.scores.consistency:.1f} to {100 * now.scores.consistency:.1f}."
    )


def histogram_far(history: History, source: Mapping[str, float], limits: AlarmLimits) -> str | None:
    """Say that the histogram of predicted classes is far from start and source labels. ``divergence`` counts."""
    start, now = history[0], history[-1]
    if not start.scores.predicted or not now.scores.predicted:
        return None
    moved = divergence(now.scores.predicted, expected_shares(start.scores.predicted, source))
    if not moved > limits.divergence:
        return None
    return (
        f"{now.name}: the histogram of predicted classes has moved by {moved:.2f} nats from {start.name} and source "
        f"labels, more than {limits.divergence:g}."
    )


def no_labels_of_class(history: History, source: Mapping[str, float], limits: AlarmLimits) -> str | None:
    """Say which classes have had no pseudo-label at all, and since when.

    Classes with at least ``least_share`` of the source labels count, and those that had a pseudo-label before.
    """
    rounds = _with_labels(history)
    if not rounds or rounds[-1] is not history[-1]:
        return None
    since: dict[str, str] = {}
    for name in rounds[-1].scores.labels:
        known = source.get(name, 0.0) >= limits.least_share
        empty = [not look.scores.labels.get(name, 0.0) > 0 for look in rounds]
        if empty[-1] and (known or not all(empty)):
            first = max((i + 1 for i, none in enumerate(empty) if not none), default=0)
            since[name] = rounds[first].name
    if not since:
        return None
    parts = [f"{name} since {look}" for name, look in since.items()]
    return f"{history[-1].name}: there is no pseudo-label of these classes: {', '.join(parts)}."


Alarm = Callable[[History, Mapping[str, float], AlarmLimits], str | None]
"""History, shares of the source labels and limits -> a sentence, or None."""

ALARMS: tuple[Alarm, ...] = (
    classes_vanish,
    teacher_and_student_part,
    coverage_falls,
    sure_and_wrong,
    histogram_far,
    no_labels_of_class,
)


def raised(
    history: History,
    source: Mapping[str, float] | None = None,
    limits: AlarmLimits | None = None,
    alarms: Sequence[Alarm] = ALARMS,
) -> tuple[str, ...]:
    """What all alarms say of the last look of a history.

    Args:
        history: Looks and candidates in the order in which they were measured, the start first.
        source: Class -> share of the labeled source pixels; None: as the last look has them. Without any, alarms that
            compare with it stay silent.
        limits: Their limits; None: the default ones.
        alarms: The alarms.

    Returns:
        A sentence per alarm that went off; none for an empty history.
    """
    if not history:
        return ()
    shares = history[-1].scores.source_labels if source is None else source
    said = [alarm(history, shares, limits or AlarmLimits()) for alarm in alarms]
    return tuple(sentence for sentence in said if sentence is not None)


def _with_labels(history: History) -> list[Candidate]:
    return [look for look in history if look.scores.labels]


def _share(share: float) -> str:
    return f"{100 * share:.2g} %"
