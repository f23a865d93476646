"""Drawn scenes in the layout of RobotCar."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.classes import (
    CITYSCAPES_19,
    CITYSCAPES_IDS,
    CITYSCAPES_TO_ROBOTCAR,
    ROBOTCAR_9,
    ROBOTCAR_IDS,
    map_classes,
)
from hiast.scenes.ids import Id
from hiast.scenes.look import OVERCAST
from hiast.scenes.writers.encode import Table, image_png, png, table
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 4


def write_robotcar(
    data_root: Path | str, train: int, val: int, size: Size = (96, 128), seed: int = 0
) -> Path:
    """Write ``robotcar/{train,val}/*.png``, and ``robotcar/anno/*.png`` (RGBA, id in red) for val only.

    Arguments, result and errors as for ``write_cityscapes``.
    """
    # Several raw ids mean road; the first of each class is written.
    raw = {index: value for value, index in reversed(list(ROBOTCAR_IDS.items()))}
    nine = map_classes(CITYSCAPES_IDS, CITYSCAPES_19, ROBOTCAR_9, CITYSCAPES_TO_ROBOTCAR)
    known = {ident: raw[index] for ident, index in nine.items()}
    label = partial(_label, table=table(known | {int(Id.LANE_MARK): 12}, others=0))
    shots = []
    for stream, split, count in ((0, "train", train), (1, "val", val)):
        for index in range(count):
            name = f"{1_400_000_000_000_000 + 10**9 * stream + 62_500 * index}.png"
            files: dict[str, Encode] = {f"{split}/{name}": image_png}
            if split == "val":
                files[f"anno/{name}"] = label
            shots.append(Shot((seed, _STREAM, stream, index), files))
    return write_shots(Path(data_root) / "robotcar", shots, size, OVERCAST)


def _label(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: Table) -> bytes:
    empty = np.zeros_like(ids)
    return png(np.stack([empty, empty, table[ids], np.full_like(ids, 255)], axis=2))
