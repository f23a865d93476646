"""Drawn scenes in the layout of BDD100K's 10K images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from hiast.scenes.look import CAMERA
from hiast.scenes.writers.encode import TRAIN_IDS, gray_label, image_jpeg
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 7

DASHBOARD = replace(
    CAMERA,
    layout=replace(CAMERA.layout, lanes=(2, 2), camera=(1.3, 1.7), border=0.0),
    haze=0.003,
    saturation=1.0,
    contrast=1.1,
    exposure=0.3,
    falloff=0.2,
)
"""A dash camera on wide roads, in changing light: the look of BDD100K."""


def write_bdd100k(data_root: Path | str, train: int, val: int, size: Size = (90, 160), seed: int = 0) -> Path:
    """Write ``bdd100k/images/10k/{train,val}/*.jpg`` and ``bdd100k/labels/sem_seg/masks/{train,val}/*.png``.

    Labels are gray PNGs of train ids, 255 for void. Arguments, result and errors as for ``write_cityscapes``.
    """
    label = partial(gray_label, table=TRAIN_IDS)
    shots = []
    for stream, split, count in ((0, "train", train), (1, "val", val)):
        for index in range(count):
            stem = f"{0x0A0A0B1A + 4099 * index:08x}-{0x7C39D841 + stream:08x}"
            files: dict[str, Encode] = {
                f"images/10k/{split}/{stem}.jpg": image_jpeg,
                f"labels/sem_seg/masks/{split}/{stem}.png": label,
            }
            shots.append(Shot((seed, _STREAM, stream, index), files))
    return write_shots(Path(data_root) / "bdd100k", shots, size, DASHBOARD)
