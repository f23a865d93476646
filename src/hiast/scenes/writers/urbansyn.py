"""Drawn scenes in the layout of UrbanSyn."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from hiast.classes import CITYSCAPES_IDS, IGNORED
from hiast.scenes.ids import Id
from hiast.scenes.look import GAME
from hiast.scenes.writers.encode import gray_label, image_png, table
from hiast.scenes.writers.shots import Shot, Size, write_shots

_STREAM = 10

RENDERED = replace(GAME, layout=replace(GAME.layout, ego=1.0), saturation=0.95, contrast=1.05, haze=0.003)
"""A photorealistic renderer with the own car in view: the look of UrbanSyn."""


def write_urbansyn(data_root: Path | str, count: int, size: Size = (128, 256), seed: int = 0) -> Path:
    """Write ``urbansyn/rgb/rgb_NNNN.png`` and ``urbansyn/ss/ss_NNNN.png``.

    Labels are gray PNGs of train ids, 19 for the own car, 255 for other void. Arguments, result and errors as for
    ``write_gta5``.
    """
    known = dict(CITYSCAPES_IDS) | {int(Id.LANE_MARK): 0, int(Id.EGO): 19}
    label = partial(gray_label, table=table(known, others=IGNORED))
    shots = [
        Shot(
            (seed, _STREAM, index),
            {f"rgb/rgb_{index + 1:04d}.png": image_png, f"ss/ss_{index + 1:04d}.png": label},
        )
        for index in range(count)
    ]
    return write_shots(Path(data_root) / "urbansyn", shots, size, RENDERED)
