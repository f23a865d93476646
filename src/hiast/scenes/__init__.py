"""Drawn driving scenes with the 19 Cityscapes classes, written in the genuine layout of each dataset.

They let the demo and the tests run the real readers on real files without any download.
"""

from __future__ import annotations

from hiast.scenes.look import CAMERA, GAME, OVERCAST, SIMULATOR, Layout, Look
from hiast.scenes.scene import draw_scene
from hiast.scenes.writers.acdc import write_acdc
from hiast.scenes.writers.bdd100k import write_bdd100k
from hiast.scenes.writers.cityscapes import write_cityscapes
from hiast.scenes.writers.dark_zurich import write_dark_zurich
from hiast.scenes.writers.gta5 import write_gta5
from hiast.scenes.writers.idd import write_idd
from hiast.scenes.writers.mapillary import write_mapillary
from hiast.scenes.writers.robotcar import write_robotcar
from hiast.scenes.writers.synscapes import write_synscapes
from hiast.scenes.writers.synthia import write_synthia
from hiast.scenes.writers.urbansyn import write_urbansyn

__all__ = [
    "CAMERA",
    "GAME",
    "OVERCAST",
    "SIMULATOR",
    "Layout",
    "Look",
    "draw_scene",
    "write_acdc",
    "write_bdd100k",
    "write_cityscapes",
    "write_dark_zurich",
    "write_gta5",
    "write_idd",
    "write_mapillary",
    "write_robotcar",
    "write_synscapes",
    "write_synthia",
    "write_urbansyn",
]
