"""Guards by the share of each class: a loss that keeps classes alive, and probabilities moved towards a prior.

Layouts differ between domains, so the source's shares are meant as a floor here and not as the truth.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hiast.errors import InputError, check_not_negative
from hiast.online.checks import check_choice, check_shares
from hiast.online.processes import process_count, sum_over_processes
from hiast.online.trust import Per
from hiast.upsampling import PortableState, to_double

Towards = Literal["floor", "prior"]
"""Raise the classes that lie below their floor alone, or move all classes to the prior."""


def class_ratio_floor(
    logits: Tensor, prior: Tensor, share: float = 0.5, per: Per = "batch", weights: Tensor | None = None
) -> Tensor:
    """Sum over the classes of max(0, share * prior_c - mean p_c): no class may become much rarer than its prior.

    Source: ADVENT, Vu et al. 2019, section 3.3 (class-ratio prior), with ``share`` 0.5.

    Args:
        logits: Floating [B,C,H,W] of any precision, of target images.
        prior: Floating [C], share of each class among the source's labeled pixels.
        share: Part of the prior that is the floor, 0 to 1.
        per: Mean probabilities over the ``"batch"`` of this process, or over each ``"image"``, whose losses are then
            averaged.
        weights: Floating [B,H,W], at least 0, weight of each pixel in the mean; None: all weigh alike. Where no pixel
            has a weight the loss is 0.

    Returns:
        A scalar in 0..1, float32 (float64 for float64 logits); 0 with a zero gradient where no class is below its
        floor.

    Raises:
        InputError: A setting is out of range or the prior does not have C values.
    """
    check_shares("class-ratio floor", share=share)
    check_choice("class-ratio floor", "per", per, get_args(Per))
    if prior.shape != (logits.shape[1],):
        raise InputError(f"A prior {list(prior.shape)} does not fit logits of {logits.shape[1]} classes.")
    precise = logits if logits.dtype == torch.float64 else logits.float()
    probabilities = precise.softmax(1)
    over = (0, 2, 3) if per == "batch" else (2, 3)
    if weights is None:
        mean, counted = probabilities.mean(over, keepdim=True), torch.ones((), device=logits.device)
    else:
        each = weights.detach().to(precise).unsqueeze(1)
        total = each.sum(over, keepdim=True)
        mean, counted = (probabilities * each).sum(over, keepdim=True) / total.clamp(min=1e-6), total > 0
    lack = (share * prior.detach().to(mean).view(1, -1, 1, 1) - mean).clamp(min=0) * counted
    return lack.sum(1).mean()


class DistributionAlignment(PortableState):
    """Scales a teacher's probabilities by how far its classes fall short of a prior, then normalizes them again.

    A running mean of the teacher's probabilities is kept, m_c. With ``towards="floor"`` class c is scaled by
    max(1, floor * prior_c / m_c), with ``"prior"`` by prior_c / m_c (ReMixMatch, Berthelot et al. 2020); never by more
    than ``limit``. After DARS, He et al. 2021, as a floor since domains differ in their layouts.

    Args:
        prior: Share of each class among the source's labeled pixels, C numbers of 0 or more, not all 0; they are
            divided by their sum.
        towards: ``"floor"`` or ``"prior"``.
        floor: Part of the prior that ``"floor"`` raises a class to, 0 to 1.
        momentum: Share of the running mean that a step keeps, 0 to below 1.
        limit: Largest factor, 1 or more.

    Attributes:
        mean: float64 [C], a buffer: running mean probability of each class.
        steps: int64, a buffer: number of batches so far.

    Raises:
        InputError: A setting is out of range.
    """

    prior: Tensor
    mean: Tensor
    steps: Tensor

    def __init__(
        self,
        prior: Tensor,
        towards: Towards = "floor",
        floor: float = 0.5,
        momentum: float = 0.99,
        limit: float = 10.0,
    ) -> None:
        super().__init__()
        check_shares("distribution alignment", floor=floor, momentum=momentum)
        check_choice("distribution alignment", "towards", towards, get_args(Towards))
        check_not_negative("distribution alignment", limit=limit)
        shares = torch.as_tensor(prior, dtype=torch.float64).clone()
        if shares.ndim != 1 or not bool((shares >= 0).all() & (shares.sum() > 0) & shares.isfinite().all()):
            raise InputError("distribution alignment: prior needs C finite numbers of 0 or more, not all 0.")
        if limit < 1 or momentum == 1:
            raise InputError(
                f"distribution alignment: limit is {limit} and momentum {momentum}; give a limit of 1 or more and a "
                "momentum below 1."
            )
        self.towards, self.floor, self.momentum, self.limit = towards, floor, momentum, limit
        self.register_buffer("prior", shares / shares.sum())
        self.register_buffer("mean", torch.zeros_like(shares))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, probabilities: Tensor) -> Tensor:
        """Add a batch to the running mean, then align it.

        Where a run has several processes, all must call this together; the mean is over all of them.

        Args:
            probabilities: Floating [B,C,H,W], summing to 1 over C.

        Returns:
            float32 [B,C,H,W], summing to 1 over C.

        Raises:
            InputError: C is not the number of the prior's classes.
        """
        if probabilities.ndim != 4 or probabilities.shape[1] != len(self.prior):
            raise InputError(
                f"distribution alignment: probabilities {list(probabilities.shape)} do not fit a prior of "
                f"{len(self.prior)} classes."
            )
        now = sum_over_processes(to_double(probabilities.float().mean((2, 3))).mean(0)) / process_count()
        moved = self.mean * self.momentum + now * (1 - self.momentum)
        self.mean.copy_(torch.where(self.steps == 0, now, moved))
        self.steps.add_(1)
        aligned = probabilities.float() * self.factors().float().view(1, -1, 1, 1)
        return aligned / aligned.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)

    def factors(self) -> Tensor:
        """What the probabilities of each class are scaled by now, float64 [C]; 1 before the first batch."""
        tiny = torch.finfo(self.mean.dtype).tiny
        wanted = self.prior * (self.floor if self.towards == "floor" else 1.0)
        factors = wanted / self.mean.clamp(min=tiny)
        factors = factors.clamp(min=1.0 if self.towards == "floor" else 0.0, max=self.limit)
        return torch.where(self.steps == 0, torch.ones_like(factors), factors)
