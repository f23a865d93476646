"""Datumaro's "common semantic segmentation" (source: Datumaro's documentation of the format).

dataset_meta.json     names and colors of the classes
masks/NAME.png        the color of the class
images/NAME.jpg       the images, if they are copied or linked
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hiast.classes import Color, LabelSpace
from hiast.errors import InputError
from hiast.formats.items import Images, Item, Labels, Size, checked
from hiast.formats.names import BLACK, NameTable, distinct_colors, name_of_ignored, voc_colors
from hiast.formats.pictures import check_size, color_png, from_colors, from_values, paint, read_png
from hiast.formats.sink import open_sink, place_image
from hiast.formats.source import Files, as_json, expect, take

META = "dataset_meta.json"
MASKS = "masks"
_IMAGES = "images"


def flat_name(name: str) -> str:
    """A name without folders, since Datumaro identifies masks by their file names alone: "a/b" becomes "a__b"."""
    return name.replace("/", "__")


def write_datumaro(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    images: Images = "copy",
    overwrite: bool = False,
) -> int:
    """Write label maps as "common semantic segmentation".

    Ignored pixels are a class of their own, black, called "background" or, if a class has that name, "ignored".
    Confidence is dropped. Folders in names become "__".

    Args:
        path: Folder, or zip file if it ends with ".zip".
        items: The labeled images; they are taken one by one.
        classes: Names and colors.
        images: Whether the images are put in as well; Datumaro recognizes the format only if they are.
        overwrite: Replace an earlier export.

    Returns:
        Number of items written.

    Raises:
        InputError: An item cannot be written, or there is something at ``path`` already.
        OSError: The export cannot be written.
    """
    colors = distinct_colors(classes)
    names = (name_of_ignored(classes), *classes.names)
    meta = {
        "label_map": {str(number): name for number, name in enumerate(names)},
        "segmentation_colors": [list(color) for color in (BLACK, *colors)],
        "background_label": "0",
    }
    taken: set[str] = set()
    with open_sink(path, (META, MASKS, _IMAGES), overwrite=overwrite) as sink:
        sink.write(META, json.dumps(meta, ensure_ascii=False, indent=1).encode("utf-8"))
        sink.folder(MASKS)
        sink.folder(_IMAGES)
        for item in checked(items, classes):
            name = flat_name(item.name)
            if name in taken:
                raise InputError(f"Two items would be called '{name}' without folders: rename '{item.name}'.")
            taken.add(name)
            sink.write(f"{MASKS}/{name}.png", color_png(paint(item.labels, colors)))
            place_image(sink, f"{_IMAGES}/{name}{item.image.suffix}", item, images)
    return len(taken)


class DatumaroReader:
    """Reads "common semantic segmentation" from a folder or a zip file.

    Args:
        path: Folder or zip file with ``dataset_meta.json`` and ``masks``.
        classes: Class names in the order of their indices.
        ignored: Further names in the file whose pixels are ignored.

    Raises:
        InputError: Something is missing or does not fit; the message names the file.
    """

    def __init__(self, path: Path | str, classes: Sequence[str], *, ignored: Iterable[str] = ()) -> None:
        table = NameTable.of(classes, ignored)
        self.classes = table.classes
        self._files = Files(path)
        meta, where = _meta(self._files)
        names = _names(meta, where)
        self._values = table.split(names)
        self._colors = table.split(
            {color: names[value] for value, color in _colors(meta, names, where).items()}
        )
        self._masks = self._files.named(MASKS, ".png")

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(self._masks)

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: The mask is missing, damaged, of another size, or holds what stands for no class.
        """
        file = self._masks.get(name, f"{MASKS}/{name}.png")
        where = self._files.where(file)
        picture = read_png(self._files.read(file), where)
        colors = picture.colors(where)
        if colors is not None:
            labels = from_colors(colors, self._colors[0], where, self._colors[1])
        else:
            labels = from_values(picture.values, self._values[0], where, self._values[1])
        return check_size(labels, size, where)

    def image(self, name: str) -> Path | None:
        """The image file, if it lies in ``images`` of the folder."""
        return self._files.image(_IMAGES, name)


def class_names(path: Path) -> tuple[str, ...]:
    """Names of the classes of a dataset in a folder, in the order of their values.

    Raises:
        InputError: ``dataset_meta.json`` is missing or damaged.
    """
    names = _names(*_meta(Files(path)))
    return tuple(names[value] for value in sorted(names))


def _meta(files: Files) -> tuple[dict[str, Any], str]:
    """Content of ``dataset_meta.json``, and where it lies."""
    where = files.where(META)
    return expect(as_json(files.read(META), where), dict, where), where


def _names(meta: dict[str, Any], where: str) -> dict[int, str]:
    """Value -> name, of "label_map", or of the list "labels"."""
    if "label_map" in meta:
        entries = take(meta, "label_map", dict, where)
        if not all(str(key).isdigit() and isinstance(name, str) for key, name in entries.items()):
            raise InputError(f'{where}: \'label_map\' should hold numbers and names, such as "0": "road".')
        return {int(key): name for key, name in entries.items()}
    names = take(meta, "labels", list, where)
    return {value: expect(name, str, f"{where}: a name in 'labels'") for value, name in enumerate(names)}


def _colors(meta: dict[str, Any], names: dict[int, str], where: str) -> dict[int, Color]:
    """Value -> color; the color map of PASCAL VOC where the file names none."""
    listed = meta.get("segmentation_colors") or [list(color) for color in voc_colors()]
    found = {}
    for value in names:
        color = take(listed, value, list, f"{where}: 'segmentation_colors'")
        if len(color) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in color):
            raise InputError(f"{where}: the color {color} should be three numbers from 0 to 255.")
        found[value] = (int(color[0]), int(color[1]), int(color[2]))
    return found
