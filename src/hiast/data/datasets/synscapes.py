"""Synscapes: img/rgb/N.png (or the larger img/rgb-2k) with img/class/N.png, which holds label ids of Cityscapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.cityscapes import VOID
from hiast.data.io.archives import Archives
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs
from hiast.errors import InputError

Images = Literal["rgb", "rgb-2k"]


def list_synscapes(data_root: Path | str, *, images: Images = "rgb", labeled: bool = True) -> Listing:
    """All images of Synscapes, which has one split.

    Args:
        data_root: Folder that holds ``Synscapes/img``.
        images: "rgb": 1440 x 720 pixels, the size of the labels. "rgb-2k": 2048 x 1024; labels are resized when they
            are read.
        labeled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or there are no such images.
    """
    if images not in get_args(Images):
        raise InputError(f"Synscapes: images is '{images}': choose {' or '.join(get_args(Images))}.")
    labels = "img/class/{name}.png" if labeled else None
    root = Path(data_root) / "Synscapes"
    pairs, orphans = make_pairs(root, f"img/{images}/{{name}}.png", labels, "Synscapes")
    return Listing(
        name="Synscapes",
        pairs=pairs,
        ids=CITYSCAPES_IDS,
        classes=CITYSCAPES_19,
        decode=read_ids,
        size_mismatch="error" if images == "rgb" else "resize",
        void=VOID,
        orphans=orphans,
    )


class SynscapesDataModule(DatasetDataModule):
    """Synscapes: 25,000 rendered images of 1440 x 720 or 2048 x 1024 pixels, one split.

    Args:
        *args: As of ``DatasetDataModule``.
        images: "rgb" (1440 x 720) or "rgb-2k" (2048 x 1024).
        **options: As of ``DatasetDataModule``.

    Examples:
        >>> from hiast.scenes import write_synscapes
        >>> _ = write_synscapes("data", 2, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = SynscapesDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "Synscapes"
    own_classes = CITYSCAPES_19
    one_split = True
    archives = Archives(
        "Synscapes",
        advice="Synscapes is a .tar file: unpack it by hand so that DATA_ROOT/Synscapes/img/rgb is there.",
    )

    def __init__(self, *args: Any, images: Images = "rgb", **options: Any) -> None:
        super().__init__(*args, **options)
        self.images = images

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """All files."""
        return list_synscapes(self.data_root, images=self.images, labeled=labeled)
