"""Contact sheet of the data check: images of each set of files, and below each its labels laid over it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hiast.classes import lookup_table
from hiast.data.geometry import resize_labels
from hiast.data.io.listing import Pair
from hiast.errors import InputError
from hiast.evaluation.pictures import Picture, Row, Tile, blank, fitted, overlay, resized, sheet
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.findings import Checked, Finding

_CHANGED = "1 file could be read a moment ago and cannot be read now: replace it and check again."


def contact_sheet(parts: Sequence[Checked], columns: int = 4) -> tuple[Picture, list[Finding]]:
    """Show evenly spread images of each set of files.

    Args:
        parts: The sets of files, with their summaries; files that cannot be read are left out.
        columns: Number of images of each set.

    Returns:
        The sheet uint8 [H, W, 3], RGB, and a finding for each image that has changed since it was checked; in its
        place is a blank tile.
    """
    rows: list[Row] = []
    findings = []
    for part, summary in parts:
        pictures: list[tuple[Picture, Picture | None]] = []
        for pair in _readable_pairs(part, summary, columns):
            try:
                pictures.append(_pictures(part, pair))
            except InputError as error:
                findings.append(Finding("error", part.title, _CHANGED, (str(error),)))
                pictures.append((blank(1, 2), None))
        rows.append(Row([Tile(image, smooth=True) for image, _ in pictures], part.title))
        if any(labels is not None for _, labels in pictures):
            rows.append(Row([Tile(blank(1, 2) if labels is None else labels) for _, labels in pictures]))
    return sheet(rows), findings


def _readable_pairs(part: Part, summary: Summary, count: int) -> list[Pair]:
    broken = {file.path for file in summary.unreadable}
    pairs = [pair for pair in part.listing.pairs if pair.image not in broken and pair.label not in broken]
    if not pairs:
        return []
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    return [pairs[place] for place in sorted(set(places.tolist()))]


def _pictures(part: Part, pair: Pair) -> tuple[Picture, Picture | None]:
    """The image at the size that it has on the sheet, and the same with its labels, if it has any."""
    image = part.listing.images.read(pair.image, part.max_pixels)
    height, width = fitted(image.shape[0], image.shape[1])
    small = resized(image, height, width, smooth=True)
    if pair.label is None:
        return small, None
    labels = lookup_table(dict(part.ids))[part.listing.decode(pair.label, part.max_pixels)]
    labels = resize_labels(labels, height, width)
    return small, overlay(small, labels, part.classes.colorize(labels))
