"""Full-size rows a few at a time: from coarse maps to blocks of rows, and gradients back.

A loss on full-size logits needs none of the full-size tensors at once. The coarse maps of some images are
interpolated along the width (``widen``); then block after block of rows is interpolated along the height, used and
forgotten, and its gradient is added to that of the widened maps; the width comes last (``narrow``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hiast.upsampling.steps import Axis, Upsampling

CPU_BLOCK = 160 * 1024
"""Elements of a block for each thread of a CPU: five such float32 tensors lie in its caches."""

DEVICE_BLOCK = 4 * 1024 * 1024
"""Elements of a block on another device, where a call costs microseconds; float32 still counts them exactly."""

COLUMN_BAND = 128
"""Full-size columns that a CPU interpolates by one product: the matrix of the width is zero but for a band."""


@dataclass(frozen=True, eq=False)
class RowBlock:
    """The full-size rows ``top`` to ``end`` of some images, which read the coarse rows ``first`` to ``last``.

    Attributes:
        top: First full-size row.
        end: One past the last.
        first: First coarse row that they read.
        last: One past the last.
        weights: Float [end - top, last - first], how the coarse rows make up the rows.
        upper: Float [end - top, 1, 1], the weights of the second of two coarse rows; None if they are not two.
        identity: Whether the rows are the coarse ones.
    """

    top: int
    end: int
    first: int
    last: int
    weights: Tensor
    upper: Tensor | None
    identity: bool

    @property
    def rows(self) -> slice:
        """Its full-size rows."""
        return slice(self.top, self.end)

    def expand(self, wide: Tensor, out: Tensor) -> Tensor:
        """Interpolate widened coarse maps, float [h,N,W], to the rows [end - top,N,W].

        Args:
            wide: Contiguous.
            out: Contiguous, with the elements of the result or more rows; its beginning is written and returned.
        """
        part = wide[self.first : self.last]
        rows = out[: self.end - self.top]
        flat = rows.view(len(rows), *wide.shape[1:])
        if self.identity:
            flat.copy_(part)
        elif self.upper is not None:
            torch.lerp(part[:1], part[1:], self.upper, out=flat)
        else:
            torch.mm(self.weights, part.flatten(1), out=flat.flatten(1))
        return rows

    def fold(self, gradient: Tensor, into: Tensor) -> None:
        """Add the ``gradient`` of the rows, contiguous with their elements, to that of the widened maps, [h,N,W]."""
        part = into[self.first : self.last]
        if self.identity:
            part.add_(gradient.view_as(part))
        else:
            part.flatten(1).addmm_(self.weights.T, gradient.flatten(1))


@dataclass(frozen=True, eq=False)
class Plan:
    """How the full size is worked through: groups of images, each in the same blocks of rows.

    Attributes:
        groups: Slices of the batch, with the same number of images each.
        images: That number, n.
        blocks: Blocks of rows, from the top; all rows together.
        columns: The interpolation along the width.
        shape: Shape of the coarse maps, (B, C, h, w).
    """

    groups: list[slice]
    images: int
    blocks: list[RowBlock]
    columns: Axis
    shape: tuple[int, int, int, int]

    def scratch(self, count: int) -> list[Tensor]:
        """``count`` tensors [r,n,C,W] for the rows of a block, used for all: fresh memory costs more than the work."""
        rows = max(block.end - block.top for block in self.blocks)
        shape = (count, rows, self.images, self.shape[1], len(self.columns))
        return list(self.columns.weights.new_empty(shape).unbind(0))

    def wide(self, count: int) -> list[Tensor]:
        """``count`` tensors [h,n*C,W] for the widened maps of a group, to be used for all groups."""
        shape = (count, self.shape[2], self.images * self.shape[1], len(self.columns))
        return list(self.columns.weights.new_empty(shape).unbind(0))

    def by_rows(self, maps: Tensor, group: slice) -> Tensor:
        """One full-size number for each pixel, [B,H,W], of a group of images, in the order of the blocks: [H,n,1,W]."""
        return maps[group].transpose(0, 1).unsqueeze(2)


def make_plan(maps: Tensor, upsampling: Upsampling, dtype: torch.dtype, like: Plan | None = None) -> Plan:
    """Divide the batch and the full-size rows into blocks of a size that suits the device.

    Args:
        maps: Float [B,C,h,w], the coarse maps.
        upsampling: Steps from coarse maps to the full size.
        dtype: What is computed in.
        like: Take over the groups and the full-size rows of these blocks.
    """
    batch, channels, height, width = maps.shape
    rows = upsampling.rows(height, dtype, maps.device)
    if like is not None:
        images, ends = like.images, [block.end for block in like.blocks]
    else:
        wanted = max(1, block_elements(maps.device) // (channels * upsampling.size[1]))
        # A block within two coarse rows is the cheapest; more images fill it up.
        most = max(1, wanted // max(1, len(rows) // height))
        images = max(count for count in range(1, batch + 1) if batch % count == 0 and count <= most)
        ends = _ends(rows, max(1, wanted // images))
    return Plan(
        groups=[slice(start, start + images) for start in range(0, batch, images)],
        images=images,
        blocks=row_blocks(rows, ends),
        columns=upsampling.columns(width, dtype, maps.device),
        shape=(batch, channels, height, width),
    )


def row_blocks(axis: Axis, ends: list[int]) -> list[RowBlock]:
    """Blocks of all rows that end at ``ends``, in order."""
    blocks: list[RowBlock] = []
    for top, end in zip([0, *ends[:-1]], ends, strict=True):
        first, last = axis.first[top], axis.last[end - 1]
        weights = axis.weights[top:end, first:last]
        upper = weights[:, 1:, None] if last - first == 2 else None
        blocks.append(RowBlock(top, end, first, last, weights, upper, axis.identity))
    return blocks


def block_elements(device: torch.device) -> int:
    """Elements that a block should have on a device."""
    return CPU_BLOCK * torch.get_num_threads() if device.type == "cpu" else DEVICE_BLOCK


def widen(maps: Tensor, columns: Axis, out: Tensor) -> Tensor:
    """Interpolate float [n,C,h,w] along the width only, to ``out``, contiguous [h,n*C,W]; returns ``out``."""
    coarse = maps.permute(2, 0, 1, 3).reshape(-1, maps.shape[-1])
    if columns.identity:
        return out.copy_(coarse[:, : len(columns)].view_as(out))
    rows = out.view(-1, len(columns))
    for wanted, used in _bands(columns):
        torch.mm(coarse[:, used], columns.weights[wanted, used].T, out=rows[:, wanted])
    return out


def narrow(gradient: Tensor, columns: Axis, out: Tensor) -> None:
    """Write the gradient [h,n*C,W] of widened maps as that of the coarse maps, to ``out`` [n,C,h,w].

    Deterministic on every device, which torch's own backward of the interpolation is not.
    """
    rows = gradient.view(-1, len(columns))
    coarse = rows.new_zeros(len(rows), out.shape[-1])
    if columns.identity:
        coarse[:, : len(columns)] = rows
    else:
        for wanted, used in _bands(columns):
            coarse[:, used].addmm_(rows[:, wanted], columns.weights[wanted, used])
    out.copy_(coarse.view(len(gradient), *out.shape[:2], -1).permute(1, 2, 0, 3))


def _bands(columns: Axis) -> list[tuple[slice, slice]]:
    """Parts of the width and the coarse columns that they read: most of the matrix is zero."""
    step = COLUMN_BAND if columns.weights.device.type == "cpu" else len(columns)
    lefts = range(0, len(columns), step)
    ends = [min(left + step, len(columns)) for left in lefts]
    return [
        (slice(left, end), slice(columns.first[left], columns.last[end - 1]))
        for left, end in zip(lefts, ends, strict=True)
    ]


def _ends(axis: Axis, rows: int) -> list[int]:
    """Where blocks of about ``rows`` end: where a coarse row does, if that is near."""
    ends: list[int] = []
    top = 0
    while top < len(axis):
        near = min(top + rows + rows // 2, len(axis))
        same = top + 1
        while same < near and (axis.first[same], axis.last[same]) == (axis.first[top], axis.last[top]):
            same += 1
        stops = same < near or near == len(axis)
        top = same if stops and same - top >= rows // 2 else min(top + rows, len(axis))
        ends.append(top)
    return ends
