"""How coarse logits become full size: one or more bilinear interpolations, and their matrices along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.errors import InputError

Size = tuple[int, int]
"""(height, width) in pixels."""


class Step(NamedTuple):
    """One bilinear interpolation, of whose result the top left part is kept.

    Attributes:
        size: (height, width) that the maps are interpolated to.
        align_corners: Convention of ``torch.nn.functional.interpolate``: True puts the centers of the corner
            pixels on each other (DeepLab-v2, segmentation-models-pytorch), False the outer edges (DAFormer).
        kept: (height, width) of the part that is kept; a network that pads its images cuts its logits so.
    """

    size: Size
    align_corners: bool
    kept: Size


@dataclass(frozen=True)
class Upsampling:
    """The interpolations between coarse logits and the pixels that they are about. It can be a key of a cache.

    Attributes:
        steps: The interpolations, in order; at least one.

    Examples:
        >>> up = Upsampling.to((512, 1024), align_corners=True).then((1024, 2048))
        >>> up.size
        (1024, 2048)
        >>> up(torch.zeros(1, 19, 64, 128)).shape
        torch.Size([1, 19, 1024, 2048])
    """

    steps: tuple[Step, ...]

    @classmethod
    def to(cls, size: Size, align_corners: bool = True, kept: Size | None = None) -> Upsampling:
        """One interpolation.

        Args:
            size: (height, width) of its result.
            align_corners: See ``Step``.
            kept: (height, width) of the top left part that is kept; None keeps all.

        Raises:
            InputError: A size is not positive, or ``kept`` is larger than ``size``.
        """
        return cls(()).then(size, align_corners, kept)

    def then(self, size: Size, align_corners: bool = True, kept: Size | None = None) -> Upsampling:
        """These interpolations and one more; arguments and errors are those of ``to``."""
        height, width = _whole(size)
        rows, columns = (height, width) if kept is None else _whole(kept)
        if not (0 < rows <= height and 0 < columns <= width):
            raise InputError(
                f"Logits cannot be upsampled to {(height, width)} and cut to {(rows, columns)}; "
                "give positive sizes, the second within the first."
            )
        return Upsampling((*self.steps, Step((height, width), bool(align_corners), (rows, columns))))

    @property
    def size(self) -> Size:
        """(height, width) of the result."""
        return self.steps[-1].kept

    def __call__(self, maps: Tensor) -> Tensor:
        """Interpolate ``maps``, float [B,C,h,w] to [B,C,H,W], as a whole; the maps themselves if they fit already."""
        for step in self.steps:
            # torch.export follows sizes that have no value yet; a comparison would fix them.
            if _symbolic(step.size) or (maps.shape[-2], maps.shape[-1]) != step.size:
                maps = F.interpolate(maps, size=step.size, mode="bilinear", align_corners=step.align_corners)
            if step.kept != step.size:
                maps = maps[..., : step.kept[0], : step.kept[1]]
        return maps

    def rows(self, length: int, dtype: torch.dtype, device: torch.device) -> Axis:
        """The interpolations along the height, from ``length`` coarse rows; cached."""
        parts = tuple((step.size[0], step.align_corners, step.kept[0]) for step in self.steps)
        return _axis(parts, length, dtype, device)

    def columns(self, length: int, dtype: torch.dtype, device: torch.device) -> Axis:
        """The interpolations along the width, from ``length`` coarse columns; cached."""
        parts = tuple((step.size[1], step.align_corners, step.kept[1]) for step in self.steps)
        return _axis(parts, length, dtype, device)


def _symbolic(size: Size) -> bool:
    return any(isinstance(side, torch.SymInt) for side in size)


def _whole(size: Size) -> Size:
    return size if _symbolic(size) else (int(size[0]), int(size[1]))


@dataclass(frozen=True, eq=False)
class Axis:
    """Interpolation along one axis as a matrix with few entries in each row.

    Attributes:
        weights: Float [out, in]; the rows sum to 1.
        first: The first input that each output reads; not decreasing.
        last: One past the last such input; not decreasing.
        identity: Whether the outputs are the first inputs as they are.
    """

    weights: Tensor
    first: tuple[int, ...]
    last: tuple[int, ...]
    identity: bool

    def __len__(self) -> int:
        return len(self.first)


def taps(source: int, wanted: int, align_corners: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Where linear interpolation from ``source`` to ``wanted`` elements reads, as torch's kernels compute it.

    Output ``i`` is ``(1 - weight[i]) * input[low[i]] + weight[i] * input[low[i] + 1]``. ``low`` is at most
    source - 2, so that outputs at the far end read the last element with weight 1.

    Returns:
        ``low`` int64 [wanted] and ``weight`` float [wanted] in 0..1, on the CPU; all zero if ``source`` is 1.
    """
    # Float32 like torch's kernels; float64 would put some weights elsewhere.
    at = torch.arange(wanted, dtype=dtype)
    if align_corners:
        at *= torch.tensor(source - 1, dtype=dtype) / max(wanted - 1, 1)
    else:
        at = ((at + 0.5) * (torch.tensor(source, dtype=dtype) / wanted) - 0.5).clamp_(min=0)
    low = at.floor().long().clamp_(max=max(source - 2, 0))
    weight = (at - low).clamp_(max=1) if source > 1 else torch.zeros_like(at)
    return low, weight


@lru_cache(maxsize=64)
def _axis(
    parts: tuple[tuple[int, bool, int], ...], length: int, dtype: torch.dtype, device: torch.device
) -> Axis:
    # Cached tensors must be usable in training, even if a validation was the first to ask for them.
    with torch.inference_mode(False), torch.no_grad():
        weights, reads = torch.eye(length, dtype=dtype), torch.eye(length)
        identity = True
        for size, align_corners, kept in parts:
            if size == len(weights):
                weights, reads = weights[:kept], reads[:kept]
                continue
            identity = False
            low, weight = taps(len(weights), size, align_corners, dtype)
            low, weight = low[:kept], weight[:kept]
            high = (low + 1).clamp(max=len(weights) - 1)
            weights = torch.lerp(weights[low], weights[high], weight[:, None])
            # Which inputs an output may read, even where a weight happens to be 0.
            reads = reads[low] + reads[high]
        used = (reads > 0).to(torch.uint8)
        first, last = used.argmax(1), used.shape[1] - used.flip(1).argmax(1)
        return Axis(weights.to(device), tuple(first.tolist()), tuple(last.tolist()), identity)
