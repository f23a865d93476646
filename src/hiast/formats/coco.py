"""COCO's annotations of objects and stuff: one JSON file with run lengths or polygons (source: cocodataset.org).

    annotations/instances_default.json
    images/default/NAME.jpg               if images are copied or linked

Category ids are the class index plus 1, since 0 stands for no class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hiast.classes import LabelSpace
from hiast.formats import rle
from hiast.formats.items import Images, Item, checked
from hiast.formats.names import class_colors
from hiast.formats.regions import Region, polygons, regions
from hiast.formats.sink import Spool, json_object, open_sink, place_image

Shapes = Literal["rle", "polygons"]
"""How the pixels are written: as compressed run lengths or as polygons; both are exact."""
Per = Literal["region", "class"]
"""What one annotation stands for: a connected region (as for objects), or all pixels of a class (as for stuff)."""


def write_coco(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    shapes: Shapes = "rle",
    per: Per = "region",
    images: Images = "leave",
    overwrite: bool = False,
) -> int:
    """Write label maps as annotations of COCO.

    Ignored pixels are in no annotation. The mean confidence of its pixels is the "score" of an annotation.

    Args:
        path: Folder, or zip file if it ends with ".zip".
        items: The labeled images; they are taken one by one.
        classes: Names and colors.
        shapes: Run lengths, or polygons along the edges of pixels. A region with holes becomes several polygons.
        per: One annotation per connected region, or per class.
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
        for item in checked(items, classes):
            pictures.add_json(image_entry(item, pictures.count + 1))
            for parts in objects_of(item, per):
                entry = {"id": annotations.count + 1, "image_id": pictures.count}
                annotations.add_json(entry | _annotation(item, parts, shapes))
            place_image(sink, f"images/default/{item.file_name}", item, images)
        head = {
            "info": {"description": "Label maps written by hiast"},
            "licenses": [],
            "categories": categories(classes),
        }
        lists = {"images": pictures, "annotations": annotations}
        sink.write("annotations/instances_default.json", json_object(head, lists))
        return pictures.count


def image_entry(item: Item, number: int) -> dict[str, Any]:
    """Entry of an image in the list "images"."""
    height, width = item.size
    return {"id": number, "file_name": item.file_name, "width": width, "height": height}


def categories(classes: LabelSpace) -> list[dict[str, Any]]:
    """The list "categories"; "isthing" and "color" are what the panoptic form asks for."""
    return [
        {"id": index + 1, "name": name, "supercategory": name, "isthing": 0, "color": list(color)}
        for index, (name, color) in enumerate(zip(classes.names, class_colors(classes), strict=True))
    ]


def objects_of(item: Item, per: Per) -> Iterator[list[Region]]:
    """The regions of each annotation."""
    parts: list[Region] = []
    for region in regions(item.labels):
        if parts and (per == "region" or parts[-1].label != region.label):
            yield parts
            parts = []
        parts.append(region)
    if parts:
        yield parts


def bounding_box(parts: list[Region]) -> tuple[int, int, int, int]:
    """(left, top, width, height) of some regions together."""
    left, top = min(part.left for part in parts), min(part.top for part in parts)
    right, bottom = max(part.columns.stop for part in parts), max(part.rows.stop for part in parts)
    return left, top, right - left, bottom - top


def joined_mask(parts: list[Region]) -> NDArray[np.bool_]:
    """Pixels bool [h, w] of some regions within their common bounding box."""
    if len(parts) == 1:
        return parts[0].mask
    left, top, width, height = bounding_box(parts)
    mask = np.zeros((height, width), np.bool_)
    for part in parts:
        rows = slice(part.rows.start - top, part.rows.stop - top)
        columns = slice(part.columns.start - left, part.columns.stop - left)
        mask[rows, columns] |= part.mask
    return mask


def score_of(item: Item, parts: list[Region]) -> dict[str, float]:
    """{"score": mean confidence} of some regions, or nothing without confidence."""
    if item.confidence is None:
        return {}
    left, top, width, height = bounding_box(parts)
    values = item.confidence[top : top + height, left : left + width][joined_mask(parts)]
    return {"score": round(float(values.mean(dtype=np.float64)), 6)}


def _annotation(item: Item, parts: list[Region], shapes: Shapes) -> dict[str, Any]:
    left, top, width, height = bounding_box(parts)
    segmentation: Any
    if shapes == "rle":
        counts = rle.encode(joined_mask(parts), item.size, top, left)
        segmentation = {"size": list(item.size), "counts": rle.to_text(counts)}
    else:
        segmentation = [ring.ravel().tolist() for part in parts for ring in polygons(part)]
    return {
        "category_id": parts[0].label + 1,
        "iscrowd": 0,
        "area": sum(part.area for part in parts),
        "bbox": [left, top, width, height],
        **score_of(item, parts),
        "segmentation": segmentation,
    }
