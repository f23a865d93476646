"""Drawn scenes in the layout of IDD's two parts, with polygons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.scenes.ids import Id
from hiast.scenes.look import CAMERA
from hiast.scenes.writers.encode import image_jpeg, image_png
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 8

DUSTY = replace(
    CAMERA,
    layout=replace(CAMERA.layout, lanes=(1, 1), verge=0.8, border=0.0),
    white_balance=(1.1, 1.0, 0.85),
    haze=0.01,
    saturation=1.0,
    contrast=0.95,
)
"""Dust and warm light: the look of IDD."""

# What of IDD's names differs from that of the drawn thing.
_NAMES = {
    Id.TERRAIN: "non-drivable fallback",
    Id.LIGHT: "traffic light",
    Id.SIGN: "traffic sign",
    Id.LANE_MARK: "road",
    Id.EGO: "ego vehicle",
    Id.OUT_OF_ROI: "out of roi",
    Id.RAIL_TRACK: "rail track",
    Id.STATIC: "obs-str-bar-fallback",
    Id.DYNAMIC: "vehicle fallback",
}
# Two kinds of drawn ids with one name are one thing.
_SAME = {int(Id.LANE_MARK): int(Id.ROAD)}


def write_idd(
    data_root: Path | str, train: int, val: int, size: Size = (108, 192), seed: int = 0
) -> tuple[Path, Path]:
    """Write ``{IDD_Segmentation,idd20kII}/{leftImg8bit,gtFine}/{train,val}/SEQUENCE/*`` with polygons.

    Images are PNGs in the first part and JPEGs in the second. There are no label PNGs, as in the archives: IDD's tools
    make them from the polygons.

    Args:
        data_root: Folder of the datasets; made if it does not exist.
        train: Number of scenes to train on of each part; they have labels too, as in the genuine data.
        val: Number of scenes to validate on of each part.
        size: Height and width in pixels.
        seed: Which scenes; the same arguments always write the same bytes.

    Returns:
        The folders of both parts.

    Raises:
        InputError: A folder holds files that were not drawn here.
    """
    first = _write_part(Path(data_root) / "IDD_Segmentation", (seed, _STREAM, 0), train, val, size)
    second = _write_part(Path(data_root) / "idd20kII", (seed, _STREAM, 1), train, val, size)
    return first, second


def _write_part(folder: Path, seed: tuple[int, ...], train: int, val: int, size: Size) -> Path:
    part = seed[-1]
    shots = []
    for stream, split, count in ((0, "train", train), (1, "val", val)):
        for index in range(count):
            name = f"{index:06d}" if part == 0 else f"frame{60 * index:04d}"
            stem = f"{split}/{201 + 100 * stream + index % 2}/{name}"
            image = f"leftImg8bit/{stem}_leftImg8bit.{'png' if part == 0 else 'jpg'}"
            files: dict[str, Encode] = {
                image: image_png if part == 0 else image_jpeg,
                f"gtFine/{stem}_gtFine_polygons.json": _polygons,
            }
            shots.append(Shot((*seed, stream, index), files))
    return write_shots(folder, shots, size, DUSTY)


def _polygons(image: NDArray[np.uint8], ids: NDArray[np.uint8]) -> bytes:
    """The ids as polygons through the centers of pixels; those that lie within another follow it."""
    height, width = ids.shape
    regions: list[tuple[float, dict[str, object]]] = []
    joined = ids.copy()
    for ident, other in _SAME.items():
        joined[ids == ident] = other
    for ident in np.unique(joined).tolist():
        if not ident:
            continue
        name = _NAMES.get(Id(ident), Id(ident).name.lower())
        count, parts = cv2.connectedComponents((joined == ident).astype(np.uint8), connectivity=4)
        for part in range(1, count):
            outlines, _ = cv2.findContours(
                (parts == part).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            corners = max(outlines, key=len)[:, 0].tolist()
            within = np.ptp(corners, axis=0) + 1
            # A polygon of IDD has at least three corners.
            corners += [corners[-1]] * max(0, 3 - len(corners))
            thing = {
                "date": "",
                "deleted": 0,
                "draw": True,
                "id": len(regions),
                "label": name,
                "polygon": corners,
            }
            regions.append((float(within.prod()), thing))
    ordered = [thing for _, thing in sorted(regions, key=lambda region: -region[0])]
    return json.dumps({"imgHeight": height, "imgWidth": width, "objects": ordered}).encode()
