"""Predictions as color pictures that keep their class indices."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.files import write_atomically


def mask_path(folder: Path | str, name: str) -> Path:
    """Where the mask of the image called ``name`` goes: ``folder/name.png``, with the name's sub-folders.

    Raises:
        InputError: The name is empty or leads out of the folder.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if not relative.parts or relative.is_absolute() or ".." in relative.parts or ":" in relative.parts[0]:
        raise InputError(
            f"The image name '{name}' leads out of the folder {folder}: use a relative name without '..'."
        )
    return Path(folder) / relative.parent / f"{relative.name}.png"


def write_mask(path: Path | str, labels: NDArray[np.uint8], classes: LabelSpace) -> None:
    """Write a label map as palette PNG: viewers show the colors of ``classes``, readers get the indices.

    Nothing is taken away by any ground truth. Ignored pixels (255) are black.

    Args:
        path: File to write; its folders are made, an older file is replaced.
        labels: uint8 [H, W].
        classes: The colors.

    Raises:
        InputError: ``labels`` is of another shape or dtype.
        OSError: The file cannot be written.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError(f"A mask needs uint8 [H, W], not {labels.dtype} {list(labels.shape)}.")
    picture = Image.fromarray(labels)
    picture.putpalette(classes.colorize(np.arange(256, dtype=np.uint8)).tobytes())
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: picture.save(file, format="PNG", optimize=True))
