"""Trust by thresholds of each class that move over the steps.

The state is in buffers, so that a state dict resumes exactly. Where a run has several processes, all of them move
the same thresholds by the pixels of all, and must call ``forward`` together.
"""

from __future__ import annotations

import math
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.online.checks import check_choice, check_num_classes, check_predictions, check_shares
from hiast.online.confidences import CODES, at_least, code_values, count_confidences, quantile_with
from hiast.online.processes import gather_over_processes, process_rank, sum_over_processes
from hiast.online.trust import Per, Trusted, label_where
from hiast.upsampling import PortableState, to_double


class MovingThresholds(PortableState):
    """What the kinds of moving thresholds share: kept pixels weigh 1, the others have no label.

    Args:
        num_classes: C, 1 to 255.

    Raises:
        InputError: ``num_classes`` is out of range.
    """

    rounds: ClassVar[bool] = False
    """Confidences are rounded to float16, as those of the past were, before they are compared."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.num_classes = num_classes

    def advance(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None) -> Tensor:
        """Move the state by a batch; the thresholds float64 [B or 1,C] that select its labels."""
        raise NotImplementedError

    def current(self) -> Tensor:
        """Thresholds as they are now, float64 [C]."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None = None) -> Trusted:
        """Move the thresholds by a batch, then select its labels, see ``hiast.online.trust.Trust``.

        Raises:
            InputError: Shapes, types or (on the CPU) values do not fit.
        """
        check_predictions(confidence, prediction, valid, self.num_classes)
        return self._select(self.advance(confidence, prediction, valid), confidence, prediction, valid)

    @torch.no_grad()
    def select(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None = None) -> Trusted:
        """Select labels by the thresholds as they are; nothing moves.

        Raises:
            InputError: Shapes, types or (on the CPU) values do not fit.
        """
        check_predictions(confidence, prediction, valid, self.num_classes)
        return self._select(self.current().unsqueeze(0), confidence, prediction, valid)

    def _select(
        self, thresholds: Tensor, confidence: Tensor, prediction: Tensor, valid: Tensor | None
    ) -> Trusted:
        # One table of all images' thresholds; a pixel's row in it is its image's.
        rows = torch.arange(len(confidence), device=prediction.device).clamp(max=len(thresholds) - 1)
        cell = prediction + (rows * self.num_classes).view(-1, 1, 1)
        compared = confidence.half() if self.rounds else confidence
        kept = at_least(compared, cell, thresholds.flatten())
        if valid is not None:
            kept = kept & valid
        return Trusted(label_where(kept, prediction), kept.float())


