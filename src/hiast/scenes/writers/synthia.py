"""Drawn scenes in the layout of SYNTHIA-RAND-CITYSCAPES."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.classes import CITYSCAPES_IDS, SYNTHIA_IDS
from hiast.scenes.ids import Id
from hiast.scenes.look import SIMULATOR
from hiast.scenes.writers.encode import Table, image_png, png, table
from hiast.scenes.writers.shots import Shot, Size, write_shots

_STREAM = 2
_RAW = {index: raw for raw, index in SYNTHIA_IDS.items()}
# SYNTHIA's own void kinds: parking slot, road work, lane mark.
_VOID = {int(Id.PARKING): 13, int(Id.STATIC): 14, int(Id.DYNAMIC): 14, int(Id.LANE_MARK): 22}
_INSTANCES = (Id.PERSON, Id.RIDER, Id.CAR, Id.TRUCK, Id.BUS, Id.TRAIN, Id.MOTORCYCLE, Id.BICYCLE)


def write_synthia(data_root: Path | str, count: int, size: Size = (128, 256), seed: int = 0) -> Path:
    """Write ``SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/{RGB,GT/LABELS}/NNNNNNN.png``.

    Labels are 16-bit PNGs of three channels: class id in red, instance in green, blue empty. Terrain, trucks and
    trains are not drawn. Arguments, result and errors as for ``write_gta5``.
    """
    known = {raw: _RAW[index] for raw, index in CITYSCAPES_IDS.items()}
    label = partial(_label, table=table(known | _VOID, others=0))
    shots = [
        Shot(
            (seed, _STREAM, index),
            {
                f"RAND_CITYSCAPES/RGB/{index:07d}.png": image_png,
                f"RAND_CITYSCAPES/GT/LABELS/{index:07d}.png": label,
            },
        )
        for index in range(count)
    ]
    return write_shots(Path(data_root) / "SYNTHIA_RAND_CITYSCAPES", shots, size, SIMULATOR)


def _label(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: Table) -> bytes:
    instances = _instances(ids)
    # OpenCV takes blue, green, red.
    return png(np.stack([np.zeros_like(instances), instances, table[ids].astype(np.uint16)], axis=2))


def _instances(ids: NDArray[np.uint8]) -> NDArray[np.uint16]:
    things = np.zeros(ids.shape, np.uint16)
    for ident in _INSTANCES:
        _, parts = cv2.connectedComponents((ids == ident).astype(np.uint8), connectivity=4)
        things[parts > 0] = (parts[parts > 0] + int(things.max())).astype(np.uint16)
    return things
