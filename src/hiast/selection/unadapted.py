"""Networks that were not trained on the target: which is best, and what is compared with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hiast.selection.candidates import TARGET_STATISTICS, Candidate
from hiast.selection.rules import Limits, classes_vanished, histogram_moved, infomax_fell, rejections

CRITERIA = ("infomax", "consistency")
"""The scores that compare batch-norm statistics; of each, higher is better."""


def better_unadapted(ordered: Sequence[Candidate], selected: Candidate) -> Candidate | None:
    """The candidate that is better than ``selected`` among those that the run has not trained on the target.

    Two questions decide, each by the scores that can answer it:

    1. Which weights? The start and what was trained further on the source alone (``Candidate.source_trained``) differ
       by supervised training. The mIoU on held-out source images compares them, as in any supervised training.
    2. Which batch-norm statistics? With statistics of the target (candidates ``target_statistics...``) a network is
       always worse on the source, and it differs most from the ensemble, so neither score says whether the statistics
       fit the target. InfoMax and consistency of views do: the candidate with the best mean rank in both is better.

    Neither takes a candidate whose InfoMax fell, whose classes vanished, whose histogram moved or that is far behind in
    colors of the target as ``MeanRankRule`` forbids, compared with the start in the first question and with the answer
    to it in the second.

    Args:
        ordered: All candidates, the least adapted first.
        selected: What a rule selected among them.

    Returns:
        The better candidate; None if ``selected`` was adapted by training, or nothing is better.

    Examples:
        >>> from hiast.selection import CandidateScores
        >>> start = Candidate("source_only", "a.ckpt", 9, CandidateScores(infomax=0.11, consistency=0.5))
        >>> target = Candidate("target_statistics", "b.ckpt", 9, CandidateScores(infomax=0.2, consistency=0.7))
        >>> better_unadapted([start, target], start).name
        'target_statistics'
    """
    start = ordered[0]
    weights = [start] + [
        each for each in ordered[1:] if start.source_trained and each.source_trained and each.checkpoint
    ]
    statistics = [
        each
        for each in ordered[1:]
        if each.step == start.step and each.name.startswith(TARGET_STATISTICS) and each.checkpoint
    ]
    if selected not in weights and selected not in statistics:
        return None
    source = _best_on_source(_passing(weights, start))
    incumbent = selected if selected in statistics else source
    best = incumbent if _unknown(source) else _best_statistics(source, statistics, incumbent)
    return None if best is selected else best


def comparable_with_statistics(ordered: Sequence[Candidate], selected: Candidate) -> list[Candidate]:
    """The trained candidates that stand beside a network with batch-norm statistics of the target.

    With statistics of the target a network is worse on the source. Where such a network was chosen, this loss was found
    not to matter, so a trained candidate must not be rejected for the same loss: its mIoU on held-out source images is
    compared with that of ``selected``, not with that of the start. The other checks against the start remain.

    Args:
        ordered: All candidates, the least adapted first.
        selected: The chosen one.

    Returns:
        The candidates trained on the target whose InfoMax, classes and histogram pass the checks beside the start;
        empty if ``selected`` is not the start with statistics of the target.

    Examples:
        >>> from hiast.selection import CandidateScores
        >>> start = Candidate("source_only", "a.ckpt", 9, CandidateScores(0.2, 0.1, consistency=0.5, source_miou=0.8))
        >>> target = Candidate(
        ...     "target_statistics", "b.ckpt", 9, CandidateScores(0.2, 0.2, consistency=0.7, source_miou=0.6)
        ... )
        >>> warmup = Candidate("warmup", "c.ckpt", 19, CandidateScores(0.2, 0.3, consistency=0.8, source_miou=0.65))
        >>> [each.name for each in comparable_with_statistics([start, target, warmup], target)]
        ['warmup']
    """
    start = ordered[0]
    if selected.step != start.step or not selected.name.startswith(TARGET_STATISTICS):
        return []
    trained = [
        each for each in ordered if each.step > start.step and not each.source_trained and each.checkpoint
    ]
    return [each for each in _passing(trained, start) if each is not start]


def _passing(candidates: Sequence[Candidate], reference: Candidate) -> list[Candidate]:
    """``reference`` and the candidates whose scores are known, but for what is rejected among them."""
    group = [reference, *(each for each in candidates if each is not reference and not _unknown(each))]
    found = rejections(group, Limits(), (infomax_fell, classes_vanished, histogram_moved))
    return [each for each, sentences in zip(group, found, strict=True) if not sentences]


def _best_on_source(weights: Sequence[Candidate]) -> Candidate:
    """The first with the highest mIoU on held-out source images; without such images the first."""
    best = weights[0]
    for each in weights[1:]:
        if each.scores.source_miou > best.scores.source_miou:
            best = each
    return best


def _best_statistics(source: Candidate, statistics: Sequence[Candidate], incumbent: Candidate) -> Candidate:
    """The candidate with the best mean rank in ``CRITERIA``; ``incumbent`` unless another is really better."""
    fits = _passing(statistics, source)
    best = max(fits, key=lambda each: _ahead(each, fits))
    return best if _ahead(best, fits) > _ahead(incumbent, [*fits, incumbent]) else incumbent


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
