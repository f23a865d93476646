"""Color masks: PNG files that show colors and keep class indices."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.evaluation.pictures import label_png
from hiast.files import write_atomically


def mask_path(folder: Path | str, name: str) -> Path:
    """Path of the mask of an image: ``folder/name.png``, with the folders in the name.

    Args:
        folder: Folder of the masks.
        name: Relative name of the image, without suffix.

    Raises:
        InputError: The name is empty or leads out of the folder.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    drive = re.match(r"[A-Za-z]:", name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts or drive:
        raise InputError(
            f"The image name '{name}' leads out of the folder {folder}: use a relative name without '..'."
        )
    return Path(folder) / relative.parent / f"{relative.name}.png"


def write_mask(path: Path | str, labels: NDArray[np.uint8], classes: LabelSpace) -> None:
    """Write a label map as a palette PNG: viewers show the colors of the classes, and readers get the indices.

    Every pixel is written, also where the ground truth is ignored. Ignored pixels of ``labels`` (255) are black.

    Args:
        path: File to write; its folders are created, and an older file is replaced.
        labels: uint8 [H, W].
        classes: Label space with the colors.

    Raises:
        InputError: ``labels`` has another shape or dtype.
        OSError: The file cannot be written.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError(f"A mask needs uint8 [H, W], not {labels.dtype} {list(labels.shape)}.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, label_png(labels, classes))
