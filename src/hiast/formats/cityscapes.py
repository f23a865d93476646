"""Polygons of Cityscapes (source: cityscapesScripts, helpers/annotation.py and preparation/json2labelImg.py).

gtFine/NAME_gtFine_polygons.json     polygons through the centers of pixels; later ones are drawn over earlier ones
gtFine/NAME_gtFine_labelIds.png      an id per pixel, 0 for ignored
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, IGNORED, LabelSpace
from hiast.errors import InputError
from hiast.formats.coco_reader import polygon
from hiast.formats.items import Item, Labels, Size, checked
from hiast.formats.names import NameTable
from hiast.formats.pictures import check_size, gray_png
from hiast.formats.regions import outer_first, outline, regions
from hiast.formats.sink import open_sink
from hiast.formats.source import expect, load_json, objects, take

_IMAGE_END = "_leftImg8bit"
_ENDS = ("_gtFine_polygons.json", "_gtCoarse_polygons.json", "_polygons.json")
_UNLABELED = "unlabeled"
NOT_EVALUATED = frozenset(
    {
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking",
        "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer", "license plate",
    }
)  # fmt: skip
"""Labels of Cityscapes that the benchmark does not evaluate; they are ignored unless a class has that name."""


def write_cityscapes(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    overwrite: bool = False,
) -> int:
    """Write label maps as polygons of Cityscapes, and as pictures of ids.

    An ending ``_leftImg8bit`` of a name is left out. Polygons have no holes: a region is followed by those that lie
    within it, and ignored pixels within a region are a polygon called "unlabeled". Drawn in their order the polygons
    give the label map exactly. Confidence is dropped. The ids are the official ones if all classes are among the 19
    of Cityscapes, else the class index plus 1.

    Args:
        path: Folder, or zip file if it ends with ".zip".
        items: The labeled images; they are taken one by one.
        classes: Class names.
        overwrite: Replace an earlier export.

    Returns:
        Number of items written.

    Raises:
        InputError: An item cannot be written, or there is something at ``path`` already.
        OSError: The export cannot be written.
    """
    ids = np.zeros(256, np.uint8)
    ids[: len(classes)] = _ids(classes.names)
    taken: set[str] = set()
    with open_sink(
        path, ("gtFine", "*_gtFine_polygons.json", "*_gtFine_labelIds.png"), overwrite=overwrite
    ) as sink:
        for item in checked(items, classes):
            name = item.name.removesuffix(_IMAGE_END)
            if name in taken:
                raise InputError(
                    f"Two items would be called '{name}' without '{_IMAGE_END}': rename one of them."
                )
            taken.add(name)
            text = json.dumps(_annotation(item, classes.names), ensure_ascii=False)
            sink.write(f"gtFine/{name}_gtFine_polygons.json", text.encode("utf-8"))
            sink.write(f"gtFine/{name}_gtFine_labelIds.png", gray_png(ids[item.labels]))
        sink.folder("gtFine")
    return len(taken)


def _ids(names: Sequence[str]) -> list[int]:
    official = {CITYSCAPES_19.names[index]: raw for raw, index in CITYSCAPES_IDS.items()}
    if set(names) <= official.keys():
        return [official[name] for name in names]
    return [index + 1 for index in range(len(names))]


def _annotation(item: Item, names: Sequence[str]) -> dict[str, Any]:
    height, width = item.size
    shapes = [
        {
            "label": _UNLABELED if region.label == IGNORED else names[region.label],
            "polygon": outline(region).tolist(),
        }
        for region in outer_first(list(regions(item.labels, ignored=True)))
    ]
    return {"imgHeight": height, "imgWidth": width, "objects": shapes}


class CityscapesPolygonReader:
    """Reads polygons of Cityscapes.

    Names of images are paths below the folder (or below ``gtFine`` in it) without the ending
    ``_gtFine_polygons.json``; with ``_leftImg8bit`` at the end they are understood as well. A label such as
    "cargroup" counts as "car".

    Args:
        path: Folder; all files below it that end with ``_polygons.json`` are read.
        classes: Class names in the order of their indices.
        ignored: Further labels whose pixels are ignored.

    Raises:
        InputError: There is no such file.
    """

    def __init__(self, path: Path | str, classes: Sequence[str], *, ignored: Iterable[str] = ()) -> None:
        self._table = NameTable.of(classes, NOT_EVALUATED | set(ignored))
        self.classes = self._table.classes
        self.root = Path(path) / "gtFine" if (Path(path) / "gtFine").is_dir() else Path(path)
        self._files: dict[str, Path] = {}
        for file in sorted(self.root.rglob("*_polygons.json")):
            below = file.relative_to(self.root).as_posix()
            name = next(below.removesuffix(end) for end in _ENDS if below.endswith(end))
            if name in self._files:
                raise InputError(
                    f"{file} and {self._files[name]} are two annotations of one image: keep one of them."
                )
            self._files[name] = file
        if not self._files:
            raise InputError(f"{self.root} holds no files that end with _polygons.json.")

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(sorted(self._files))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: The file is missing, damaged, of another size, or names an unknown label.
        """
        file = self._files.get(name.removesuffix(_IMAGE_END))
        if file is None:
            raise InputError(f"{self.root} holds no polygons of the image '{name}'.")
        content = expect(load_json(file), dict, str(file))
        height, width = take(content, "imgHeight", int, file), take(content, "imgWidth", int, file)
        if min(height, width) < 1 or height * width > 1 << 30:
            raise InputError(f"{file}: the size {width} x {height} makes no sense; the file is damaged.")
        canvas = Image.new("L", (width, height), IGNORED)
        draw = ImageDraw.Draw(canvas)
        for shape in objects(take(content, "objects", list, file), f"{file}: 'objects'"):
            index = self._index(take(shape, "label", str, file), file)
            corners = [part for point in take(shape, "polygon", list, file) for part in _pair(point, file)]
            if not shape.get("deleted") and index is not None:
                draw.polygon([tuple(point) for point in polygon(corners, str(file)).tolist()], fill=index)
        return check_size(np.array(canvas), size, file)

    def _index(self, label: str, file: Path) -> int | None:
        """Class index of a label; None: it is not drawn."""
        if label == "license plate" and label not in self.classes:
            return None  # It has no id, so that the official tools do not draw it over the car.
        single = label.removesuffix("group")
        if label not in self.classes and label not in self._table.ignored and single != label:
            label = single
        return self._table.index(label, file)

    def image(self, name: str) -> Path | None:
        """The image in the folder ``leftImg8bit`` beside ``gtFine``, if it exists."""
        file = self._files.get(name.removesuffix(_IMAGE_END))
        if file is None:
            return None
        parts = ["leftImg8bit" if part in ("gtFine", "gtCoarse") else part for part in file.parent.parts]
        base = name.removesuffix(_IMAGE_END).rpartition("/")[2]
        image = Path(*parts) / f"{base}{_IMAGE_END}.png"
        return image if image.is_file() else None


def _pair(point: Any, file: Path) -> list[float]:
    pair = expect(point, list, f"{file}: a point")
    if len(pair) != 2:
        raise InputError(f"{file}: a point should be two numbers x, y; the file is damaged.")
    return pair
