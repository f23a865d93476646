"""Annotations of other programs beside images: what a dataset file has to say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiast.classes import CITYSCAPES_19
from hiast.data.io.patterns import IMAGE_SUFFIXES, describe_files
from hiast.errors import InputError
from hiast.files import walk_files
from hiast.formats import AnnotationReader, open_annotations
from hiast.formats.cityscapes import NOT_EVALUATED
from hiast.formats.names import NOT_A_CLASS
from hiast.inspection.annotation_exports import recognize_export
from hiast.inspection.annotation_kinds import PER_IMAGE, panoptic_files, recognize

BACKGROUND = "background"
WITH_BACKGROUND = ("coco", "labelme")
"""Formats whose reader can give a class to what nothing covers."""
_LOSSY = frozenset({"jpg", "jpeg", "jpe", "jfif", "webp"})
_ARRAYS = frozenset({"npy", "npz"})
_ADVICE = {
    "json": "of JSON files COCO with polygons or masks, labelme, polygons of Cityscapes and Label Studio are read",
    "xml": "export the annotations from the tool as COCO with polygons, or as segmentation masks",
    "txt": "export the annotations from the tool as COCO with polygons, or as segmentation masks",
    "mat": "save each array by numpy.save('NAME.npy', scipy.io.loadmat('NAME.mat')[KEY])",
    "geojson": "draw them as pictures first, for example by gdal_rasterize",
    "shp": "draw them as pictures first, for example by gdal_rasterize",
    "svg": "draw them as PNG pictures first, without smooth edges",
    "zip": "unpack it, and name the folder",
}
"""Suffix of files that are not read as labels -> what to do with them."""


@dataclass(frozen=True)
class Annotations:
    """What a dataset file says about annotations.

    Attributes:
        format: Name of a format of ``hiast.formats``.
        path: Their file or folder.
        names: Class names in the order of their indices.
        options: Settings of the format.
    """

    format: str
    path: Path
    names: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> AnnotationReader:
        """The reader of the annotations.

        Raises:
            InputError: They cannot be read.
        """
        return open_annotations(self.format, self.path, self.names, **self.options)


def find_annotations(place: Path, images: Path, names: Sequence[str] = ()) -> Annotations | None:
    """Recognize annotations.

    Args:
        place: JSON file, or folder of labels, which may be that of the images.
        images: Folder of the images.
        names: Class names that the user gives; others in the annotations are ignored. A name "background" that they
            do not hold is the class of what they do not cover.

    Returns:
        The annotations; None: the folder holds labels as pictures or arrays.

    Raises:
        InputError: There is nothing that can be read as labels; or ``names`` holds a name that is not there.
    """
    if not place.exists():
        raise InputError(f"labels: there is no folder or file {place}.")
    if place.is_file() and place.suffix[1:].lower() in IMAGE_SUFFIXES | _ARRAYS:
        raise InputError(f"labels: {place} is one label: name the folder of the labels.")
    folder = place if place.is_dir() else place.parent
    every = walk_files(place) if place.is_dir() else [place.name]
    files = [name for name in every if not name.rpartition("/")[2].startswith(".")]
    json_files = [folder / name for name in files if name.lower().endswith(".json")]
    if place.is_dir():
        export = recognize_export(place)
        if export is not None:
            return _annotations(export.format, export.path, export.names, names)
        if _has_pictures(files, place, images):
            json_files = panoptic_files(json_files)
            if not json_files:
                return None
    found = recognize(json_files, images)
    if found is None:
        if place.absolute() == images.absolute():
            return None
        raise InputError(_not_read(place, files))
    path = place if found.format in PER_IMAGE else found.files[0]
    return _annotations(found.format, path, found.used_names(), names)


def _annotations(format: str, path: Path, used: Sequence[str], names: Sequence[str]) -> Annotations:
    chosen, options = _choose(format, used, names, path)
    return Annotations(format, path, chosen, options)


def _has_pictures(files: Sequence[str], place: Path, images: Path) -> bool:
    """Whether files of the folder may be labels: pictures or arrays beside the images."""
    ends = {name: Path(name).suffix[1:].lower() for name in files}
    pictures = {name: end for name, end in ends.items() if end in IMAGE_SUFFIXES | _ARRAYS}
    if place.absolute() == images.absolute():
        return bool(_LOSSY & set(pictures.values()) and set(pictures.values()) - _LOSSY)
    if place.absolute().is_relative_to(images.absolute()):
        return bool(pictures)
    return any(not (place / name).absolute().is_relative_to(images.absolute()) for name in pictures)


def _not_read(place: Path, files: Sequence[str]) -> str:
    """Why nothing in a folder, or a file, is read as labels."""
    if not files:
        return f"labels: {place} is empty."
    ends = {Path(name).suffix[1:].lower() for name in files}
    end = next((known for known in _ADVICE if known in ends), None)
    advice = _ADVICE[end] if end else "labels are pictures, NPY arrays, or annotations such as COCO"
    if place.is_file():
        return f"labels: {place} is of no format that is read: {advice}."
    shown = describe_files([Path(name) for name in files])
    return (
        f"labels: {place} holds no labels that are read ({shown}): {advice}. Boxes alone do not label pixels."
    )


def _choose(
    format: str, used: Sequence[str], names: Sequence[str], path: Path
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Class names, and the settings of the format that go with them."""
    if format == "cityscapes_polygons":
        used = _street_names(used)
    # The background of PASCAL VOC is one of its classes; elsewhere it stands for what nobody has labeled.
    classes = [name for name in used if format == "voc" or name.lower() not in NOT_A_CLASS]
    options: dict[str, Any] = {}
    if not classes:
        raise InputError(f"labels: {path} names no class ({format}): are the annotations empty?")
    if names:
        uncovered = BACKGROUND in names and BACKGROUND not in used and format in WITH_BACKGROUND
        strange = [name for name in names if name not in used and not (uncovered and name == BACKGROUND)]
        if strange:
            raise InputError(
                f"names: '{strange[0]}' is not in {path}, which names {', '.join(used) or 'no class'}."
            )
        rest = sorted({*classes} - {*names})
        options |= {"ignored": rest} if rest else {}
        options |= {"background": BACKGROUND} if uncovered else {}
        return tuple(names), options
    if len(classes) == 1 and len(used) > 1:
        classes = list(used)  # "background" is drawn, and one of two classes.
    elif len(classes) == 1 and format in WITH_BACKGROUND:
        return (BACKGROUND, *classes), {"background": BACKGROUND}
    return tuple(classes), options


def _street_names(used: Sequence[str]) -> list[str]:
    """Labels of Cityscapes as classes: its own ones in their order, groups as their members, no unevaluated ones."""
    single = {name if name in CITYSCAPES_19.names else name.removesuffix("group") for name in used}
    own = [name for name in CITYSCAPES_19.names if name in single]
    return [*own, *sorted(single - {*own} - NOT_EVALUATED)]
