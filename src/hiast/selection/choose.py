"""Choosing one checkpoint among candidates, and saying why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hiast.selection.candidates import Candidate
from hiast.selection.rules import MeanRankRule, Verdict
from hiast.selection.unadapted import better_unadapted, comparable_with_statistics


class Rule(Protocol):
    """A pure function on a table of scores.

    Attributes:
        criterion: What its score is, to stand behind "it has the highest ...".
        tie: Scores that differ by no more count as equal.
    """

    @property
    def criterion(self) -> str:
        """What the score is, in words."""

    @property
    def tie(self) -> float:
        """Scores that differ by no more count as equal."""

    def __call__(self, candidates: Sequence[Candidate]) -> Sequence[Verdict]:
        """One verdict per candidate; the first candidate is the least adapted one."""


@dataclass(frozen=True)
class Row:
    """A candidate in the table of a choice.

    Attributes:
        candidate: The candidate.
        score: What the rule ranks by; NaN: not known.
        rank: Place among the candidates that may be chosen, from 1; None for one that is rejected.
        vetoes: Why it is rejected, a sentence each.
    """

    candidate: Candidate
    score: float
    rank: int | None
    vetoes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        selected: The chosen candidate.
        reason: A sentence that says why.
        table: All candidates, the least adapted first.
    """

    selected: Candidate
    reason: str
    table: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        rows = [
            {
                "name": row.candidate.name,
                "score": None if math.isnan(row.score) else row.score,
                "rank": row.rank,
                "vetoes": list(row.vetoes),
            }
            for row in self.table
        ]
        return {"selected": self.selected.to_dict(), "reason": self.reason, "table": rows}


def choose(candidates: Sequence[Candidate], rule: Rule | None = None) -> Choice:
    """Choose one candidate without any target label.

    The rule scores every candidate and may reject it. Of those that it does not reject, the one with the highest score
    is chosen; where others come as close as ``rule.tie``, the least adapted of them is. When all are rejected, the
    least adapted candidate is chosen, so that a run never ends with a network that a check rejected.

    Two comparisons follow. Where a candidate would be chosen that the run has not trained on the target,
    ``better_unadapted`` looks for a better one of that kind. Where this is a network with batch-norm statistics of the
    target, the rule is applied once more, to it as the reference and to ``comparable_with_statistics``.

    Args:
        candidates: All of them in any order, with all scores that the rule looks at. Fewer steps mean less adapted;
            with equal steps the one that stands first is.
        rule: The rule; None: ``MeanRankRule()``.

    Returns:
        The choice; the same for the same candidates.

    Raises:
        ValueError: There is no candidate, or two have the same name.

    Examples:
        >>> from hiast.selection import CandidateScores
        >>> start = Candidate("source_only", "a.ckpt", 0, CandidateScores(ensemble_miou=0.6, infomax=0.5))
        >>> later = Candidate("warmup", "b.ckpt", 9, CandidateScores(ensemble_miou=0.7, infomax=0.5))
        >>> choose([start, later]).selected.name
        'warmup'
    """
    if not candidates:
        raise ValueError("There is no candidate to choose from.")
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise ValueError(f"The names of candidates must differ: {', '.join(names)}.")
    ordered = sorted(candidates, key=lambda candidate: candidate.step)
    rule = MeanRankRule().measured(ordered[0].scores) if rule is None else rule
    table = _table(ordered, rule(ordered))
    allowed = [row for row in table if row.rank is not None]
    if not allowed:
        return Choice(ordered[0], _nothing_allowed(table), table)
    selected, best = _winner(allowed, rule)
    choice = Choice(selected.candidate, _reason(rule, selected, best, table), table)
    better = better_unadapted(ordered, choice.selected)
    if better is not None:
        reason = _unadapted_reason(better, choice.selected, choice.reason)
        choice = Choice(better, reason, _with_first(table, better))
    return _beside_statistics(choice, ordered, rule)


