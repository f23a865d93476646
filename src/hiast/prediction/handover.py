"""Predictions handed to annotation tools: the files of an output folder as one export of ``hiast.formats``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hiast import formats
from hiast.classes import LabelSpace
from hiast.data.io.listing import Pair
from hiast.errors import InputError
from hiast.evaluation.masks import mask_path
from hiast.formats.cvat import check_class_names

WRITERS: Mapping[str, tuple[str, Callable[..., int]]] = {
    "cvat": ("cvat.zip", formats.write_cvat),
    "label_studio": ("label_studio", formats.write_label_studio),
    "datumaro": ("datumaro", formats.write_datumaro),
    "fiftyone": ("fiftyone", formats.write_fiftyone),
    "coco": ("coco", formats.write_coco),
    "panoptic": ("panoptic", formats.write_panoptic),
    "cityscapes": ("cityscapes", formats.write_cityscapes),
}
"""Format -> name of the file or folder within the output folder, and what writes it."""


def check_format(name: str | None, kinds: Sequence[str]) -> None:
    """Refuse a format that does not exist, or one without the labels that it is made of.

    Raises:
        InputError: Says which formats there are, or which output is missing.
    """
    if name is None:
        return
    if name not in WRITERS:
        raise InputError(f"There is no format '{name}': choose {', '.join(WRITERS)}.")
    if "labels" not in kinds:
        raise InputError(f"format={name} is made of the label files: add labels to save.")


def check_classes(name: str | None, classes: LabelSpace) -> None:
    """Refuse classes that a format cannot hold, before anything is predicted.

    Raises:
        InputError: Names the class.
    """
    if name == "cvat":
        check_class_names(classes)


def hand_over(
    name: str, folder: Path, images: Sequence[Pair], classes: LabelSpace, ids: Sequence[int], checkpoint: str
) -> Path:
    """Write the predictions of images for an annotation tool; an earlier export is replaced.

    Confidence goes along where the output folder holds it and the format can.

    Args:
        name: One of ``WRITERS``.
        folder: The output folder.
        images: The images; those without a label file, which could not be read, are left out.
        classes: Names and colors.
        ids: Id of each class in the label files.
        checkpoint: What made the predictions, for formats that say so.

    Returns:
        The file or folder that is written.

    Raises:
        InputError: There is something else in its place.
    """
    place, write = WRITERS[name]
    if name == "label_studio":
        write = partial(write, model_version=checkpoint)
    write(folder / place, _items(folder, images, ids), classes, overwrite=True)
    return folder / place


def _items(folder: Path, images: Sequence[Pair], ids: Sequence[int]) -> Iterator[formats.Item]:
    table = np.full(65536, 255, np.uint8)
    table[list(ids)] = np.arange(len(ids))
    for pair in images:
        path = mask_path(folder / "labels", pair.name)
        if not path.is_file():
            continue
        # Pillow gives the indices of a palette, not its colors.
        with Image.open(path) as picture:
            labels = table[np.asarray(picture)]
        sure = mask_path(folder / "confidence", pair.name)
        confidence = cv2.imread(str(sure), cv2.IMREAD_GRAYSCALE) if sure.is_file() else None
        yield formats.Item(
            pair.name,
            labels,
            pair.image,
            None if confidence is None else confidence.astype(np.float32) / np.float32(255),
        )
