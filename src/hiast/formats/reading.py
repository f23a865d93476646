"""What all readers of annotations have in common, and how a format is chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from hiast.errors import InputError
from hiast.formats.arrays import ArrayReader
from hiast.formats.cityscapes import CityscapesPolygonReader
from hiast.formats.coco_reader import CocoReader
from hiast.formats.datumaro import DatumaroReader
from hiast.formats.fiftyone import FiftyOneReader
from hiast.formats.items import Labels, Size
from hiast.formats.label_studio_reader import LabelStudioReader
from hiast.formats.labelme import LabelmeReader
from hiast.formats.panoptic import PanopticReader
from hiast.formats.voc import VocReader


class AnnotationReader(Protocol):
    """Labels that another program has written. It can be sent to worker processes.

    Attributes:
        classes: Class names in the order of their indices.
    """

    classes: tuple[str, ...]

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted: paths with "/" and without suffix."""

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored pixels.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image. A label of another size is refused.

        Raises:
            InputError: The label is missing or damaged; the message names the file.
        """

    def image(self, name: str) -> Path | None:
        """The image file, if the annotations come with it."""


FORMATS: dict[str, Callable[..., AnnotationReader]] = {
    "arrays": ArrayReader,
    "cityscapes_polygons": CityscapesPolygonReader,
    "coco": CocoReader,
    "cvat": VocReader,
    "datumaro": DatumaroReader,
    "fiftyone": FiftyOneReader,
    "label_studio": LabelStudioReader,
    "labelme": LabelmeReader,
    "panoptic": PanopticReader,
    "voc": VocReader,
}
"""The formats that are read, by the names that a dataset file uses."""


def open_annotations(
    format: str,
    path: Path | str,
    classes: Sequence[str],
    *,
    ignored: Iterable[str] = (),
    **options: Any,
) -> AnnotationReader:
    """Open annotations of a format that is chosen by name.

    Args:
        format: One of ``FORMATS``.
        path: File, folder or zip file with the annotations.
        classes: Class names in the order of their indices.
        ignored: Further names in the files whose pixels are ignored.
        options: Further settings of the reader, such as ``subset`` of "voc" or ``use`` of "label_studio".

    Raises:
        InputError: The format or an option is unknown, or the annotations cannot be read.
    """
    if format not in FORMATS:
        raise InputError(f"The format '{format}' is unknown; these are read: {', '.join(sorted(FORMATS))}.")
    reader = FORMATS[format]
    known = set(reader.__init__.__kwdefaults__ or {}) - {"ignored"}  # type: ignore[misc]
    strange = sorted(options.keys() - known)
    if strange:
        choices = f"its options are {', '.join(sorted(known))}" if known else "it has no options"
        raise InputError(f"The format '{format}' does not know '{strange[0]}': {choices}.")
    return reader(path, classes, ignored=ignored, **options)
