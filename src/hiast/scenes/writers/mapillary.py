"""Drawn scenes in the layout of Mapillary Vistas, with labels of both versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.scenes.ids import Id
from hiast.scenes.look import CAMERA
from hiast.scenes.writers.encode import image_jpeg, palette_label, table
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 9

EVERYWHERE = replace(
    CAMERA,
    layout=replace(CAMERA.layout, camera=(1.2, 2.4), horizon=(0.40, 0.58), focal=(0.55, 0.9), border=0.0),
    haze=0.004,
    saturation=1.05,
    exposure=0.2,
    tint=0.06,
)
"""Cameras of all kinds all over the world: the look of Mapillary Vistas."""

_V1_2 = {
    Id.ROAD: 13, Id.LANE_MARK: 24, Id.SIDEWALK: 15, Id.PARKING: 10, Id.RAIL_TRACK: 12, Id.BUILDING: 17, Id.WALL: 6,
    Id.FENCE: 3, Id.POLE: 45, Id.LIGHT: 48, Id.SIGN: 50, Id.VEGETATION: 30, Id.TERRAIN: 29, Id.SKY: 27, Id.PERSON: 19,
    Id.RIDER: 20, Id.CAR: 55, Id.TRUCK: 61, Id.BUS: 54, Id.TRAIN: 58, Id.MOTORCYCLE: 57, Id.BICYCLE: 52, Id.EGO: 64,
    Id.STATIC: 51, Id.DYNAMIC: 62,
}  # fmt: skip
_V2_0 = {
    Id.ROAD: 21, Id.LANE_MARK: 35, Id.SIDEWALK: 24, Id.PARKING: 17, Id.RAIL_TRACK: 20, Id.BUILDING: 27, Id.WALL: 12,
    Id.FENCE: 5, Id.POLE: 85, Id.LIGHT: 92, Id.SIGN: 100, Id.VEGETATION: 64, Id.TERRAIN: 63, Id.SKY: 61, Id.PERSON: 30,
    Id.RIDER: 33, Id.CAR: 108, Id.TRUCK: 114, Id.BUS: 107, Id.TRAIN: 111, Id.MOTORCYCLE: 110, Id.BICYCLE: 105,
    Id.EGO: 120, Id.STATIC: 122, Id.DYNAMIC: 119,
}  # fmt: skip


def write_mapillary(
    data_root: Path | str, train: int, val: int, size: Size = (120, 160), seed: int = 0
) -> Path:
    """Write ``mapillary/{training,validation}/images/*.jpg`` and ``.../{v1.2,v2.0}/labels/*.png`` (palette PNGs).

    Images differ in size, as in the genuine data: every second one is a quarter lower.

    Args:
        data_root: Folder of the datasets; made if it does not exist.
        train: Number of scenes to train on; they have labels too, as in the genuine data.
        val: Number of scenes to validate on.
        size: Height and width of the larger ones in pixels.
        seed: Which scenes; the same arguments always write the same bytes.

    Returns:
        The dataset's folder.

    Raises:
        InputError: The folder holds files that were not drawn here.
    """
    labels = {"v1.2": _label(_V1_2, unlabeled=65), "v2.0": _label(_V2_0, unlabeled=123)}
    shots = []
    for stream, folder, count in ((0, "training", train), (1, "validation", val)):
        for index in range(count):
            stem = f"{'_aBcDeF'[index % 7]}{'Xy-Z'[index % 4]}{stream}{index:018d}"
            files: dict[str, Encode] = {f"{folder}/images/{stem}.jpg": image_jpeg}
            files |= {f"{folder}/{version}/labels/{stem}.png": label for version, label in labels.items()}
            lower = (size[0] * 3 // 4, size[1]) if index % 2 else None
            shots.append(Shot((seed, _STREAM, stream, index), files, lower))
    return write_shots(Path(data_root) / "mapillary", shots, size, EVERYWHERE)


def _label(raw: Mapping[Id, int], unlabeled: int) -> Encode:
    known = {int(ident): value for ident, value in raw.items()}
    colors = {known[ident]: CITYSCAPES_19.colors[index] for ident, index in CITYSCAPES_IDS.items()}
    return partial(palette_label, table=table(known, others=unlabeled), colors=colors)
