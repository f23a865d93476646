"""Cityscapes as downloaded: leftImg8bit and gtFine in folders of cities, labels as raw label ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.decode import MAX_PIXELS, Ids, read_ids
from hiast.data.listing import Listing, Pair, Split, make_pairs
from hiast.errors import InputError

_TRAIN_IDS = "_gtFine_labelTrainIds.png"
_LABEL_IDS = "_gtFine_labelIds.png"


def read_label(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Raw label ids uint8 [H, W] of a labelIds file, or of a labelTrainIds file, whose ids are turned back.

    Raises:
        InputError: The file cannot be read.
    """
    ids = read_ids(path, max_pixels)
    if not path.name.endswith(_TRAIN_IDS):
        return ids
    table = np.zeros(1 << 16, np.uint8)
    for raw, train in CITYSCAPES_IDS.items():
        table[train] = raw
    return table[ids]


def listing(data_root: Path | str, split: Split, *, labelled: bool = True) -> Listing:
    """One split of Cityscapes.

    Args:
        data_root: Folder that holds ``cityscapes/leftImg8bit`` and ``cityscapes/gtFine``.
        split: "train" or "val".
        labelled: False: no label file is looked for. True: labelIds files as downloaded are enough; a
            labelTrainIds file is used where there is one.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "cityscapes"
    dataset = f"Cityscapes {split}"
    images = f"leftImg8bit/{split}/{{name}}_leftImg8bit.png"
    pairs = make_pairs(root, images, None, dataset)
    if labelled:
        pairs = tuple(Pair(pair.name, pair.image, _label(root, split, pair, dataset)) for pair in pairs)
    return Listing(dataset, pairs, CITYSCAPES_IDS, CITYSCAPES_19, read_label)


def _label(root: Path, split: Split, pair: Pair, dataset: str) -> Path:
    stem = root / "gtFine" / split / pair.name.removesuffix("_leftImg8bit")
    for ending in (_TRAIN_IDS, _LABEL_IDS):
        path = stem.with_name(stem.name + ending)
        if path.is_file():
            return path
    raise InputError(
        f"{stem}{_LABEL_IDS} is missing: the labels of {dataset} belong there; "
        "unpack gtFine_trainvaltest.zip or set data_root."
    )
