"""COCO's panoptic form: a picture of segment numbers per image, and one JSON file (source: cocodataset.org).

annotations/panoptic_default.json
annotations/panoptic_default/NAME.png     red + 256 green + 65536 blue is the number of the segment, 0 is none
images/default/NAME.jpg                   if images are copied or linked
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiast.classes import IGNORED, LabelSpace
from hiast.errors import InputError
from hiast.formats.coco import Per, categories, image_entry, objects_of, score_of
from hiast.formats.coco_reader import CocoFile
from hiast.formats.items import Images, Item, Labels, Size, checked
from hiast.formats.names import NameTable
from hiast.formats.pictures import check_size, color_png, from_values, read_png
from hiast.formats.sink import Spool, json_object, open_sink, place_image
from hiast.formats.source import inside, objects, take

_FOLDER = "annotations/panoptic_default"


def write_panoptic(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    per: Per = "class",
    images: Images = "leave",
    overwrite: bool = False,
) -> int:
    """Write label maps in COCO's panoptic form.

    Ignored pixels have the number 0. The mean confidence of its pixels is the "score" of a segment.

    Args:
        path: Folder, or zip file if it ends with ".zip".
        items: The labeled images; they are taken one by one.
        classes: Names and colors; all are stuff ("isthing" is 0).
        per: One segment per class, or per connected region.
        images: Whether the images are put in as well.
        overwrite: Replace an earlier export.

    Returns:
        Number of items written.

    Raises:
        InputError: An item cannot be written, or there is something at ``path`` already.
        OSError: The export cannot be written.
    """
    with (
        open_sink(path, ("annotations", "images"), overwrite=overwrite) as sink,
        Spool(sink) as pictures,
        Spool(sink) as annotations,
    ):
        sink.folder("images/default")
        sink.folder(_FOLDER)
        for item in checked(items, classes):
            pictures.add_json(image_entry(item, pictures.count + 1))
            numbers, segments = _segments(item, per)
            colors = np.stack([numbers >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
            sink.write(f"{_FOLDER}/{item.name}.png", color_png(colors))
            annotations.add_json(
                {"image_id": pictures.count, "file_name": f"{item.name}.png", "segments_info": segments}
            )
            place_image(sink, f"images/default/{item.file_name}", item, images)
        head = {
            "info": {"description": "Label maps written by hiast"},
            "licenses": [],
            "categories": categories(classes),
        }
        lists = {"images": pictures, "annotations": annotations}
        sink.write(f"{_FOLDER}.json", json_object(head, lists))
        return pictures.count


def _segments(item: Item, per: Per) -> tuple[np.ndarray[Any, np.dtype[np.int32]], list[dict[str, Any]]]:
    """Numbers int32 [H, W] of the segments, and their list."""
    numbers = np.zeros(item.size, np.int32)
    segments: list[dict[str, Any]] = []
    for number, region in enumerate(objects_of(item, per), start=1):
        numbers[region.rows, region.columns][region.mask] = number
        entry: dict[str, Any] = {"id": number, "category_id": region.label + 1, "iscrowd": 0}
        segments.append(entry | {"area": region.area, "bbox": list(region.box)} | score_of(item, region))
    return numbers, segments


class PanopticReader:
    """Reads COCO's panoptic form.

    Args:
        path: JSON file, or the folder that holds it.
        classes: Class names in the order of their indices.
        ignored: Further categories whose pixels are ignored.
        masks: Folder of the pictures of numbers; None: beside the JSON file, with its name.
        image_folder: Folder of the images; None: it is looked for beside the file.

    Raises:
        InputError: Something is missing or does not fit; the message names the file.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        ignored: Iterable[str] = (),
        masks: Path | str | None = None,
        image_folder: Path | str | None = None,
    ) -> None:
        table = NameTable.of(classes, ignored)
        self.classes = table.classes
        self._file = CocoFile(path, "panoptic", image_folder)
        self._path = self._file.path
        self._masks = self._path.with_suffix("") if masks is None else Path(masks)
        names = self._file.category_names()
        by_id = self._file.names_by_id()
        self._segments: dict[str, tuple[Path, dict[int, int]]] = {}
        for entry in objects(self._file.content.pop("annotations", None), f"{self._path}: 'annotations'"):
            image = take(entry, "image_id", (int, str), self._path)
            if image not in by_id:
                raise InputError(f"{self._path}: an annotation names image {image}, which is not listed.")
            file = self._masks / inside(take(entry, "file_name", str, self._path), self._path)
            self._segments[by_id[image]] = file, self._classes_of(entry, names, table)

    def _classes_of(self, entry: dict[str, Any], names: dict[int, str], table: NameTable) -> dict[int, int]:
        """Number of a segment -> class index."""
        found = {0: IGNORED}
        for segment in objects(
            take(entry, "segments_info", list, self._path), f"{self._path}: 'segments_info'"
        ):
            category = take(segment, "category_id", int, self._path)
            if category not in names:
                raise InputError(f"{self._path}: a segment names category {category}, which is not listed.")
            found[take(segment, "id", int, self._path)] = table.index(names[category], self._path)
        return found

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return tuple(sorted(self._segments))

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: The picture is missing, damaged, of another size, or holds a segment that is not listed.
        """
        if name not in self._segments:
            raise InputError(f"{self._path} does not name the image '{name}'.")
        file, classes = self._segments[name]
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(
                f"{file} cannot be read ({error.strerror}); the annotations are not complete."
            ) from error
        pixels = read_png(content, file).values
        if pixels.ndim == 3:
            pixels = pixels.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
        labels = from_values(pixels, classes, file)
        return check_size(labels, size or self._file.size(name, pixels.shape), file)

    def image(self, name: str) -> Path | None:
        """The image file, if it is found."""
        return self._file.image(name)
