"""The rules that rank candidates: by several label-free scores at once or by one, with vetoes against collapse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hiast.selection.candidates import Candidate, CandidateScores

FLOOR = 1e-4
"""Shares of pixels are not counted as smaller than this where they are divided by."""


@dataclass(frozen=True)
class Verdict:
    """What a rule says of a candidate.

    Attributes:
        score: Higher is better; NaN: not known.
        vetoes: Why it must not be chosen, a sentence each.
    """

    score: float
    vetoes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Limits of the vetoes, each against the least adapted candidate, the start.

    Attributes:
        infomax_drop: How far the normalized InfoMax (0..1) may fall.
        source_drop: How far the mIoU on held-out source images (0..1) may fall where it does not rise in colors of the
            target; and how far that in these colors may lie behind the best one.
        vanished: A class has vanished below this part of the share that the start predicts of it.
        least_share: Classes of which the start predicts less than this share of the pixels cannot vanish.
        divergence: How far the histogram of predicted classes may move away from ``expected_shares``, as KL divergence
            in nats.
    """

    infomax_drop: float = 0.02
    source_drop: float = 0.05
    vanished: float = 0.01
    least_share: float = 0.001
    divergence: float = 0.5


def infomax_fell(now: CandidateScores, start: CandidateScores, limits: Limits) -> str | None:
    """Veto: the predictions became less certain, less diverse, or both."""
    if math.isnan(start.infomax):
        return None
    if math.isnan(now.infomax):
        return "Its InfoMax is not known."
    if start.infomax - now.infomax <= limits.infomax_drop:
        return None
    return (
        f"InfoMax fell from {start.infomax:.3f} to {now.infomax:.3f}, by more than {limits.infomax_drop:g}: "
        "the predictions are less diverse or less certain than at the start."
    )


def source_fell(now: CandidateScores, start: CandidateScores, limits: Limits) -> str | None:
    """Veto: the network forgot the source and has gained nothing for it.

    With batch-norm statistics of the target every network is worse on the source as it is. Therefore a loss counts only
    if the mIoU in colors of the target did not rise, where that is known.
    """
    if math.isnan(start.source_miou):
        return None
    if math.isnan(now.source_miou):
        return "Its mIoU on held-out source images is not known."
    if start.source_miou - now.source_miou <= limits.source_drop or now.colored_miou > start.colored_miou:
        return None
    fell = (
        f"The mIoU on held-out source images fell from {100 * start.source_miou:.1f} to {100 * now.source_miou:.1f}, "
        f"by more than {100 * limits.source_drop:g} points"
    )
    if math.isnan(start.colored_miou):
        return f"{fell}."
    return (
        f"{fell}, and did not rise in colors of the target ({100 * start.colored_miou:.1f}, now "
        f"{100 * now.colored_miou:.1f})."
    )


def classes_vanished(now: CandidateScores, start: CandidateScores, limits: Limits) -> str | None:
    """Veto: classes that the start predicts are hardly predicted any more."""
    if not start.predicted:
        return None
    if not now.predicted:
        return "Its predicted classes are not known."
    gone = [
        name
        for name, share in start.predicted.items()
        if share >= limits.least_share and not now.predicted.get(name, 0.0) >= limits.vanished * share
    ]
    if not gone:
        return None
    subject = f"Class {gone[0]} has" if len(gone) == 1 else f"Classes {', '.join(gone)} have"
    return f"{subject} vanished: under {100 * limits.vanished:g} % of what the start predicts is left."


def histogram_moved(now: CandidateScores, start: CandidateScores, limits: Limits) -> str | None:
    """Veto: the histogram of predicted classes is far from start and source labels."""
    if not start.predicted or not now.predicted:
        return None
    moved = divergence(now.predicted, expected_shares(start.predicted, now.source_labels))
    if moved <= limits.divergence:
        return None
    return (
        f"The histogram of predicted classes moved by {moved:.2f} nats from start and source labels, more than "
        f"{limits.divergence:g}."
    )


Veto = Callable[[CandidateScores, CandidateScores, Limits], str | None]
"""Scores of a candidate and of the start, and limits -> why the candidate is rejected, or None."""

VETOES: tuple[Veto, ...] = (infomax_fell, source_fell, classes_vanished, histogram_moved)

CRITERIA: Mapping[str, str] = {
    "ensemble_miou": "ensemble agreement",
    "infomax": "InfoMax",
    "consistency": "consistency of views",
    "source_miou": "mIoU on held-out source images",
}
"""The scores that ``MeanRankRule`` ranks by, and their names in sentences; of each, higher is better."""


