"""Dark Zurich as downloaded: rgb_anon in folders of splits, times of day and sequences; gt for the nights of val."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.cityscapes import VOID
from hiast.data.datasets.label_files import first_found, read_label_ids
from hiast.data.io.archives import Archives
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs
from hiast.errors import InputError

Time = Literal["night", "twilight", "day"]


def list_dark_zurich(
    data_root: Path | str, split: Split, *, time: Time = "night", labeled: bool | None = None
) -> Listing:
    """One split of Dark Zurich.

    Args:
        data_root: Folder that holds ``dark_zurich/rgb_anon`` and ``dark_zurich/gt``.
        split: "train" or "val"; val has images of the night only.
        time: Time of day of the training images.
        labeled: Whether labels are wanted; by default for val, the only split that has any. LabelTrainIds files are
            read, or labelIds files if there are no others.

    Raises:
        InputError: A folder is missing or empty, an image has no label, labels of train are wanted, or there is no
            such time.
    """
    if time not in get_args(Time):
        raise InputError(f"Dark Zurich: time is '{time}': choose {', '.join(get_args(Time))}.")
    labeled = split == "val" if labeled is None else labeled
    if labeled and split == "train":
        raise InputError(
            "Dark Zurich's training images have no labels: use it as a target, or its val split."
        )
    root = Path(data_root) / "dark_zurich"
    place = f"{split}/{time if split == 'train' else 'night'}/{{name}}"
    labels = [f"gt/{place}_gt_{kind}.png" for kind in ("labelTrainIds", "labelIds")]
    name = f"Dark Zurich {split}"
    pairs, orphans = make_pairs(
        root, f"rgb_anon/{place}_rgb_anon.png", first_found([root], labels) if labeled else None, name
    )
    return Listing(
        name=name,
        pairs=pairs,
        ids=CITYSCAPES_IDS,
        classes=CITYSCAPES_19,
        decode=read_label_ids,
        void=VOID,
        orphans=orphans,
    )


class DarkZurichDataModule(DatasetDataModule):
    """Dark Zurich: 2,416 night images without and 50 with labels, of 1920 x 1080 pixels.

    Args:
        *args: As of ``DatasetDataModule``.
        time: "night", "twilight" (2,920 images) or "day" (3,041): time of day of the training images.
        **options: As of ``DatasetDataModule``.

    Examples:
        >>> from hiast.scenes import write_dark_zurich
        >>> _ = write_dark_zurich("data", 2, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = DarkZurichDataModule("data")
        >>> len(data.train_dataset(labeled=False))
        2
    """

    title = "Dark Zurich"
    own_classes = CITYSCAPES_19
    archives = Archives(
        "dark_zurich",
        ("Dark_Zurich_train_anon.zip", "Dark_Zurich_val_anon.zip"),
        (*(f"rgb_anon/train/{time}/" for time in get_args(Time)), "rgb_anon/val/night/", "gt/val/night/"),
    )

    def __init__(self, *args: Any, time: Time = "night", **options: Any) -> None:
        super().__init__(*args, **options)
        self.time = time

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_dark_zurich(self.data_root, split, time=self.time, labeled=labeled)
