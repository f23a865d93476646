"""Writing CVAT's "Segmentation mask 1.1" (source: CVAT's documentation of the format, and Datumaro's of PASCAL VOC).

labelmap.txt                            name:red,green,blue::
ImageSets/Segmentation/default.txt      names of the images
SegmentationClass/NAME.png              the color of the class
SegmentationObject/NAME.png             a color of its own for each region
JPEGImages/NAME.jpg                     if images are copied or linked
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.formats.items import Images, Item, Labels, checked
from hiast.formats.names import BLACK, distinct_colors, name_of_ignored, voc_colors
from hiast.formats.pictures import color_png, paint
from hiast.formats.regions import Region, regions
from hiast.formats.sink import Spool, open_sink, place_image
from hiast.formats.voc import IMAGES, LABELMAP, LISTS, MASKS, OBJECTS

_OBJECTS = 255
"""Objects that one picture can tell apart; black is none."""


def write_cvat(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    images: Images = "leave",
    overwrite: bool = False,
) -> int:
    """Write label maps for CVAT: upload the zip file as annotations of a task, format "Segmentation mask 1.1".

    The names of the items must be those of the task's images, without suffix. Ignored pixels are black, which CVAT
    takes for not annotated. Confidence is dropped. A class that is black or shares its color gets another one.

    Args:
        path: Folder, or zip file if it ends with ".zip".
        items: The labeled images; they are taken one by one.
        classes: Names and colors.
        images: Whether the images are put in as well.
        overwrite: Replace an earlier export.

    Returns:
        Number of items written.

    Raises:
        InputError: An item or a class name cannot be written, or there is something at ``path`` already.
        OSError: The export cannot be written.
    """
    colors = distinct_colors(classes)
    labelmap = _labelmap(classes, colors)
    owned = (LABELMAP, "ImageSets", MASKS, OBJECTS, IMAGES)
    with open_sink(path, owned, overwrite=overwrite) as sink, Spool(sink) as names:
        sink.write(LABELMAP, labelmap.encode("utf-8"))
        for item in checked(items, classes):
            if item.name.startswith("#"):
                raise InputError(
                    f"The name '{item.name}' begins with '#', which marks comments: rename the image."
                )
            sink.write(f"{MASKS}/{item.name}.png", color_png(paint(item.labels, colors)))
            sink.write(f"{OBJECTS}/{item.name}.png", color_png(_objects(item.labels)))
            place_image(sink, f"{IMAGES}/{item.file_name}", item, images)
            names.add(item.name)
        sink.folder(MASKS)
        sink.write(f"{LISTS}/default.txt", names.lines())
        return names.count


def check_class_names(classes: LabelSpace) -> None:
    """Refuse class names that labelmap.txt cannot hold.

    Raises:
        InputError: Names the class.
    """
    for name in classes.names:
        if ":" in name or name.startswith("#") or name.strip() != name or not name.isprintable():
            raise InputError(
                f"CVAT's labelmap.txt cannot hold the class name '{name}': "
                "rename the class without ':', line breaks, outer spaces and a leading '#'."
            )


def _labelmap(classes: LabelSpace, colors: Iterable[tuple[int, int, int]]) -> str:
    check_class_names(classes)
    lines = ["# label:color_rgb:parts:actions"]
    for name, color in zip((name_of_ignored(classes), *classes.names), (BLACK, *colors), strict=True):
        lines.append(f"{name}:{','.join(map(str, color))}::")
    return "\n".join(lines) + "\n"


def _objects(labels: Labels) -> NDArray[np.uint8]:
    """Picture uint8 [H, W, 3] in which each region has a color of its own.

    There are 255 colors. In a picture of more regions, the smallest ones of a class share one.
    """
    found = list(regions(labels))
    numbers = np.zeros(labels.shape, np.uint8)
    for number, group in enumerate(_groups(found), start=1):
        for region in group:
            numbers[region.rows, region.columns][region.mask] = number
    return np.array(voc_colors(), np.uint8)[numbers]


def _groups(found: list[Region]) -> list[list[Region]]:
    if len(found) <= _OBJECTS:
        return [[region] for region in found]
    by_size = sorted(found, key=lambda region: -region.area)
    alone = by_size[: _OBJECTS - len(Counter(region.label for region in found))]
    rest: dict[int, list[Region]] = {}
    for region in by_size[len(alone) :]:
        rest.setdefault(region.label, []).append(region)
    return [[region] for region in alone] + list(rest.values())
