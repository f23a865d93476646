"""Hard classes of online training: which they are, and donors of them within a batch, on the device.

Source: HIAST, hard-aware pseudo-label augmentation: the classes that the teacher is least sure of are hard, and
class k is drawn with probability proportional to (1 - v_k)^2, v_k its mean confidence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_num_classes, check_shares
from hiast.online.draws import uniform
from hiast.online.mixing import classes_present
from hiast.online.processes import sum_over_processes
from hiast.upsampling import PortableState, sum_dtype, to_double

_FIXED_POINT = 2.0**30


class RunningConfidence(PortableState):
    """Mean confidence v_k of the kept pixels of each class, as a moving average over the steps.

    The first mean of a class is taken as it is; later v_k <- momentum * v_k + (1 - momentum) * mean. Where a run has
    several processes, all must call ``update`` together; the mean is over all of them.

    Args:
        num_classes: C, 1 to 255.
        momentum: Share of the past that a step keeps, 0 to 1.

    Attributes:
        mean: float64 [C], a buffer; nan for a class that was never kept.

    Raises:
        InputError: A setting is out of range.
    """

    mean: Tensor

    def __init__(self, num_classes: int, momentum: float = 0.99) -> None:
        super().__init__()
        check_num_classes(num_classes)
        check_shares("running confidence", momentum=momentum)
        self.momentum = momentum
        self.register_buffer("mean", torch.full((num_classes,), torch.nan, dtype=torch.float64))

    @torch.no_grad()
    def update(self, confidence: Tensor, labels: Tensor) -> None:
        """Add a batch: confidence floating [B,H,W] in 0..1 and labels uint8 [B,H,W], 255 where nothing is kept."""
        # Sums of integers are the same in every order, which those of floats are not.
        fixed = (to_double(confidence.detach()) * _FIXED_POINT).round().long().flatten()
        label = labels.flatten().long()
        table = torch.zeros(2, 256, dtype=torch.int64, device=labels.device)
        table[0].scatter_add_(0, label, torch.ones_like(fixed))
        table[1].scatter_add_(0, label, fixed)
        pixels, total = sum_over_processes(table)[:, : len(self.mean)]
        now = to_double(total) / _FIXED_POINT / pixels.clamp(min=1)
        moved = self.momentum * self.mean + (1 - self.momentum) * now
        moved = torch.where(self.mean.isnan(), now, moved)
        self.mean.copy_(torch.where(pixels > 0, moved, self.mean))


def hard_classes(
    confidence: Tensor, hardest: int | None = 14, excluded: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The classes with the lowest mean confidence, and how likely each is to be drawn.

    Args:
        confidence: float64 [C], mean confidence v of each class; nan = never kept, such a class is not hard.
        hardest: Number of hard classes; ties go to the lower index. None: all.
        excluded: Bool [C], classes that are never hard: those that the source label space lacks.

    Returns:
        Bool [C], the hard classes, and float64 [C], their weights (1 - v)^2, 0 for the others. Where every hard class
        is certain (v = 1) they all weigh 1.

    Raises:
        InputError: ``hardest`` is below 1.
    """
    if hardest is not None and hardest < 1:
        raise InputError(f"hard classes: hardest is {hardest}; give 1 or more, or null for all classes.")
    usable = ~confidence.isnan()
    if excluded is not None:
        usable = usable & ~excluded.to(usable.device)
    order = torch.where(usable, confidence, torch.inf).argsort(stable=True).argsort()
    hard = usable & (order < (len(confidence) if hardest is None else hardest))
    weights = torch.where(hard, (1 - confidence) ** 2, 0.0)
    return hard, torch.where(weights.sum() > 0, weights, hard.to(weights.dtype))


def draw_donors(labels: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw for each image of a batch a class and an image of the same batch that holds it.

    A class is drawn with probability proportional to ``weights`` among those that the batch holds, then an image
    uniformly among those that hold it; it may be the image itself. This is the rule of a round with the batch in
    place of the whole set, without the images that hold the fewest pixels being dropped.

    Args:
        labels: uint8 [B,H,W], pseudo-labels, 255 = ignored.
        weights: Floating [C], 0 or more; 0 is never drawn.
        generator: Decides all draws.

    Returns:
        int64 [B], the index of each image's donor; its own where the batch holds no class of positive weight.

    Raises:
        InputError: The number of weights is not that of 1 to 255 classes.
    """
    batch, classes = len(labels), len(weights)
    if not 1 <= classes <= IGNORED:
        raise InputError(f"hard classes: there are {classes} weights; give one for each of 1 to 255 classes.")
    held = classes_present(labels)[:, :classes]
    noise = uniform(generator, batch, classes + batch).double()
    # The largest of log(w) + Gumbel noise is a draw with probabilities proportional to w.
    noise[:, :classes] = -(-(noise[:, :classes].clamp(min=1e-12)).log()).log()
    noise = noise.to(labels.device, sum_dtype(labels.device), non_blocking=True)
    scores = to_double(weights.detach().to(labels.device)).log() + noise[:, :classes]
    drawable = held.any(0) & (weights.to(labels.device) > 0)
    drawn = scores.masked_fill(~drawable, -torch.inf).argmax(1)
    holders = held[:, drawn].t() & drawable[drawn].unsqueeze(1)
    donor = noise[:, classes:].masked_fill(~holders, -1.0).argmax(1)
    return torch.where(holders.any(1), donor, torch.arange(batch, device=labels.device))
