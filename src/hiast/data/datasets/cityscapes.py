"""Cityscapes as downloaded: leftImg8bit and gtFine in folders of cities, labels as raw label ids."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.label_files import read_label_ids
from hiast.data.io.archives import Archives
from hiast.data.io.listing import Listing, Pair, Split
from hiast.data.io.pairing import MissingLabelsError, make_pairs
from hiast.data.io.patterns import find_files

_TRAIN_IDS = "_gtFine_labelTrainIds.png"
_LABEL_IDS = "_gtFine_labelIds.png"

VOID = (frozenset(range(34)) | {255}) - set(CITYSCAPES_IDS)
"""Ids that stand for none of the classes; 255 is -1, the license plate, in 8 bits."""


def list_cityscapes(data_root: Path | str, split: Split, *, labeled: bool = True) -> Listing:
    """One split of Cityscapes.

    Args:
        data_root: Folder that holds ``cityscapes/leftImg8bit`` and ``cityscapes/gtFine``.
        split: "train" or "val".
        labeled: False: no label file is looked for. True: labelIds files as downloaded are enough; a
            labelTrainIds file is used where there is one.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "cityscapes"
    dataset = f"Cityscapes {split}"
    images = f"leftImg8bit/{split}/{{name}}_leftImg8bit.png"
    pairs, orphans = make_pairs(root, images, None, dataset)
    if labeled:
        pairs, orphans = _with_labels(root / "gtFine", split, pairs, dataset)
    return Listing(
        name=dataset,
        pairs=pairs,
        ids=CITYSCAPES_IDS,
        classes=CITYSCAPES_19,
        decode=read_label_ids,
        void=VOID,
        orphans=orphans,
    )


def _with_labels(
    folder: Path, split: Split, pairs: tuple[Pair, ...], dataset: str
) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """The pairs with their label files, and the label files that belong to no image."""
    files = find_files(folder, f"{split}/**", f"labels of {dataset}") if (folder / split).is_dir() else []
    found = {
        file.name.removesuffix(ending.removesuffix(".png")): file.path
        for ending in (_LABEL_IDS, _TRAIN_IDS)  # The later one wins.
        for file in files
        if file.path.name.endswith(ending)
    }
    stems = [pair.name.removesuffix("_leftImg8bit") for pair in pairs]
    paired = set(stems)
    orphans = tuple(path for stem, path in found.items() if stem not in paired)
    labeled = tuple(
        Pair(pair.name, pair.image, found.get(stem)) for pair, stem in zip(pairs, stems, strict=True)
    )
    missing = [stem for stem in stems if stem not in found]
    if missing:
        raise MissingLabelsError(
            f"{folder / split / missing[0]}{_LABEL_IDS} is missing ({len(missing)} of {len(pairs)} labels of "
            f"{dataset} are): unpack gtFine_trainvaltest.zip there, or set data_root.",
            labeled,
            orphans,
        )
    return labeled, orphans


class CityscapesDataModule(DatasetDataModule):
    """Cityscapes: 2,975 and 500 images of 2048 x 1024 pixels.

    Examples:
        >>> from hiast.scenes import write_cityscapes
        >>> _ = write_cityscapes("data", 2, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = CityscapesDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "Cityscapes"
    own_classes = CITYSCAPES_19
    reads_only = True
    archives = Archives(
        "cityscapes",
        ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"),
        ("leftImg8bit/train/", "leftImg8bit/val/", "gtFine/train/", "gtFine/val/"),
    )

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_cityscapes(self.data_root, split, labeled=labeled)
