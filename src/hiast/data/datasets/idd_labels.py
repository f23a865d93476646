"""Labels of IDD: its classes, and its four kinds of label files read as ids of one table.

Names, ids and the classes of Cityscapes that they stand for are those of IDD's own tools (helpers/anue_labels.py of
AutoNUE/public-code, columns id, csTrainId and level3Id).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.label_files import read_translated
from hiast.data.io.images import MAX_PIXELS
from hiast.data.io.labels import Ids, label_size, read_ids
from hiast.errors import InputError

IDD_NAMES = (
    "road", "parking", "drivable fallback", "sidewalk", "rail track", "non-drivable fallback", "person", "animal",
    "rider", "motorcycle", "bicycle", "autorickshaw", "car", "truck", "bus", "caravan", "trailer", "train",
    "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard", "traffic sign", "traffic light", "pole",
    "polegroup", "obs-str-bar-fallback", "building", "bridge", "tunnel", "vegetation", "sky", "fallback background",
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "license plate",
)  # fmt: skip
"""Names of IDD's labels; the position is the id."""

_TERRAIN = "non-drivable fallback"
_UNLABELED = IDD_NAMES.index("unlabeled")

IDD_IDS: Mapping[int, int] = MappingProxyType(
    {
        IDD_NAMES.index(_TERRAIN if name == "terrain" else name): index
        for index, name in enumerate(CITYSCAPES_19.names)
    }
)
"""Raw id -> class: the 18 labels of the same name, and terrain for "non-drivable fallback"."""

VOID = (frozenset(range(len(IDD_NAMES))) | {255}) - IDD_IDS.keys()
"""Ids that stand for none of the classes; autorickshaws are among them."""

_OF_TRAIN_ID = {index: raw for raw, index in IDD_IDS.items()}
# Of the labels that share a level 3 id, the one that is evaluated, or the first: its id 12 joins trains and what is
# ignored, and is ignored.
_OF_LEVEL_3 = {
    level: IDD_NAMES.index(name)
    for level, name in enumerate(
        (
            "road", "parking", "sidewalk", _TERRAIN, "person", "rider", "motorcycle", "bicycle", "autorickshaw",
            "car", "truck", "bus", "vehicle fallback", "curb", "wall", "fence", "guard rail", "billboard",
            "traffic sign", "traffic light", "pole", "obs-str-bar-fallback", "building", "bridge", "vegetation", "sky",
        )
    )
}  # fmt: skip


class IDDLabels:
    """Reads a label file of IDD; its kind is recognized by the end of its name.

    - ``_polygons.json``, as downloaded: drawn as IDD's tools draw them, through the centers of pixels, later ones over
      earlier ones.
    - ``_labelcsTrainIds.png`` (train ids of Cityscapes) and ``_labelids.png`` (IDD's ids), made by IDD's tools.
    - ``_labellevel3Ids.png``, made by IDD's tools for its challenges. Some labels share an id there: trains are
      ignored, animals count as persons, rail tracks as terrain, groups of poles as poles, the far background as sky.
    """

    def __call__(self, path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
        """IDD's ids, uint8 [H, W].

        Args:
            path: Label file.
            max_pixels: Larger ones are refused.

        Raises:
            InputError: The file cannot be read, or it names an unknown label.
        """
        if path.suffix == ".json":
            return _draw(path, max_pixels)
        if path.name.endswith("_labelcsTrainIds.png"):
            return read_translated(path, max_pixels, _OF_TRAIN_ID, _UNLABELED)
        if path.name.endswith("_labellevel3Ids.png"):
            return read_translated(path, max_pixels, _OF_LEVEL_3, _UNLABELED)
        return read_ids(path, max_pixels)

    def describe(self) -> str:
        """Its name: there are no settings."""
        return type(self).__qualname__

    def size(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
        """(height, width) of a label.

        Raises:
            InputError: The file cannot be read.
        """
        if path.suffix == ".json":
            return _size(_load(path), path, max_pixels)
        return label_size(path, max_pixels)


_IDS = {name: raw for raw, name in enumerate(IDD_NAMES)}
_FARTHEST = 1e6
"""Coordinates beyond it are damage."""


def _draw(path: Path, max_pixels: int) -> Ids:
    """IDD's ids of polygons, uint8 [H, W]; what no polygon covers is unlabeled."""
    content = _load(path)
    height, width = _size(content, path, max_pixels)
    picture = Image.new("L", (width, height), _UNLABELED)
    draw = ImageDraw.Draw(picture)
    objects = content.get("objects")
    if not isinstance(objects, list):
        raise _damaged(path, "has no list of objects")
    for thing in objects:
        if not isinstance(thing, dict):
            raise _damaged(path, "holds an object that is none")
        if thing.get("deleted"):
            continue
        raw, corners = _id(thing.get("label"), path), _corners(thing.get("polygon"), path)
        if len(corners) > 1:
            draw.polygon(corners, fill=raw)
    return np.array(picture)


def _id(label: Any, path: Path) -> int:
    """Id of a label; that of a group, such as "cargroup", is the id of one of them."""
    name = label if label in IDD_NAMES else str(label).removesuffix("group")
    if name not in _IDS:
        raise InputError(
            f"{path} names the label '{label}', which IDD does not have: correct it, or leave the image out by a list "
            "file (train_list, val_list)."
        )
    return _IDS[name]


def _corners(polygon: Any, path: Path) -> list[tuple[float, float]]:
    if not isinstance(polygon, list):
        raise _damaged(path, "holds an object without polygon")
    corners = []
    for point in polygon:
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_coordinate, point))):
            raise _damaged(path, f"holds the corner {point}, which is not a pair of coordinates")
        corners.append((point[0], point[1]))
    return corners


def _is_coordinate(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < _FARTHEST


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "is not JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, "holds no annotation")
    return content


def _size(content: dict[str, Any], path: Path, max_pixels: int) -> tuple[int, int]:
    height, width = content.get("imgHeight"), content.get("imgWidth")
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise _damaged(path, "names no size of the image (imgHeight, imgWidth)")
    if height * width > max_pixels:
        raise InputError(
            f"{path} is of {width} x {height} pixels, more than {max_pixels} in all: set max_pixels if that is right."
        )
    return height, width


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}: it is damaged; fetch it again.")
