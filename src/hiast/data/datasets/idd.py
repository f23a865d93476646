"""IDD, the India Driving Dataset: both parts of its segmentation data, with polygons or label PNGs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.idd_labels import IDD_IDS, VOID, IDDLabels
from hiast.data.datasets.label_files import first_found
from hiast.data.io.archives import Archives
from hiast.data.io.listing import Listing, Pair, Split
from hiast.data.io.pairing import MissingLabelsError, make_pairs
from hiast.errors import InputError

PARTS = ("IDD_Segmentation", "idd20kII")
"""Folders that the archives of the two parts hold."""

_KINDS = ("labelcsTrainIds.png", "labelids.png", "polygons.json", "labellevel3Ids.png")


def list_idd(data_root: Path | str, split: Split, *, labeled: bool = True) -> Listing:
    """One split of IDD, of all parts that are there.

    Args:
        data_root: Folder that holds ``IDD_Segmentation``, ``idd20kII`` or both, each with ``leftImg8bit`` and
            ``gtFine``.
        split: "train" or "val".
        labeled: False: no label file is looked for. True: the polygons as downloaded are enough; PNGs that IDD's own
            tools have made are read in their place, since that is faster.

    Raises:
        InputError: No part is there, a folder is empty, or an image has no label.
    """
    dataset = f"IDD {split}"
    parts = [part for part in PARTS if (Path(data_root) / part).is_dir()]
    if not parts:
        raise InputError(
            f"{data_root} holds neither {' nor '.join(PARTS)}: unpack the archives of IDD there, or set data_root."
        )
    roots = [Path(data_root) / part for part in parts]
    kinds = [f"gtFine/{split}/{{name}}_gtFine_{kind}" for kind in _KINDS]
    pairs, orphans = _pairs(roots, split, first_found(roots, kinds) if labeled else None, dataset)
    return Listing(
        name=dataset,
        pairs=pairs,
        ids=IDD_IDS,
        classes=CITYSCAPES_19,
        decode=IDDLabels(),
        void=VOID,
        orphans=orphans,
    )


def _pairs(
    roots: list[Path], split: Split, labels: str | None, dataset: str
) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """Pairs and orphans of all parts; a name begins with its part, since both count their sequences alike."""
    pairs: list[Pair] = []
    orphans: list[Path] = []
    missing: MissingLabelsError | None = None
    for root in roots:
        # PNG in the first part and JPEG in the second.
        images = f"leftImg8bit/{split}/{{name}}_leftImg8bit.*"
        try:
            found, others = make_pairs(root, images, labels, dataset)
        except MissingLabelsError as error:
            missing = missing or error
            found, others = error.pairs, error.orphans
        pairs += [replace(pair, name=f"{root.name}/{pair.name}") for pair in found]
        orphans += others
    if missing is not None:
        raise MissingLabelsError(str(missing), tuple(pairs), tuple(orphans)) from missing
    return tuple(pairs), tuple(orphans)


class IDDDataModule(DatasetDataModule):
    """IDD: 14,027 and 2,036 images in two parts, most of 1920 x 1080 or 1280 x 964 pixels.

    Examples:
        >>> from hiast.scenes import write_idd
        >>> _ = write_idd("data", 1, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = IDDDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "IDD"
    own_classes = CITYSCAPES_19
    archives = Archives(
        PARTS[0],
        advice="IDD is downloaded as .tar.gz files: unpack them by hand so that "
        f"DATA_ROOT/{PARTS[0]}/leftImg8bit, DATA_ROOT/{PARTS[1]}/leftImg8bit or both are there.",
    )

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_idd(self.data_root, split, labeled=labeled)
