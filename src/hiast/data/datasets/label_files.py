"""Label files that a dataset comes with in several kinds: which kind is there, and train ids turned into label ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, IGNORED
from hiast.data.io.images import MAX_PIXELS
from hiast.data.io.labels import Ids, read_ids
from hiast.data.io.patterns import find_files
from hiast.errors import InputError

TRAIN_IDS: Mapping[int, int] = MappingProxyType({index: index for index in range(len(CITYSCAPES_19))})
"""Raw id -> class of files that hold train ids: the index among the 19 classes of Cityscapes."""

TRAIN_VOID = frozenset({IGNORED})
"""The train id of everything else."""


def first_found(roots: Sequence[Path], patterns: Sequence[str]) -> str:
    """The first pattern that matches files in each of the folders.

    Args:
        roots: Folders that the patterns are relative to.
        patterns: At least one, the preferred ones first.

    Returns:
        The pattern; if none matches in all folders the first one, whose absence is then reported.
    """
    for pattern in patterns:
        if all(_matches(root, pattern) for root in roots):
            return pattern
    return patterns[0]


def _matches(root: Path, pattern: str) -> bool:
    try:
        return bool(find_files(root, pattern, "labels"))
    except InputError:
        return False


def read_translated(path: Path, max_pixels: int, table: Mapping[int, int], others: int) -> Ids:
    """Ids [H, W] of a label file, each replaced by the one that stands for the same in another kind of files.

    Args:
        path: Label file.
        max_pixels: Larger pictures are refused.
        table: Id in the file, 0 to 65535 -> id in the result, 0 to 255.
        others: Id in the result for all other ids.

    Raises:
        InputError: The file cannot be read.
    """
    lookup = np.full(1 << 16, others, np.uint8)
    for found, wanted in table.items():
        lookup[found] = wanted
    translated: Ids = lookup[read_ids(path, max_pixels)]
    return translated


def read_label_ids(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Label ids of Cityscapes, uint8 [H, W], of a file with label ids, or of ``*_labelTrainIds.png`` with train ids.

    Raises:
        InputError: The file cannot be read.
    """
    if not path.name.endswith("_labelTrainIds.png"):
        return read_ids(path, max_pixels)
    return read_translated(path, max_pixels, {train: raw for raw, train in CITYSCAPES_IDS.items()}, 0)
