"""Reading COCO's annotations of objects and stuff: run lengths, compressed or not, and polygons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.formats import raster, rle
from hiast.formats.items import Labels, Size
from hiast.formats.names import NameTable
from hiast.formats.pictures import check_size
from hiast.formats.source import expect, inside, load_json, objects, stem, take


class CocoFile:
    """A JSON file of COCO: its images and categories.

    Args:
        path: JSON file, or a folder that holds exactly one in ``annotations`` or at its top.
        prefix: What the name of the file in a folder begins with, such as "instances".
        image_folder: Folder that the file names of the images are relative to; None: it is looked for.
    """

    def __init__(self, path: Path | str, prefix: str, image_folder: Path | str | None) -> None:
        self.path = find_json(Path(path), prefix)
        self.content: dict[str, Any] = expect(load_json(self.path), dict, str(self.path))
        self.images: dict[str, dict[str, Any]] = {}
        for entry in objects(take(self.content, "images", list, self.path), f"{self.path}: 'images'"):
            name = stem(inside(take(entry, "file_name", str, self.path), self.path))
            if name in self.images:
                raise InputError(f"{self.path} names two images '{name}': give each image its own name.")
            self.images[name] = entry
        self.image_folder = None if image_folder is None else Path(image_folder)

    def category_names(self) -> dict[int, str]:
        """Category id -> name."""
        entries = objects(take(self.content, "categories", list, self.path), f"{self.path}: 'categories'")
        return {take(entry, "id", int, self.path): take(entry, "name", str, self.path) for entry in entries}

    def names_by_id(self) -> dict[int | str, str]:
        """Id of an image -> name."""
        names: dict[int | str, str] = {}
        for name, entry in self.images.items():
            number: Any = take(entry, "id", (int, str), self.path)
            if names.setdefault(number, name) != name:
                raise InputError(f"{self.path} gives the id {number} to two images; the file is damaged.")
        return names

    def size(self, name: str, size: Size | None) -> Size:
        """(height, width) of an image, or ``size`` where the file does not tell.

        Raises:
            InputError: There is no such image, or nobody knows its size.
        """
        entry = self.entry(name)
        if entry.get("height") is None or entry.get("width") is None:
            if size is None:
                raise InputError(f"{self.path} does not tell the size of '{name}': add its height and width.")
            return size
        own = take(entry, "height", int, self.path), take(entry, "width", int, self.path)
        if min(own) < 1:
            raise InputError(f"{self.path}: '{name}' has the size {own[1]} x {own[0]}; the file is damaged.")
        return own

    def entry(self, name: str) -> dict[str, Any]:
        """The entry of an image.

        Raises:
            InputError: There is no such image.
        """
        if name not in self.images:
            raise InputError(f"{self.path} does not name the image '{name}'.")
        return self.images[name]

    def image(self, name: str) -> Path | None:
        """The image file, if it is found."""
        file = inside(take(self.entry(name), "file_name", str, self.path), self.path)
        folder = self.path.parent
        subset = self.path.stem.rpartition("_")[2]
        near = [
            folder.parent / "images" / subset,
            folder.parent / "images",
            folder.parent / subset,
            folder.parent,
            folder,
        ]
        places = near if self.image_folder is None else [self.image_folder]
        return next((place / file for place in places if (place / file).is_file()), None)


def find_json(path: Path, prefix: str) -> Path:
    """The JSON file at ``path``, or the only one in the folder ``path``.

    Raises:
        InputError: There is none, or there are several.
    """
    if not path.is_dir():
        return path
    for folder in (path / "annotations", path):
        found = sorted(folder.glob("*.json"))
        named = [file for file in found if file.name.startswith(prefix)] or found
        if len(named) == 1:
            return named[0]
        if named:
            names = ", ".join(file.name for file in named)
            raise InputError(f"{folder} holds several JSON files ({names}): name the file to read.")
    raise InputError(f"{path} holds no JSON file: name the file with the annotations.")


class CocoReader:
    """Reads annotations of objects or stuff.

    Pixels of no annotation are ignored, or belong to ``background``. Where annotations overlap, the one with the
    smaller area is on top.

    Args:
        path: JSON file, or the folder that holds it.
        classes: Class names in the order of their indices.
        ignored: Further categories whose pixels are ignored.
        image_folder: Folder of the images; None: it is looked for beside the file.
        background: Class of the pixels of no annotation; None: they are ignored.

    Raises:
        InputError: Something is missing or does not fit; the message names the file.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        ignored: Iterable[str] = (),
        image_folder: Path | str | None = None,
        background: str | None = None,
    ) -> None:
        table = NameTable.of(classes, ignored)
        self.classes = table.classes
        self._background = (
            IGNORED if background is None else table.index(background, "The setting background")
        )
        self._file = CocoFile(path, "instances", image_folder)
        self._path = self._file.path
        names = self._file.category_names()
        by_id = self._file.names_by_id()
        self._annotations: dict[str, list[tuple[int, dict[str, Any]]]] = {
            name: [] for name in self._file.images
        }
        listed = objects(self._file.content.pop("annotations", None), f"{self._path}: 'annotations'")
        for entry in listed:
            category = take(entry, "category_id", int, self._path)
            image = take(entry, "image_id", (int, str), self._path)
            if category not in names or image not in by_id:
                raise InputError(
                    f"{self._path}: an annotation names category {category} and image {image}, "
                    "one of which is not listed; the file is damaged."
                )
            self._annotations[by_id[image]].append((table.index(names[category], self._path), entry))

    def items(self) -> tuple[str, ...]:
        """Names of the images, sorted."""
        return tuple(sorted(self._annotations))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: An annotation is damaged or the size differs.
        """
        height, width = own = self._file.size(name, size)
        # Column by column, as run lengths count.
        columns = np.full((width, height), self._background, np.uint8)
        where = f"{self._path}, image '{name}'"
        for index, entry in sorted(self._annotations[name], key=lambda each: -_area(each[1], self._path)):
            _draw(columns, take(entry, "segmentation", (dict, list), where), index, where)
        return check_size(np.ascontiguousarray(columns.T), size or own, where)

    def image(self, name: str) -> Path | None:
        """The image file, if it is found."""
        return self._file.image(name)


def _area(entry: dict[str, Any], path: Path) -> float:
    return take(entry, "area", float, path) if "area" in entry else 0.0


def _draw(columns: Labels, segmentation: Any, index: int, where: str) -> None:
    """Draw a segmentation into a label map uint8 [W, H]."""
    size = columns.shape[1], columns.shape[0]
    if isinstance(segmentation, list):
        for ring in segmentation:
            raster.fill(columns.T, polygon(ring, where), index)
        return
    if take(segmentation, "size", list, where) != list(size):
        raise InputError(
            f"{where}: run lengths of size {segmentation['size']} do not fit {list(size)} (height, width)."
        )
    counts = take(segmentation, "counts", (str, list), where)
    if isinstance(counts, str):
        lengths = rle.from_text(counts, where)
    elif all(type(count) is int for count in counts):
        lengths = rle.as_lengths(counts, where)
    else:
        raise InputError(f"{where}: 'counts' should hold whole numbers; the file is damaged.")
    columns.reshape(-1)[rle.pixels(lengths, size, where)] = index


def polygon(ring: Any, where: str) -> raster.Points:
    """Corners float64 [N, 2] of a flat list x, y, x, y, ...

    Raises:
        InputError: It is not a list of at least three corners.
    """
    numbers = isinstance(ring, list) and all(isinstance(part, int | float) for part in ring)
    if (
        not numbers
        or len(ring) < 6
        or len(ring) % 2
        or not np.isfinite(ring).all()
        or np.abs(ring).max() > 1e6
    ):
        raise InputError(
            f"{where}: a polygon should be a list of at least three points x, y; the file is damaged."
        )
    return np.array(ring, np.float64).reshape(-1, 2)
