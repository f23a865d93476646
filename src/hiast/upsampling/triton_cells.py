"""What the Triton kernels share: the pixels of a cell, their logits and softmax, and sums for its corners.

A tile is [pixels, classes]. Annotations must be of Triton: its compiler reads them.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def locate(rows_first: tl.tensor, columns_first: tl.tensor, height: tl.tensor, width: tl.tensor) -> tl.tuple:
    """The cell of this program: image, coarse row and column, first full-size row and column, rows, columns."""
    cell = tl.program_id(0)
    cell_column = cell % (width - 1)
    cell_row = (cell // (width - 1)) % (height - 1)
    image = cell // ((width - 1) * (height - 1))
    top = tl.load(rows_first + cell_row)
    left = tl.load(columns_first + cell_column)
    tall = tl.load(rows_first + cell_row + 1) - top
    broad = tl.load(columns_first + cell_column + 1) - left
    return image, cell_row, cell_column, top, left, tall, broad


@triton.jit  # type: ignore[untyped-decorator]
def load_corners(
    maps: tl.tensor,
    image: tl.tensor,
    cell_row: tl.tensor,
    cell_column: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    classes: tl.tensor,
    c: tl.tensor,
) -> tl.tuple:
    """The four coarse pixels of a cell, float32 [1,classes] each, from maps [B,h,w,C]; 0 beyond the last class."""
    place = maps + ((image * height + cell_row) * width + cell_column) * classes + c[None, :]
    known = c[None, :] < classes
    below = place + width * classes
    return (
        tl.load(place, known, 0.0),
        tl.load(place + classes, known, 0.0),
        tl.load(below, known, 0.0),
        tl.load(below + classes, known, 0.0),
    )


@triton.jit  # type: ignore[untyped-decorator]
def pixels(
    k: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    broad: tl.tensor,
    live: tl.tensor,
    rows_weight: tl.tensor,
    columns_weight: tl.tensor,
) -> tl.tuple:
    """Full-size rows and columns [pixels] of the pixels ``k`` of a cell, and their weights [pixels,1] along both."""
    row, column = top + k // broad, left + k % broad
    v = tl.load(rows_weight + row, live, 0.0)[:, None]
    u = tl.load(columns_weight + column, live, 0.0)[:, None]
    return row, column, v, u


@triton.jit  # type: ignore[untyped-decorator]
def blend(
    a00: tl.tensor, a01: tl.tensor, a10: tl.tensor, a11: tl.tensor, v: tl.tensor, u: tl.tensor
) -> tl.tensor:
    """Bilinear interpolation of four corners [1,classes] at weights [pixels,1] along height and width."""
    upper = a00 + u * (a01 - a00)
    lower = a10 + u * (a11 - a10)
    return upper + v * (lower - upper)


@triton.jit  # type: ignore[untyped-decorator]
def softmax(z: tl.tensor, c: tl.tensor, classes: tl.tensor) -> tl.tuple:
    """Of logits / ln 2 [pixels,classes]: p, log2 p (both 0 beyond the last class) and sum of exp2(z - largest)."""
    known = c[None, :] < classes
    z = tl.where(known, z, -float("inf"))
    z = z - tl.max(z, 1)[:, None]
    e = tl.exp2(z)
    total = tl.sum(e, 1)[:, None]
    return e / total, tl.where(known, z - tl.log2(total), 0.0), total


@triton.jit  # type: ignore[untyped-decorator]
def to_corners(g: tl.tensor, v: tl.tensor, u: tl.tensor) -> tl.tuple:
    """The gradient [pixels,classes] of pixels as that of the four corners, [classes] each."""
    lower, upper = g * v, g * (1 - v)
    return (
        tl.sum(upper * (1 - u), 0),
        tl.sum(upper * u, 0),
        tl.sum(lower * (1 - u), 0),
        tl.sum(lower * u, 0),
    )


@triton.jit  # type: ignore[untyped-decorator]
def store_corners(
    out: tl.tensor,
    classes: tl.tensor,
    c: tl.tensor,
    g00: tl.tensor,
    g01: tl.tensor,
    g10: tl.tensor,
    g11: tl.tensor,
) -> None:
    """Write the gradients of this program's corners, [classes] each, to [cells,4,C]."""
    place = out + tl.program_id(0) * 4 * classes + c
    known = c < classes
    tl.store(place, g00, known)
    tl.store(place + classes, g01, known)
    tl.store(place + 2 * classes, g10, known)
    tl.store(place + 3 * classes, g11, known)
