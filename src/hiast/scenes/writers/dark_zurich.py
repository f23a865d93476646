"""Drawn scenes in the layout of Dark Zurich: many nights without labels, a few with."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hiast.scenes.look import CAMERA
from hiast.scenes.writers.acdc import NIGHT
from hiast.scenes.writers.encode import LABEL_IDS, TRAIN_IDS, gray_label, image_png
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 6


def write_dark_zurich(
    data_root: Path | str, train: int, val: int, size: Size = (108, 192), seed: int = 0
) -> Path:
    """Write ``dark_zurich/rgb_anon/{train,val}/night/GOPRNNNN/*``, and ``dark_zurich/gt/val/night/*`` for val only.

    There are as many daytime images to train on as night ones, and a daytime reference of each night of val, as in the
    genuine data. Arguments, result and errors as for ``write_cityscapes``; nights to train on have no labels.
    """
    shots = []
    for index in range(train):
        stem = f"GOPR0351/GOPR0351_frame_{index + 1:06d}_rgb_anon.png"
        night: dict[str, Encode] = {f"rgb_anon/train/night/{stem}": image_png}
        day: dict[str, Encode] = {f"rgb_anon/train/day/{stem.replace('0351', '0345')}": image_png}
        shots += [Shot((seed, _STREAM, 0, index), night, look=NIGHT), Shot((seed, _STREAM, 1, index), day)]
    for index in range(val):
        frame = f"GOPR0356_frame_{321 + 3 * index:06d}"
        label = f"gt/val/night/GOPR0356/{frame}_gt"
        files: dict[str, Encode] = {
            f"rgb_anon/val/night/GOPR0356/{frame}_rgb_anon.png": image_png,
            f"{label}_labelIds.png": partial(gray_label, table=LABEL_IDS),
            f"{label}_labelTrainIds.png": partial(gray_label, table=TRAIN_IDS),
        }
        shots.append(Shot((seed, _STREAM, 2, index), files, look=NIGHT))
        reference: dict[str, Encode] = {
            f"rgb_anon/val_ref/day/GOPR0356_ref/{frame}_ref_rgb_anon.png": image_png
        }
        shots.append(Shot((seed, _STREAM, 3, index), reference))
    return write_shots(Path(data_root) / "dark_zurich", shots, size, CAMERA)
