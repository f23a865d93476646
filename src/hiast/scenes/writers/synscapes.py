"""Drawn scenes in the layout of Synscapes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.scenes.look import GAME
from hiast.scenes.writers.encode import LABEL_IDS, gray_label, image_png
from hiast.scenes.writers.shots import Shot, Size, write_shots

_STREAM = 11

PATH_TRACED = replace(GAME, saturation=0.85, contrast=0.95, vignette=0.15, blur=0.002, noise=1.5)
"""A path tracer with a simulated sensor: the look of Synscapes."""


def write_synscapes(data_root: Path | str, count: int, size: Size = (128, 256), seed: int = 0) -> Path:
    """Write ``Synscapes/img/{rgb,rgb-2k,class}/N.png``, numbered from 1 without zeros in front.

    Labels are gray PNGs of label ids of Cityscapes; images of rgb-2k are larger by the factor 1024 / 720. Arguments,
    result and errors as for ``write_gta5``.
    """
    label = partial(gray_label, table=LABEL_IDS)
    shots = [
        Shot(
            (seed, _STREAM, index),
            {
                f"img/rgb/{index + 1}.png": image_png,
                f"img/rgb-2k/{index + 1}.png": _larger,
                f"img/class/{index + 1}.png": label,
            },
        )
        for index in range(count)
    ]
    return write_shots(Path(data_root) / "Synscapes", shots, size, PATH_TRACED)


def _larger(image: NDArray[np.uint8], ids: NDArray[np.uint8]) -> bytes:
    height, width = (round(side * 1024 / 720) for side in image.shape[:2])
    enlarged: NDArray[np.uint8] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image_png(enlarged, ids)
