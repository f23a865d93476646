"""A contact sheet: some images of each part, below each its label laid over it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiast.classes import IGNORED, lookup_table
from hiast.data.geometry import resize_labels
from hiast.data.io.listing import Pair
from hiast.errors import InputError
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.findings import Checked, Finding

Picture = NDArray[np.uint8]

_WIDTH, _HEIGHT, _GAP, _TITLE = 300, 300, 6, 26
_PAPER, _INK, _BLANK = (250, 250, 249), (40, 40, 40), 200

_CHANGED = "1 file could be read a moment ago and cannot be read now: replace it and check again."


def contact_sheet(parts: Sequence[Checked], columns: int = 4) -> tuple[Picture, list[Finding]]:
    """Evenly spread images of each part.

    Args:
        parts: Files and what they add up to; files that cannot be read are left out.
        columns: Images of each part.

    Returns:
        The sheet uint8 [H, W, 3], RGB, and a finding for each image that has changed since it was checked; in its
        place is a blank tile.
    """
    rows: list[tuple[str, list[Picture]]] = []
    findings = []
    for part, summary in parts:
        tiles: list[Picture] = []
        for pair in _readable_pairs(part, summary, columns):
            try:
                tiles.append(_tile(part, pair))
            except InputError as error:
                findings.append(Finding("error", part.title, _CHANGED, (str(error),)))
                tiles.append(np.full((_WIDTH // 2, _WIDTH, 3), _BLANK, np.uint8))
        rows.append((part.title, tiles))
    return _arrange(rows, columns), findings


def _arrange(rows: Sequence[tuple[str, Sequence[Picture]]], columns: int) -> Picture:
    """Titles and tiles on paper, uint8 [H, W, 3]."""
    heights = [_TITLE + max((tile.shape[0] for tile in tiles), default=0) + 2 * _GAP for _, tiles in rows]
    paper = Image.new("RGB", (columns * (_WIDTH + _GAP) + _GAP, sum(heights) + _GAP), _PAPER)
    draw = ImageDraw.Draw(paper)
    top = _GAP
    for (title, tiles), height in zip(rows, heights, strict=True):
        draw.text((_GAP, top + 4), title, _INK, ImageFont.load_default(14))
        for column, tile in enumerate(tiles):
            paper.paste(Image.fromarray(tile), (_GAP + column * (_WIDTH + _GAP), top + _TITLE))
        top += height
    return np.asarray(paper)


def overlay(image: Picture, labels: NDArray[np.uint8], colors: Picture) -> Picture:
    """An image uint8 [H, W, 3] half covered by the colors of its labels; ignored pixels show the image in gray.

    Args:
        image: RGB.
        labels: Classes uint8 [H, W], 255 = ignored.
        colors: The labels' colors, uint8 [H, W, 3].
    """
    gray = np.repeat(image.mean(-1, keepdims=True), 3, -1) * 0.6
    mixed = np.where((labels == IGNORED)[..., None], gray, image * 0.4 + colors * 0.6)
    return mixed.astype(np.uint8)


def _readable_pairs(part: Part, summary: Summary, count: int) -> list[Pair]:
    broken = {file.path for file in summary.unreadable}
    pairs = [pair for pair in part.listing.pairs if pair.image not in broken and pair.label not in broken]
    if not pairs:
        return []
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    return [pairs[place] for place in sorted(set(places.tolist()))]


def _tile(part: Part, pair: Pair) -> Picture:
    image = part.listing.images.read(pair.image, part.max_pixels)
    scale = min(_WIDTH / image.shape[1], _HEIGHT / image.shape[0])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    small: Picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if pair.label is None:
        return small
    labels = lookup_table(dict(part.ids))[part.listing.decode(pair.label, part.max_pixels)]
    labels = resize_labels(labels, height, width)
    return np.concatenate([small, overlay(small, labels, part.classes.colorize(labels))])
