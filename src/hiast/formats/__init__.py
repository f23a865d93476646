"""Label maps out to annotation tools and back; see docs/reference/formats.md for what each format keeps."""

from hiast.formats.cityscapes import write_cityscapes
from hiast.formats.coco import write_coco
from hiast.formats.cvat import write_cvat
from hiast.formats.datumaro import write_datumaro
from hiast.formats.fiftyone import write_fiftyone
from hiast.formats.items import Item
from hiast.formats.label_studio import write_label_studio
from hiast.formats.panoptic import write_panoptic
from hiast.formats.reading import FORMATS, AnnotationReader, open_annotations

__all__ = [
    "FORMATS",
    "AnnotationReader",
    "Item",
    "open_annotations",
    "write_cityscapes",
    "write_coco",
    "write_cvat",
    "write_datumaro",
    "write_fiftyone",
    "write_label_studio",
    "write_panoptic",
]
