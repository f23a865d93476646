"""ACDC as downloaded: rgb_anon and gt in folders of conditions, splits and sequences."""

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

Condition = Literal["fog", "night", "rain", "snow"]

_SPLITS = tuple(f"{condition}/{split}/" for condition in get_args(Condition) for split in ("train", "val"))


def list_acdc(
    data_root: Path | str, split: Split, *, condition: Condition | None = None, labeled: bool = True
) -> Listing:
    """One split of ACDC. Reference images (``*_ref``) and the test split are left alone.

    Args:
        data_root: Folder that holds ``acdc/rgb_anon`` and ``acdc/gt``.
        split: "train" or "val".
        condition: Images of this condition only; None: of all four.
        labeled: False: no label file is looked for. True: labelTrainIds files, or labelIds files if there are no
            others.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or there is no such condition.
    """
    if condition not in (None, *get_args(Condition)):
        raise InputError(
            f"ACDC: condition is '{condition}': choose {', '.join(get_args(Condition))} or null for all."
        )
    root = Path(data_root) / "acdc"
    place = f"{condition or '{condition}'}/{split}/{{name}}"
    labels = [f"gt/{place}_gt_{kind}.png" for kind in ("labelTrainIds", "labelIds")]
    name = f"ACDC {condition} {split}" if condition else f"ACDC {split}"
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


class ACDCDataModule(DatasetDataModule):
    """ACDC: 1,600 and 406 images of 1920 x 1080 pixels in fog, at night, in rain and in snow.

    Args:
        *args: As of ``DatasetDataModule``.
        condition: "fog", "night", "rain" or "snow": images of this condition only; None: of all four.
        **options: As of ``DatasetDataModule``.

    Examples:
        >>> from hiast.scenes import write_acdc
        >>> _ = write_acdc("data", 1, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = ACDCDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        4
    """

    title = "ACDC"
    own_classes = CITYSCAPES_19
    archives = Archives(
        "acdc",
        ("rgb_anon_trainvaltest.zip", "gt_trainval.zip"),
        tuple(f"{kind}/{place}" for kind in ("rgb_anon", "gt") for place in _SPLITS),
    )

    def __init__(self, *args: Any, condition: Condition | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.condition = condition

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_acdc(self.data_root, split, condition=self.condition, labeled=labeled)
