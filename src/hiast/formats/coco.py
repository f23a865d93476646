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

from hiast.classes import LabelSpace
from hiast.formats import rle
from hiast.formats.items import Images, Item, checked
from hiast.formats.regions import Region, polygons, regions, whole_classes
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
        shapes: Run lengths, or polygons along the edges of pixels. A part with holes becomes several polygons.
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
            for region in objects_of(item, per):
                entry = {"id": annotations.count + 1, "image_id": pictures.count}
                annotations.add_json(entry | _annotation(item, region, shapes))
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
        for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
    ]


def objects_of(item: Item, per: Per) -> Iterator[Region]:
    """What the annotations of an item stand for."""
    return regions(item.labels) if per == "region" else whole_classes(item.labels)


def score_of(item: Item, region: Region) -> dict[str, float]:
    """{"score": mean confidence} of a region, rounded to 6 digits, or nothing without confidence."""
    if item.confidence is None:
        return {}
    values = item.confidence[region.rows, region.columns][region.mask]
    return {"score": round(float(values.mean(dtype=np.float64)), 6)}


def _annotation(item: Item, region: Region, shapes: Shapes) -> dict[str, Any]:
    segmentation: Any
    if shapes == "rle":
        counts = rle.encode(region.mask, item.size, region.top, region.left)
        segmentation = {"size": list(item.size), "counts": rle.to_text(counts)}
    else:
        segmentation = [ring.ravel().tolist() for ring in polygons(region)]
    return {
        "category_id": region.label + 1,
        "iscrowd": 0,
        "area": region.area,
        "bbox": list(region.box),
        **score_of(item, region),
        "segmentation": segmentation,
    }
