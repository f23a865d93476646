"""The format of JSON files with annotations, and the classes that they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiast.errors import InputError
from hiast.files import walk_files
from hiast.formats.source import load_json, stem

PER_IMAGE = ("labelme", "cityscapes_polygons")
"""Formats of one file per image; the others have one file for all."""

_TRIED = 20
"""Files that are opened to find one of a format that is read."""


@dataclass(frozen=True)
class JsonAnnotations:
    """JSON files of one format.

    Attributes:
        format: Name of a format of ``hiast.formats``.
        files: At least one.
    """

    format: str
    files: tuple[Path, ...]

    def used_names(self) -> list[str]:
        """Names of the classes that annotations use, each once: in the order of their ids, else of the alphabet.

        Raises:
            InputError: A file cannot be read.
        """
        contents = (load_json(file) for file in self.files)
        if self.format in ("coco", "panoptic"):
            return _category_names(next(contents))
        if self.format == "label_studio":
            return sorted({name for task in next(contents) for name in _studio_names(task)})
        key = "shapes" if self.format == "labelme" else "objects"
        return sorted(
            {
                str(entry["label"])
                for content in contents
                for entry in _dicts(content.get(key) if isinstance(content, dict) else None)
                if "label" in entry
            }
        )


def recognize(files: Sequence[Path], images: Path) -> JsonAnnotations | None:
    """Find the annotations of some images among JSON files.

    Args:
        files: JSON files, such as all of a folder.
        images: Folder of the images. Of several files that hold all images of a set the one that names most of these
            is taken.

    Returns:
        None if no file is of a format that is read.

    Raises:
        InputError: The same, and a file is damaged.
    """
    damaged: InputError | None = None
    found: dict[Path, tuple[int, str]] = {}
    names = {stem(name).rpartition("/")[2] for name in walk_files(images)} if images.is_dir() else set()
    for file in files[:_TRIED]:
        try:
            content = load_json(file)
        except InputError as error:
            damaged = damaged or error
            continue
        kind = kind_of(content)
        if kind in PER_IMAGE:
            same = [other for other in files if kind == "labelme" or other.name.endswith("_polygons.json")]
            return JsonAnnotations(kind, tuple(same or [file]))
        if kind is not None:
            found[file] = len(names & set(_image_names(content))), kind
    if found:
        best = max(found, key=lambda file: found[file][0])
        return JsonAnnotations(found[best][1], (best,))
    if damaged is not None:
        raise damaged
    return None


def panoptic_files(files: Sequence[Path]) -> list[Path]:
    """Those of some JSON files that are of COCO's panoptic form; a damaged one is not."""
    found = []
    for file in files[:_TRIED]:
        try:
            kind = kind_of(load_json(file))
        except InputError:
            continue
        if kind in PER_IMAGE:
            break
        found += [file] if kind == "panoptic" else []
    return found


def kind_of(content: Any) -> str | None:
    """Format of the content of a JSON file; None: none that is read. Boxes and captions alone are none.

    Examples:
        >>> kind_of({"shapes": [], "imagePath": "a.jpg"}), kind_of({"info": "nothing"})
        ('labelme', None)
    """
    if isinstance(content, list):
        tasks = _dicts(content)
        return "label_studio" if any("data" in task and "annotations" in task for task in tasks) else None
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("shapes"), list):
        return "labelme"
    if isinstance(content.get("objects"), list) and "imgHeight" in content:
        return "cityscapes_polygons"
    if not all(isinstance(content.get(key), list) for key in ("images", "categories", "annotations")):
        return None
    entries = _dicts(content["annotations"])
    if any(entry.get("segments_info") for entry in entries):
        return "panoptic"
    return "coco" if any(entry.get("segmentation") for entry in entries) else None


def _image_names(content: Any) -> Iterator[str]:
    """File names of the images without suffix and folder, of a file that holds all of them."""
    if isinstance(content, dict):
        names = [entry.get("file_name") for entry in _dicts(content["images"])]
    else:
        names = [value for task in _dicts(content) for value in _dicts([task.get("data")])[0].values()]
    return (stem(name).rpartition("/")[2] for name in names if isinstance(name, str))


def _category_names(content: Any) -> list[str]:
    entries = _dicts(content["annotations"])
    segments = [segment for entry in entries for segment in _dicts(entry.get("segments_info"))]
    used = {entry.get("category_id") for entry in [*entries, *segments]}
    categories = [entry for entry in _dicts(content["categories"]) if entry.get("id") in used]
    ordered = sorted(categories, key=lambda entry: (str(type(entry["id"])), entry["id"]))
    return list(dict.fromkeys(str(entry["name"]) for entry in ordered if "name" in entry))


def _studio_names(task: Any) -> Iterator[str]:
    for annotation in _dicts(task.get("annotations") if isinstance(task, dict) else None):
        for shape in _dicts(annotation.get("result")):
            value, kind = shape.get("value"), shape.get("type")
            yield from (str(name) for name in value.get(kind) or ()) if isinstance(value, dict) else ()


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none if it is not a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
