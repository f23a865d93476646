"""Encoders: an image and its raw ids to the bytes of a PNG or JPEG file, as the datasets are encoded."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, IGNORED
from hiast.scenes.ids import Id

Table = NDArray[np.uint8]
"""Raw id of a drawn scene -> id in the file, uint8 [256]."""


def table(changed: Mapping[int, int], others: int | None = None) -> Table:
    """A table that changes some ids.

    Args:
        changed: Raw id of a drawn scene -> id in the file.
        others: Id in the file of all others; None: they stay as they are.
    """
    ids = np.arange(256, dtype=np.uint8) if others is None else np.full(256, others, np.uint8)
    for ident, raw in changed.items():
        ids[ident] = raw
    return ids


LABEL_IDS = table({int(Id.LANE_MARK): int(Id.ROAD)})
"""Label ids of Cityscapes."""

TRAIN_IDS = table(dict(CITYSCAPES_IDS) | {int(Id.LANE_MARK): 0}, others=IGNORED)
"""Train ids of Cityscapes; 255 for void."""


def png(pixels: NDArray[Any]) -> bytes:
    """A PNG of pixels as OpenCV takes them: [H, W], or [H, W, 3 or 4] in the order blue, green, red."""
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1])


def image_png(image: NDArray[np.uint8], ids: NDArray[np.uint8]) -> bytes:
    """The image as a PNG."""
    return png(np.ascontiguousarray(image[..., ::-1]))


def image_jpeg(image: NDArray[np.uint8], ids: NDArray[np.uint8]) -> bytes:
    """The image as a JPEG."""
    pixels = np.ascontiguousarray(image[..., ::-1])
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])


def gray_label(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: Table) -> bytes:
    """Ids as the gray values of a PNG."""
    return png(table[ids])


def palette_label(
    image: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    table: Table,
    colors: Mapping[int, tuple[int, int, int]],
) -> bytes:
    """Ids as the palette indices of a PNG.

    Args:
        image: Not used.
        ids: Raw ids of the drawn scene.
        table: Raw id -> id in the file.
        colors: Id in the file -> color of the palette; the others are black.
    """
    palette = np.zeros((256, 3), np.uint8)
    for raw, color in colors.items():
        palette[raw] = color
    picture = Image.fromarray(table[ids])
    picture.putpalette(palette.ravel().tolist())
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


CLASS_COLORS = {raw: CITYSCAPES_19.colors[index] for raw, index in CITYSCAPES_IDS.items()}
"""Label id of Cityscapes -> color of its class."""
