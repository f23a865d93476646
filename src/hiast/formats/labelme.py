"""Reading the JSON files of labelme (source: labelme, utils/shape.py, whose rules of drawing are followed)."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.formats.items import Labels, Size
from hiast.formats.names import NameTable
from hiast.formats.pictures import check_size, read_png
from hiast.formats.source import expect, load_json, objects, take

_LINE_WIDTH = 10
_POINT_RADIUS = 5
Points = list[tuple[float, float]]


class LabelmeReader:
    """Reads JSON files of labelme: polygons, rectangles, circles, lines, points and masks.

    Later shapes are on top. Pixels that no shape covers are ignored, or belong to ``background``.

    Args:
        path: Folder, with one JSON file per image below it, or one file.
        classes: Class names in the order of their indices.
        ignored: Further labels whose pixels are ignored.
        background: Class of the pixels that no shape covers; None: they are ignored.

    Raises:
        InputError: There is no such file, or ``background`` is no class.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        ignored: Iterable[str] = (),
        background: str | None = None,
    ) -> None:
        self._table = NameTable.of(classes, ignored)
        self.classes = self._table.classes
        self._background = (
            IGNORED if background is None else self._table.index(background, "The setting background")
        )
        root = Path(path)
        files = sorted(root.rglob("*.json")) if root.is_dir() else [root]
        base = root if root.is_dir() else root.parent
        self._files = {
            file.relative_to(base).with_suffix("").as_posix(): file for file in files if file.is_file()
        }
        if not self._files:
            raise InputError(f"{root} holds no JSON files of labelme.")

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(sorted(self._files))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; also used where the file does not tell it.

        Raises:
            InputError: The file is missing, damaged, of another size, or names an unknown label or kind of shape.
        """
        file, content = self._content(name)
        own = _size(content, file) or size
        if own is None:
            raise InputError(f"{file} does not tell the size of its image (imageHeight, imageWidth): add it.")
        canvas = Image.new("L", (own[1], own[0]), self._background)
        for shape in objects(take(content, "shapes", list, file), f"{file}: 'shapes'"):
            index = self._table.index(take(shape, "label", str, file), file)
            _draw(canvas, shape, index, file)
        return check_size(np.array(canvas), size, file)

    def _content(self, name: str) -> tuple[Path, dict[str, Any]]:
        if name not in self._files:
            raise InputError(f"There is no JSON file of the image '{name}'.")
        file = self._files[name]
        return file, expect(load_json(file), dict, str(file))

    def image(self, name: str) -> Path | None:
        """The image file that the JSON file names, if it exists."""
        file, content = self._content(name)
        path = content.get("imagePath")
        if not isinstance(path, str) or not path:
            return None
        image = file.parent / PurePosixPath(path.replace("\\", "/"))
        return image if image.is_file() else None


def _size(content: dict[str, Any], file: Path) -> Size | None:
    if content.get("imageHeight") is None or content.get("imageWidth") is None:
        return None
    height, width = take(content, "imageHeight", int, file), take(content, "imageWidth", int, file)
    if min(height, width) < 1 or height * width > 1 << 30:
        raise InputError(f"{file}: the size {width} x {height} makes no sense; the file is damaged.")
    return height, width


def _draw(canvas: Image.Image, shape: dict[str, Any], index: int, file: Path) -> None:
    kind = shape.get("shape_type") or "polygon"
    points = _points(take(shape, "points", list, file), file)
    draw = ImageDraw.Draw(canvas)
    if kind in ("polygon", "oriented_rectangle"):
        _need(len(points) >= 3, kind, file)
        draw.polygon(points, fill=index, outline=index)
    elif kind in ("line", "linestrip"):
        _need(len(points) >= 2, kind, file)
        draw.line(points, fill=index, width=_LINE_WIDTH)
    elif kind == "point":
        _need(len(points) == 1, kind, file)
        _disk(draw, points[0], _POINT_RADIUS, index)
    elif kind in ("rectangle", "circle", "mask"):
        _need(len(points) == 2, kind, file)
        (left, top), (right, bottom) = points
        if kind == "circle":
            _disk(draw, points[0], math.hypot(right - left, bottom - top), index)
        elif kind == "rectangle":
            box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            draw.rectangle(box, fill=index, outline=index)
        else:
            _stamp(canvas, shape, (int(left), int(top)), index, file)
    else:
        raise InputError(f"{file}: shapes of the kind '{kind}' cannot be read: use polygons.")


def _disk(draw: ImageDraw.ImageDraw, center: tuple[float, float], radius: float, index: int) -> None:
    x, y = center
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=index, outline=index)


def _stamp(
    canvas: Image.Image, shape: dict[str, Any], corner: tuple[int, int], index: int, file: Path
) -> None:
    """Draw the pixels of a mask, a PNG file as text, with its upper left pixel at ``corner``."""
    try:
        content = base64.b64decode(take(shape, "mask", str, file), validate=True)
    except binascii.Error as error:
        raise InputError(f"{file}: a mask cannot be decoded ({error}); the file is damaged.") from error
    pixels = read_png(content, f"{file}: a mask").values
    _need(pixels.ndim == 2, "mask", file)
    canvas.paste(index, corner, Image.fromarray((pixels != 0).astype(np.uint8) * 255))


def _points(values: list[Any], file: Path) -> Points:
    points: Points = []
    for value in values:
        pair = expect(value, list, f"{file}: a point")
        numbers = all(
            isinstance(part, int | float) and math.isfinite(part) and abs(part) < 1e6 for part in pair
        )
        if len(pair) != 2 or not numbers:
            raise InputError(f"{file}: a point should be two numbers x, y; the file is damaged.")
        points.append((pair[0], pair[1]))
    return points


def _need(fits: bool, kind: str, file: Path) -> None:
    if not fits:
        raise InputError(f"{file}: a shape of the kind '{kind}' has the wrong number of points or channels.")
