"""Guards: small decisions that act while training, before a fall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from hiast.errors import InputError
from hiast.selection.candidates import Candidate
from hiast.selection.choose import Choice, Rule, choose
from hiast.selection.scores import SND_PIXELS, drawn_vectors, soft_neighborhood_density

Score = Callable[[Tensor, int], float]
"""Images of a kept batch and the batch's number -> score of the present student on them; higher is better."""


def batch_density(probabilities: Tensor, number: int, seed: int = 0, pixels: int = SND_PIXELS) -> float:
    """Soft neighborhood density of random pixels of a batch, as the dynamic teacher's score.

    Args:
        probabilities: float [B, C, H, W].
        number: Number of the batch; with the seed it decides the pixels, so that a batch is scored on the same ones
            whenever it is scored.
        seed: Seed of the draws.
        pixels: Pixels to draw from the whole batch.

    Returns:
        The density in nats.
    """
    joined = probabilities.transpose(0, 1).flatten(1)[None, :, None]
    return float(soft_neighborhood_density(drawn_vectors(joined, seed, [number], pixels))[0])


class DynamicTeacher:
    """Says when the teacher may follow the student: when a label-free score of the student has improved.

    Each step's batch is kept with the student's score on it. When ``first`` batches are kept, and at every ``every``
    batches more, the present student is scored on all of them. If the score rose on more than ``share`` of them, or
    if more than ``most`` batches are kept, one EMA step (decay 0.99 in the paper) is due, and the batches are dropped.

    Source: DT-ST, Zhao et al., "Towards Better Stability and Adaptability: Improve Online Self-Training for Model
    Adaptation in Semantic Segmentation", CVPR 2023; its code asks at 9, 12, ... batches and updates at 33, the first
    question behind 30. Its scores are the soft neighborhood density on 100 pixels or an entropy.

    Args:
        first: Batches before the first question.
        every: Batches between two questions.
        most: Batches beyond which the teacher follows at the next question, whatever the score says.
        share: Share of the batches on which the score must have risen.

    Raises:
        InputError: A setting is out of range.

    Examples:
        >>> import torch
        >>> teacher = DynamicTeacher(first=2, every=1)
        >>> images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
        >>> for score in (0.1, 0.2):
        ...     teacher.keep(images, score)
        ...     teacher.due(lambda images, number: 0.3)
        False
        True
    """

    def __init__(self, *, first: int = 9, every: int = 3, most: int = 30, share: float = 0.5) -> None:
        if first < 1 or every < 1 or most < first or not 0 <= share < 1:
            raise InputError(
                f"The dynamic teacher asks at first={first}, then every={every} batches, updates beyond most={most} "
                f"and wants a share={share}: give first and every of at least 1, most of at least first, and a share "
                "from 0 to below 1."
            )
        self.first, self.every, self.most, self.share = first, every, most, share
        self._number, self._ask_at = 0, first
        self._images: list[Tensor] = []
        self._scores: list[float] = []

    @property
    def number(self) -> int:
        """Number of the batch that is kept next, from 0."""
        return self._number

    def keep(self, images: Tensor, score: float) -> None:
        """Keep the batch of this step, before the optimizer's step.

        Args:
            images: uint8 [B, 3, H, W]; kept where they are until the teacher follows, 33 batches at most by default.
            score: The student's score on them, of the batch ``number``.
        """
        self._images.append(images.detach().clone())
        self._scores.append(float(score))
        self._number += 1

    def due(self, score: Score) -> bool:
        """Whether the teacher follows the student now, after the optimizer's step.

        Args:
            score: Scores the present student on a kept batch. It is called only where the rule asks.

        Returns:
            True: do one EMA step.
        """
        kept = len(self._scores)
        # Where gradients are accumulated, several batches are kept between two questions.
        if kept < self._ask_at:
            return False
        self._ask_at = kept + self.every
        start = self._number - kept
        now = [score(images, start + i) for i, images in enumerate(self._images)]
        better = sum(new > old for new, old in zip(now, self._scores, strict=True))
        if better <= self.share * kept and kept <= self.most:
            return False
        self._images.clear()
        self._scores.clear()
        self._ask_at = self.first
        return True

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint that is loaded with ``weights_only``."""
        return {
            "number": self._number,
            "scores": list(self._scores),
            "images": list(self._images),
            "ask_at": self._ask_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned."""
        self._number = int(state["number"])
        self._scores = [float(score) for score in state["scores"]]
        self._images = list(state["images"])
        self._ask_at = int(state["ask_at"]) if self._scores else self.first


def return_to(candidates: Sequence[Candidate], latest: str, rule: Rule | None = None) -> Choice | None:
    """Decide whether training continues from an earlier candidate: when the rule rejects the latest one.

    It goes back to rejected candidates only, not to those that merely rank lower: a round in progress is often worse
    before it is better.

    Args:
        candidates: All candidates so far, with all scores that the rule looks at.
        latest: Name of the candidate that training would continue from.
        rule: The rule; None: that of ``choose``.

    Returns:
        The choice to return to, with its reason; None: continue from the latest.

    Raises:
        ValueError: There is no such candidate.
    """
    choice = choose(candidates, rule)
    rows = {row.candidate.name: row for row in choice.table}
    if latest not in rows:
        raise ValueError(f"There is no candidate '{latest}' among {', '.join(rows)}.")
    return None if rows[latest].rank is not None or choice.selected.name == latest else choice