@dataclass(frozen=True)
class MeanRankRule:
    """Rank by the mean of the ranks in several label-free scores; reject what a veto rejects.

    Each score orders the candidates that are not rejected. The rank of a candidate is the share of the others that it
    is ahead of, 0..1; equal scores share their ranks. Its score is the mean of its ranks. Each label-free score is
    fooled by something: the ensemble by a wrong majority, InfoMax by wrong classes in the right amounts, consistency by
    uniform predictions, the source by a network that has not adapted. Few networks fool all of them. No weight is
    fitted. See ``rejections`` for what is rejected.

    Attributes:
        limits: Limits of the vetoes.
        vetoes: The vetoes.
        criteria: Names of scores of ``CandidateScores``. Those that the start lacks are left out.
        tie: Candidates whose score (0..1) differs by no more count as equal.

    Examples:
        >>> from hiast.selection import Candidate, CandidateScores
        >>> start = CandidateScores(ensemble_miou=0.7, infomax=0.5, consistency=0.7, source_miou=0.8)
        >>> later = CandidateScores(ensemble_miou=0.8, infomax=0.6, consistency=0.8, source_miou=0.79)
        >>> verdicts = MeanRankRule()([Candidate("start", "a.ckpt", 0, start), Candidate("later", "b.ckpt", 9, later)])
        >>> [verdict.score for verdict in verdicts]
        [0.25, 0.75]
    """

    limits: Limits = field(default_factory=Limits)
    vetoes: tuple[Veto, ...] = VETOES
    criteria: tuple[str, ...] = tuple(CRITERIA)
    tie: float = 1e-9

    @property
    def criterion(self) -> str:
        """What the score is, in words."""
        *names, last = (CRITERIA.get(name, name) for name in self.criteria)
        return f"mean rank in {', '.join(names)} and {last}" if names else last

    def measured(self, start: CandidateScores) -> MeanRankRule:
        """The rule without the scores that the start lacks, of which a sentence should not speak."""
        known = tuple(name for name in self.criteria if not math.isnan(getattr(start, name)))
        return replace(self, criteria=known or self.criteria)

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate; the first is the start."""
        start = candidates[0].scores
        names = [name for name in self.criteria if not math.isnan(getattr(start, name))]
        vetoes = rejections(candidates, self.limits, self.vetoes)
        allowed = [each.scores for each, found in zip(candidates, vetoes, strict=True) if not found]
        return [
            Verdict(_mean_rank(each.scores, allowed, names), found)
            for each, found in zip(candidates, vetoes, strict=True)
        ]


def _mean_rank(scores: CandidateScores, allowed: Sequence[CandidateScores], names: Sequence[str]) -> float:
    """Mean over scores of the share of the others in ``allowed`` that ``scores`` is ahead of; NaN: one is not known."""
    if not names:
        return math.nan
    ranks = []
    for name in names:
        own = getattr(scores, name)
        if math.isnan(own):
            return math.nan
        others = [getattr(other, name) for other in allowed if other is not scores]
        ahead = sum(1.0 if own > value or math.isnan(value) else 0.5 * (own == value) for value in others)
        ranks.append(ahead / len(others) if others else 1.0)
    return sum(ranks) / len(ranks)


def rejections(
    candidates: Sequence[Candidate], limits: Limits, vetoes: Sequence[Veto]
) -> list[tuple[str, ...]]:
    """Why each candidate is rejected; empty: it may be chosen.

    No veto rejects the start, the least adapted candidate. What is left must not lie far behind in the colors of the
    target, the start included, see ``behind_in_colors``.

    Args:
        candidates: The start first.
        limits: The limits.
        vetoes: The vetoes beside the start.
    """
    start = candidates[0].scores
    found = [
        () if i == 0 else _vetoed(each.scores, start, limits, vetoes) for i, each in enumerate(candidates)
    ]
    if math.isnan(start.colored_miou):
        return found
    passing = [
        each for each, sentences in zip(candidates, found, strict=True) if each.checkpoint and not sentences
    ]
    known = [each for each in passing if not math.isnan(each.scores.colored_miou)]
    if not known:
        return found
    best = max(known, key=lambda each: each.scores.colored_miou)
    return [
        (*sentences, *behind_in_colors(each.scores, best, limits))
        for each, sentences in zip(candidates, found, strict=True)
    ]


def behind_in_colors(now: CandidateScores, best: Candidate, limits: Limits) -> tuple[str, ...]:
    """Veto: another candidate is much better on held-out source images in the colors of the target.

    These images stand in for labeled target images: a network that is sure and wrong on the target is wrong on them
    too, and no score without labels sees that. Small differences say little and reject nothing.

    Args:
        now: Scores of the candidate that is asked about.
        best: The best one in these colors among those with a checkpoint that no other veto rejects.
        limits: ``source_drop`` is the limit.

    Returns:
        A sentence, or nothing.
    """
    own, most = now.colored_miou, best.scores.colored_miou
    if math.isnan(own):
        return ("Its mIoU on source images in colors of the target is not known.",)
    if most - own <= limits.source_drop:
        return ()
    return (
        f"The mIoU on source images in colors of the target is {100 * own:.1f}, more than {100 * limits.source_drop:g} "
        f"points below the {100 * most:.1f} of {best.name}.",
    )


def _vetoed(
    now: CandidateScores, start: CandidateScores, limits: Limits, vetoes: Sequence[Veto]
) -> tuple[str, ...]:
    return tuple(sentence for veto in vetoes if (sentence := veto(now, start, limits)) is not None)


@dataclass(frozen=True)
class EnsembleRule:
    """Rank by agreement with the ensemble of all candidates (EnsV); reject what a veto rejects.

    See ``rejections`` for what is rejected. A score that was measured for the start must be known of every other
    candidate too: a network whose predictions are not finite has none.

    Source: EnsV is the one of nine criteria that never picked the worst candidate (Hu et al., NeurIPS 2024 D&B); that
    InfoMax and source validation serve as vetoes is our own combination.

    Attributes:
        limits: Limits of the vetoes.
        vetoes: The vetoes.
        tie: Candidates whose agreement (mIoU, 0..1) differs by no more count as equal.
        criterion: What the score is, in words.
    """

    limits: Limits = field(default_factory=Limits)
    vetoes: tuple[Veto, ...] = VETOES
    tie: float = 0.002
    criterion: str = "mIoU with the ensemble of all candidates"

    def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate; the first is the start."""
        found = rejections(candidates, self.limits, self.vetoes)
        return [
            Verdict(each.scores.ensemble_miou, sentences)
            for each, sentences in zip(candidates, found, strict=True)
        ]


