"""BDD100K's 10K images with semantic segmentation: JPEG images, and label PNGs of train ids."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.label_files import TRAIN_IDS, TRAIN_VOID
from hiast.data.io.archives import Archives
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs


def list_bdd100k(data_root: Path | str, split: Split, *, labeled: bool = True) -> Listing:
    """One split of BDD100K's 10K images.

    Args:
        data_root: Folder that holds ``bdd100k/images/10k`` and ``bdd100k/labels/sem_seg/masks``, as in the release of
            2021, or ``bdd100k/seg/images`` and ``bdd100k/seg/labels``, as in the first release.
        split: "train" or "val".
        labeled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "bdd100k"
    images, labels = f"images/10k/{split}/{{name}}.jpg", f"labels/sem_seg/masks/{split}/{{name}}.png"
    if not (root / "images").is_dir() and (root / "seg").is_dir():
        images, labels = f"seg/images/{split}/{{name}}.jpg", f"seg/labels/{split}/{{name}}_train_id.png"
    pairs, orphans = make_pairs(root, images, labels if labeled else None, f"BDD100K {split}")
    return Listing(
        name=f"BDD100K {split}",
        pairs=pairs,
        ids=TRAIN_IDS,
        classes=CITYSCAPES_19,
        decode=read_ids,
        void=TRAIN_VOID,
        orphans=orphans,
    )


class BDD100KDataModule(DatasetDataModule):
    """BDD100K: 7,000 and 1,000 images of 1280 x 720 pixels with semantic segmentation.

    Examples:
        >>> from hiast.scenes import write_bdd100k
        >>> _ = write_bdd100k("data", 2, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = BDD100KDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "BDD100K"
    own_classes = CITYSCAPES_19
    archives = Archives(
        "bdd100k",
        advice="The archives of BDD100K hold the folder bdd100k: unpack bdd100k_images_10k.zip and "
        "bdd100k_sem_seg_labels_trainval.zip by hand so that DATA_ROOT/bdd100k/images/10k is there.",
    )

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_bdd100k(self.data_root, split, labeled=labeled)
