"""Reading Label Studio's JSON export: brush strokes, polygons and rectangles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from hiast.errors import InputError
from hiast.formats import brush, raster
from hiast.formats.coco_reader import polygon
from hiast.formats.items import Labels, Size, check_name
from hiast.formats.names import NameTable
from hiast.formats.pictures import check_size, empty
from hiast.formats.source import expect, image_file, load_json, objects, stem, take

Use = Literal["annotations", "predictions"]


class LabelStudioReader:
    """Reads a project that was exported as "JSON" (not "JSON-MIN").

    Of the annotations of a task, the last one that was not canceled counts; tasks without one are left out. Where
    shapes overlap, later ones are on top. Pixels that no shape covers are ignored.

    Args:
        path: JSON file, or a folder of them.
        classes: Class names in the order of their indices.
        ignored: Further labels whose pixels are ignored.
        use: What is read: annotations, which people made, or predictions.
        image_key: Key of the image's address in the data of a task.

    Raises:
        InputError: Something is missing or does not fit; the message names the file.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        ignored: Iterable[str] = (),
        use: Use = "annotations",
        image_key: str = "image",
    ) -> None:
        self._table = NameTable.of(classes, ignored)
        self.classes = self._table.classes
        self._use = use
        self._key = image_key
        path = Path(path)
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        tasks = [(file, task) for file in files for task in objects(load_json(file), file)]
        chosen = [
            (file, task, result) for file, task in tasks if (result := self._result(task, file)) is not None
        ]
        if not chosen:
            raise InputError(
                f"{path} holds no {use}: export the project as JSON after annotating, or set use to what it holds."
            )
        names = self._names([(file, task) for file, task, _ in chosen])
        self._tasks = dict(zip(names, chosen, strict=True))
        if len(self._tasks) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path} holds two tasks of the image '{twice}': keep one of them.")

    def _result(self, task: dict[str, Any], file: Path) -> list[dict[str, Any]] | None:
        """Shapes of the annotation or prediction that counts; None: there is none."""
        listed = task.get(self._use)
        if listed is None:
            return None
        made = [
            entry for entry in objects(listed, f"{file}: '{self._use}'") if not entry.get("was_cancelled")
        ]
        return objects(take(made[-1], "result", list, file), f"{file}: 'result'") if made else None

    def _names(self, tasks: list[tuple[Path, dict[str, Any]]]) -> list[str]:
        """Names of the images: those that the tasks hold, or the file names of their addresses."""
        addresses: list[str] = []
        given: list[str | None] = []
        for file, task in tasks:
            data = take(task, "data", dict, file)
            name = data.get("name")
            given.append(name if isinstance(name, str) else None)
            addresses.append(_path_of(take(data, self._key, str, f"{file}: 'data'")))
        short = [stem(PurePosixPath(address).name) for address in addresses]
        guessed = short if len(set(short)) == len(short) else [stem(address) for address in addresses]
        names = [guess if name is None else name for name, guess in zip(given, guessed, strict=True)]
        for name in names:
            check_name(name, str(tasks[0][0]))
        return names

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(sorted(self._tasks))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; also used where the task has no shape to tell it.

        Raises:
            InputError: A shape is damaged or of an unknown kind, or the size differs or is not known.
        """
        if name not in self._tasks:
            raise InputError(f"There is no task of the image '{name}'.")
        file, task, shapes = self._tasks[name]
        where = f"{file}, image '{name}'"
        own = _size(task, shapes, where) or size
        if own is None:
            raise InputError(f"{where}: nothing is painted that would tell the size of the image.")
        labels = empty(own)
        for shape in shapes:
            self._draw(labels, shape, where)
        return check_size(labels, size, where)

    def _draw(self, labels: Labels, shape: dict[str, Any], where: str) -> None:
        kind = take(shape, "type", str, where).lower()
        if not kind.endswith("labels"):
            return  # Answers to other questions of the interface: choices, ratings, texts, relations.
        value = take(shape, "value", dict, where)
        named = take(value, kind, list, where) if kind in value else []
        if not named:
            raise InputError(f"{where}: a shape has no label: give it one in Label Studio.")
        if shape.get("image_rotation") or value.get("rotation"):
            raise InputError(f"{where}: a shape or its image is rotated, which cannot be read: turn it back.")
        index = self._table.index(expect(named[0], str, f"{where}: a label"), where)
        size = labels.shape
        if "rle" in value:
            labels[brush.decode(_bytes(value["rle"], where), (size[0], size[1]), where)] = index
        elif kind in ("polygonlabels", "rectanglelabels", "labels") and (
            "points" in value or "width" in value
        ):
            raster.fill(labels, _corners(value, (size[0], size[1]), where), index)
        else:
            raise InputError(
                f"{where}: shapes of the kind '{kind}' cannot be read: use brush, polygon or rectangle."
            )

    def image(self, name: str) -> Path | None:
        """The image file, if the address of the task is a path that exists below the folder of the JSON file."""
        file, task, _ = self._tasks[name]
        below = file.parent / _path_of(take(task["data"], self._key, str, file))
        return below if below.is_file() else image_file(file.parent / "images", name)


def _path_of(address: str) -> str:
    """The relative path in the address of an image, less what Label Studio puts before uploaded names."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path)
    return re.sub(r"^(?:data/)?upload/\d+/[0-9a-f]{8}-", "", path.lstrip("/"))


def _size(task: dict[str, Any], shapes: list[dict[str, Any]], where: str) -> Size | None:
    for shape in shapes:
        if "original_height" in shape:
            return _positive(shape, "original_height", where), _positive(shape, "original_width", where)
    data = task["data"]
    if "height" in data and "width" in data:
        return _positive(data, "height", where), _positive(data, "width", where)
    return None


def _positive(entry: dict[str, Any], key: str, where: str) -> int:
    value = take(entry, key, int, where)
    if not 0 < value < 1 << 20:
        raise InputError(f"{where}: '{key}' is {value}; the file is damaged.")
    return value


def _bytes(numbers: Any, where: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if not isinstance(numbers, list) or not all(
        type(number) is int and 0 <= number <= 255 for number in numbers
    ):
        raise InputError(f"{where}: 'rle' should hold numbers from 0 to 255; the file is damaged.")
    return np.array(numbers, np.uint8)


def _corners(value: dict[str, Any], size: Size, where: str) -> raster.Points:
    """Corners float64 [N, 2] in pixels of a polygon or rectangle in percent of width and height."""
    if "points" in value:
        flat = [part for point in take(value, "points", list, where) for part in expect(point, list, where)]
    else:
        left, top = take(value, "x", float, where), take(value, "y", float, where)
        right, bottom = left + take(value, "width", float, where), top + take(value, "height", float, where)
        flat = [left, top, right, top, right, bottom, left, bottom]
    corners: raster.Points = polygon(flat, where) * np.array([size[1] / 100, size[0] / 100])
    return corners
