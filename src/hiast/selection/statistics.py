"""Which batch-norm statistics an untrained network gets, where no trained candidate is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hiast.selection.candidates import TARGET_STATISTICS, Candidate
from hiast.selection.rules import Limits, classes_vanished, histogram_moved, infomax_fell

CRITERIA = ("infomax", "consistency")
"""The scores that compare networks of equal weights; of each, higher is better."""


def better_statistics(ordered: Sequence[Candidate], selected: Candidate) -> Candidate | None:
    """The candidate with the weights of the start whose batch-norm statistics fit the target better.

    The start and the candidates ``target_statistics...`` have the same weights. With statistics of the target a network
    is always worse on the source, and it differs most from the ensemble, so neither score says whether the
    statistics fit the target. InfoMax and consistency of views do: the candidate with the best mean rank in both is
    better, unless InfoMax fell, classes vanished or the histogram moved as ``MeanRankRule`` forbids.

    Args:
        ordered: All candidates, the least adapted first.
        selected: What a rule selected among them.

    Returns:
        The better candidate; None if ``selected`` was trained or no candidate of the same weights is better.

    Examples:
        >>> from hiast.selection import CandidateScores
        >>> start = Candidate("source_only", "a.ckpt", 9, CandidateScores(infomax=0.11, consistency=0.5))
        >>> target = Candidate("target_statistics", "b.ckpt", 9, CandidateScores(infomax=0.2, consistency=0.7))
        >>> better_statistics([start, target], start).name
        'target_statistics'
    """
    start, limits = ordered[0], Limits()
    same = [start] + [
        each
        for each in ordered[1:]
        if each.step == start.step and each.name.startswith(TARGET_STATISTICS) and each.checkpoint
    ]
    if selected not in same or _unknown(start):
        return None
    fits = [
        each
        for each in same
        if each is start
        or (
            not _unknown(each)
            and not any(
                veto(each.scores, start.scores, limits)
                for veto in (infomax_fell, classes_vanished, histogram_moved)
            )
        )
    ]
    best = max(fits, key=lambda each: _ahead(each, fits))
    return None if best is selected or _ahead(best, fits) <= _ahead(selected, [*fits, selected]) else best


def _unknown(candidate: Candidate) -> bool:
    return any(math.isnan(getattr(candidate.scores, name)) for name in CRITERIA)


def _ahead(candidate: Candidate, others: Sequence[Candidate]) -> float:
    """How often the candidate is ahead of another in a score; equal scores count one half."""
    total = 0.0
    for name in CRITERIA:
        own = getattr(candidate.scores, name)
        values = [getattr(other.scores, name) for other in others if other is not candidate]
        total += sum(1.0 if own > value else 0.5 * (own == value) for value in values)
    return total
