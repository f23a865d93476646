"""What the passes over all pixels are asked for, and what they give back."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from hiast.objectives.regions import Region
from hiast.upsampling import Upsampling

LN2 = math.log(2)
"""Passes work with logarithms to base 2: exp2 costs a third of exp on a CPU, and is what a GPU has."""


class Factors(NamedTuple):
    """Factors of the gradient; scalar tensors in the type that is computed in.

    Attributes:
        target: Factor of minus one at the pseudo-label of a confident pixel (cross-entropy).
        confident: Factor of p of a confident pixel (cross-entropy and kld_confident).
        ignored: Factor of p (log2 p - sum of p log2 p) of an ignored pixel (entropy_ignored).
    """

    target: Tensor
    confident: Tensor
    ignored: Tensor


class Request(NamedTuple):
    """Input of one pass.

    Attributes:
        student: Logits / ln 2, contiguous float32 or float64 [B,C,h,w].
        teacher: Logits / ln 2 of the teacher, without the largest of each pixel; or None.
        teacher_in_range: The teacher's logits are known to be so close to each other that exp2 keeps all digits.
        labels: uint8 [B,H,W], classes below C or 255.
        upsampling: From [h,w] to [H,W].
        region: Pixels of consistency.
        factors: Factors of the gradient; None asks for the sums alone.
    """

    student: Tensor
    teacher: Tensor | None
    teacher_in_range: bool
    labels: Tensor
    upsampling: Upsampling
    region: Region
    factors: Factors | None


class Pass(NamedTuple):
    """Result of one pass.

    Attributes:
        sums: Float64 [5], sums over pixels and classes: log2 p of the pseudo-label over confident pixels; log2 p of all
            classes over confident pixels; p log2 p over ignored pixels; q log2 p over the region of consistency; and
            how many of these last products are not 0.
        first: Float [B,C,h,w], the gradient of the weighted sum of all terms but consistency, but for a number that is
            the same for all classes of a coarse pixel; None if not asked for.
        second: Float [B,C,h,w], the gradient of the sum of q ln p over the region of consistency; None if not
            asked for or without a teacher.
    """

    sums: Tensor
    first: Tensor | None
    second: Tensor | None
