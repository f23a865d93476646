"""Folders that annotation tools have exported: masks, and a file that says what their values or colors mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hiast.formats import datumaro, fiftyone, voc
from hiast.formats.source import Files


@dataclass(frozen=True)
class MaskExport:
    """The export of a tool.

    Attributes:
        format: Name of a format of ``hiast.formats``.
        path: What its reader opens.
        names: Names of the classes in the order of their values, including those that are not classes, such as
            "background".
    """

    format: str
    path: Path
    names: tuple[str, ...]


def recognize_export(place: Path) -> MaskExport | None:
    """The export that a folder is; None: it is none.

    CVAT's "Segmentation mask 1.1", PASCAL VOC, Datumaro's common segmentation and FiftyOne's dataset are known; those
    of CVAT and Datumaro by their folder of masks too.

    Args:
        place: Folder of labels.

    Raises:
        InputError: The file that says what the masks mean is damaged.
    """
    root = place.parent if place.name == voc.MASKS else place
    if (root / voc.LABELMAP).is_file() and (root / voc.MASKS).is_dir():
        entries = voc.parse_labelmap(Files(root).text(voc.LABELMAP), root / voc.LABELMAP)
        return MaskExport("cvat", root, tuple(name for name, _ in entries))
    if all((place / name).is_dir() for name in (voc.MASKS, voc.OBJECTS)):
        return MaskExport("voc", place, voc.VOC_NAMES)
    root = place.parent if place.name == datumaro.MASKS else place
    if (root / datumaro.META).is_file() and (root / datumaro.MASKS).is_dir():
        return MaskExport("datumaro", root, datumaro.class_names(root))
    if all((place / name).is_file() for name in (fiftyone.METADATA, fiftyone.SAMPLES)):
        return MaskExport("fiftyone", place, fiftyone.class_names(place))
    return None
