"""Drawn driving scenes with the 19 Cityscapes classes, written in the genuine layout of each dataset.

They let the demo and the tests run the real readers on real files without any download.
"""

from __future__ import annotations

from hiast.scenes.look import CAMERA, GAME, OVERCAST, SIMULATOR, Layout, Look
from hiast.scenes.scene import draw_scene
from hiast.scenes.writers import write_cityscapes, write_gta5, write_robotcar, write_synthia

__all__ = [
    "CAMERA",
    "GAME",
    "OVERCAST",
    "SIMULATOR",
    "Layout",
    "Look",
    "draw_scene",
    "write_cityscapes",
    "write_gta5",
    "write_robotcar",
    "write_synthia",
]