def choice_cells(choice: Choice) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table for people; shares in percent, a dash where nothing was measured.

    Args:
        choice: The choice.

    Returns:
        Header, and one row per candidate in the order of the choice's table.
    """
    header = [
        "candidate",
        "steps",
        "ensemble mIoU",
        "InfoMax",
        "entropy",
        "SND",
        "views",
        "source mIoU",
        "in target colors",
        "verdict",
    ]
    rows = []
    for row in choice.table:
        scores = row.candidate.scores
        chosen = row.candidate.name == choice.selected.name
        rows.append(
            [
                row.candidate.name,
                f"{row.candidate.step:,}",
                _percent(scores.ensemble_miou),
                _percent(scores.infomax),
                _percent(scores.entropy),
                "-" if math.isnan(scores.snd) else f"{scores.snd:.2f}",
                _percent(scores.consistency),
                _percent(scores.source_miou),
                _percent(scores.colored_miou),
                "; ".join((["selected"] if chosen else []) + list(row.vetoes)),
            ]
        )
    return header, rows


def _table(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> tuple[Row, ...]:
    pairs = list(zip(candidates, verdicts, strict=True))
    allowed = [i for i, (candidate, verdict) in enumerate(pairs) if not _rejections(candidate, verdict)]
    # A stable sort: of equal scores the less adapted candidate comes first.
    order = sorted(allowed, key=lambda i: -pairs[i][1].score)
    ranks = {i: place for place, i in enumerate(order, start=1)}
    return tuple(
        Row(candidate, verdict.score, ranks.get(i), _rejections(candidate, verdict))
        for i, (candidate, verdict) in enumerate(pairs)
    )


def _winner(allowed: Sequence[Row], rule: Rule) -> tuple[Row, Row]:
    """Of the rows that are not rejected the one that is chosen, and the one with the highest score."""
    best = min(allowed, key=lambda row: row.rank or 0)
    return next(row for row in allowed if best.score - row.score <= rule.tie), best


def _beside_statistics(choice: Choice, ordered: Sequence[Candidate], rule: Rule) -> Choice:
    """The choice, or a trained candidate that the rule puts before the chosen statistics of the target."""
    others = comparable_with_statistics(ordered, choice.selected)
    reference = choice.selected
    table = _table([reference, *others], rule([reference, *others])) if others else ()
    allowed = [row for row in table if row.rank is not None]
    if not allowed:
        return choice
    selected, best = _winner(allowed, rule)
    if selected.candidate is reference:
        return choice
    reason = (
        f"{_reason(rule, selected, best, table)} Trained candidates were compared with {reference.name} here, not with "
        f"{ordered[0].name}. Without this comparison, {choice.reason}"
    )
    return Choice(selected.candidate, reason, _with_first(choice.table, selected.candidate))


def _rejections(candidate: Candidate, verdict: Verdict) -> tuple[str, ...]:
    """The rule's vetoes, and those that hold for every rule."""
    own = [] if candidate.checkpoint else ["No checkpoint was kept."]
    if math.isnan(verdict.score) and not verdict.vetoes:
        own.append("Its score is not known.")
    return (*own, *verdict.vetoes)


def _reason(rule: Rule, selected: Row, best: Row, table: Sequence[Row]) -> str:
    if len(table) == 1:
        return f"{selected.candidate.name} is selected: it is the only candidate."
    name, rejected = selected.candidate.name, [row.candidate.name for row in table if row.rank is None]
    passed = len(table) - len(rejected)
    checks = f"; rejected: {', '.join(rejected)}" if rejected else ""
    if passed == 1:
        return f"{name} is selected: it is the only one of {len(table)} candidates that passed the checks{checks}."
    among = f"of {passed} candidates that passed the checks" if rejected else f"of {passed} candidates"
    if selected is best:
        return (
            f"{name} is selected: {among} it has the highest {rule.criterion} ({selected.score:.4f}){checks}."
        )
    return (
        f"{name} is selected: {among} {best.candidate.name} has the highest {rule.criterion} ({best.score:.4f}), but "
        f"{name} ({selected.score:.4f}) is less adapted and no more than {rule.tie:g} behind{checks}."
    )


def _unadapted_reason(better: Candidate, other: Candidate, reason: str) -> str:
    now, before = better.scores, other.scores
    if better.source_trained and other.source_trained:
        why = (
            f"it and {other.name} were trained on the source alone, and its mIoU on held-out source images is higher "
            f"({_percent(now.source_miou)}, before {_percent(before.source_miou)})"
        )
    else:
        why = (
            f"its batch-norm statistics fit the target better than those of {other.name} (InfoMax {now.infomax:.3f}, "
            f"before {before.infomax:.3f}; consistency of views {_percent(now.consistency)}, before "
            f"{_percent(before.consistency)})"
        )
    return f"{better.name} is selected: {why}. Without this comparison, {reason}"


def _with_first(table: Sequence[Row], first: Candidate) -> tuple[Row, ...]:
    """The table with one candidate moved to the first place, and no veto against it."""
    old = next(row.rank for row in table if row.candidate is first)
    end = len(table) if old is None else old
    return tuple(
        replace(row, rank=1, vetoes=())
        if row.candidate is first
        else replace(row, rank=row.rank + 1 if row.rank is not None and row.rank < end else row.rank)
        for row in table
    )


def _nothing_allowed(table: Sequence[Row]) -> str:
    first = table[0]
    return (
        f"{first.candidate.name} is selected: the checks rejected every candidate, and it is the least adapted one "
        f"({' '.join(first.vetoes)})."
    )


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"