class InstanceAdaptive(MovingThresholds):
    """Instance adaptive selection (IAS) whose thresholds move over the steps of a run.

    The rule of a labeling round (IAST, Mei et al. 2020; HIAST), for each group of images and each class k that is
    predicted in it::

        x[k] = quantile({t[k]} + {float16 confidences of the pixels predicted k}, 1 - alpha * t[k]**gamma)
        t[k] = beta * t[k] + (1 - beta) * x[k]

    t[k] >= 1 becomes 0.999; classes that are absent keep their threshold. The quantile is linear and in float64, x and
    its product with 1 - beta are rounded to float32. The moved thresholds select the labels of the same group.

    Args:
        num_classes: C, 1 to 255.
        alpha: Share of pixels that a class of threshold 1 may keep, above 0, at most 1.
        beta: Weight of the past, 0 to 1.
        gamma: How much less a class with a low threshold may keep, 0 or more.
        start: Threshold of every class at the beginning, 0 to 1.
        cap: Confidence from which on a pixel is kept whatever the threshold of its class, 0 to 1; 1 has no effect
            but on pixels of confidence 1.
        per: The group: ``"batch"``, the images of all processes at a step, or ``"image"``, one image after the
            other, those of rank zero first.

    Attributes:
        thresholds: float64 [C], a buffer.

    Raises:
        InputError: A setting is out of range.
    """

    thresholds: Tensor

    def __init__(
        self,
        num_classes: int,
        alpha: float = 0.5,
        beta: float = 0.9,
        gamma: float = 8.0,
        start: float = 0.9,
        cap: float = 1.0,
        per: Per = "batch",
    ) -> None:
        super().__init__(num_classes)
        check_shares("instance adaptive trust", alpha=alpha, beta=beta, start=start, cap=cap)
        check_choice("instance adaptive trust", "per", per, get_args(Per))
        if alpha == 0 or not (math.isfinite(gamma) and gamma >= 0):
            raise InputError(
                f"instance adaptive trust: alpha is {alpha} and gamma {gamma}; give an alpha above 0 and a gamma of "
                "0 or more."
            )
        self.alpha, self.beta, self.gamma, self.per = alpha, beta, gamma, per
        self.start, self.cap = start, cap
        self.register_buffer("thresholds", torch.full((num_classes,), start, dtype=torch.float64))

    def current(self) -> Tensor:
        """Thresholds as they are now, float64 [C]."""
        return self.thresholds.clamp(max=self.cap)

    def advance(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None) -> Tensor:
        """Move the thresholds by a batch; those of each image or of the batch, float64 [B or 1,C]."""
        counts = count_confidences(confidence, prediction, self.num_classes, valid)
        if self.per == "batch":
            groups = sum_over_processes(counts.sum(0, keepdim=True))
            first = 0
        else:
            groups = gather_over_processes(counts).flatten(0, 1)
            first = process_rank() * len(counts)
        moved, thresholds = [], self.thresholds
        for group in groups:
            thresholds = self._moved(thresholds, group)
            moved.append(thresholds)
        self.thresholds.copy_(thresholds)
        used = torch.stack(moved[first : first + len(counts)] if self.per == "image" else moved)
        return used.clamp(max=self.cap)

    def _moved(self, thresholds: Tensor, counts: Tensor) -> Tensor:
        level = 1 - self.alpha * thresholds**self.gamma
        local = quantile_with(counts, level, thresholds).float()
        step = to_double(local * float(np.float32(1 - self.beta)))
        moved = thresholds * self.beta + step
        moved = torch.where(moved < 1, moved, 0.999)
        return torch.where(counts.sum(1) > 0, moved, thresholds)


class ClassBalanced(MovingThresholds):
    """The most confident share of each class over the recent past, as CBST has it over the whole set.

    Counts of float16 confidences fade by ``decay`` at every step before the batch is added. The threshold of a class
    is the highest confidence that at least ``proportion`` of its faded pixels reach; a class that was never predicted
    has the threshold 1. Confidences are compared in float16 too, so that a class keeps its share also where all of them
    are 1 in float16 and none is in float32. Source: Zou et al. 2018, made a moving one here.

    Args:
        num_classes: C, 1 to 255.
        proportion: Share of each class to keep, above 0, at most 1. Pixels that tie with the threshold are kept.
        decay: Share of the past that a step keeps, 0 to below 1; 1 / (1 - decay) steps are remembered.

    Attributes:
        counts: float64 [C,15361], a buffer: faded pixels of each class and float16 confidence.

    Raises:
        InputError: A setting is out of range.
    """

    counts: Tensor
    rounds: ClassVar[bool] = True

    def __init__(self, num_classes: int, proportion: float = 0.5, decay: float = 0.99) -> None:
        super().__init__(num_classes)
        check_shares("class-balanced trust", proportion=proportion, decay=decay)
        if proportion == 0 or decay == 1:
            raise InputError(
                f"class-balanced trust: proportion is {proportion} and decay {decay}; give a proportion above 0 and a "
                "decay below 1."
            )
        self.proportion, self.decay = proportion, decay
        self.register_buffer("counts", torch.zeros(num_classes, CODES, dtype=torch.float64))

    def advance(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None) -> Tensor:
        """Add a batch to the faded counts; the thresholds float64 [1,C]."""
        counts = count_confidences(confidence, prediction, self.num_classes, valid).sum(0)
        self.counts.mul_(self.decay).add_(sum_over_processes(counts))
        return self.current().unsqueeze(0)

    def current(self) -> Tensor:
        """Thresholds as they are now, float64 [C]."""
        # In fixed point, since sums of floats would depend on the order in which a GPU adds them up.
        weights = (self.counts * 65536).round().long()
        from_here_on = weights.flip(1).cumsum(1).flip(1)
        wanted = from_here_on[:, :1] * self.proportion
        code = (from_here_on >= wanted).sum(1) - 1
        return code_values(self.counts.device)[code]