def expected_shares(start: Mapping[str, float], source: Mapping[str, float]) -> dict[str, float]:
    """Histogram of predicted classes that raises no suspicion: the larger share of start and source labels, normalized.

    Adaptation brings back classes that the start hardly predicts, so the start alone would be a reference that better
    networks are far from.

    Args:
        start: Class -> share of the target pixels that the start predicts so.
        source: Class -> share of the labeled source pixels; empty: not known, and the start alone counts.

    Returns:
        Class of ``start`` -> share; they sum up to 1 as those of ``start`` do.

    Examples:
        >>> found = expected_shares({"soil": 0.99, "crop": 0.01}, {"soil": 0.9, "crop": 0.1})
        >>> {name: round(share, 3) for name, share in found.items()}
        {'soil': 0.908, 'crop': 0.092}
    """
    larger = {name: max(share, source.get(name, 0.0)) for name, share in start.items()}
    scale = sum(start.values()) / sum(larger.values()) if source and any(larger.values()) else 1.0
    return {name: scale * share for name, share in larger.items()}


def divergence(now: Mapping[str, float], start: Mapping[str, float]) -> float:
    """KL divergence ``sum_k now_k log(now_k / start_k)`` of two class histograms, in nats.

    Shares of ``start`` below 0.0001 count as 0.0001, so that a class that the start never predicts costs a finite
    amount.

    Args:
        now: Class -> share, the histogram that is asked about.
        start: Class -> share, the one to compare with.

    Returns:
        At least 0, but for what the floor of ``start`` takes away; NaN if a share is.

    Examples:
        >>> divergence({"road": 0.5, "sky": 0.5}, {"road": 0.5, "sky": 0.5})
        0.0
        >>> round(divergence({"road": 1.0, "sky": 0.0}, {"road": 0.5, "sky": 0.5}), 4)
        0.6931
    """
    total = 0.0
    for name, share in now.items():
        if math.isnan(share):
            return math.nan
        if share > 0:
            total += share * math.log(share / max(start.get(name, 0.0), FLOOR))
    return total
