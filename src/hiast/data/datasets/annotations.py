"""Annotations of another program in a dataset file: ``format`` by name, or a reader of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hiast.errors import InputError
from hiast.files import walk_files
from hiast.formats import AnnotationReader, open_annotations
from hiast.formats.items import Labels, Size

Format = str | AnnotationReader | Callable[..., AnnotationReader]
"""Name of a format of ``hiast.formats``, a reader, or a function that makes one for ``classes``, the class names."""


@dataclass
class OpenedAnnotations:
    """A reader of a format given by name, and what it was opened with.

    Args:
        reader: The reader.
        format: Name of the format.
        path: File, folder or zip file with the annotations.
        options: Further settings of the reader.

    Attributes:
        classes: Class names in the order of their indices.
    """

    reader: AnnotationReader
    format: str
    path: Path
    options: Mapping[str, Any]
    classes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.classes = self.reader.classes

    def items(self) -> tuple[str, ...]:
        """See ``AnnotationReader``."""
        return self.reader.items()

    def read(self, name: str, size: Size | None = None) -> Labels:
        """See ``AnnotationReader``."""
        return self.reader.read(name, size)

    def image(self, name: str) -> Path | None:
        """See ``AnnotationReader``."""
        return self.reader.image(name)

    def describe(self) -> str:
        """Format, classes and settings, and names, sizes and times of all files of the annotations."""
        names = sorted(walk_files(self.path)) if self.path.is_dir() else [""]
        states = [(name, (self.path / name).stat()) for name in names]
        files = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
        return repr((self.format, self.classes, sorted(self.options.items()), files))


def open_format(
    format: Format | None,
    annotations: Path | str | None,
    options: Mapping[str, Any] | None,
    root: Path,
    names: Sequence[str],
    dataset: str,
) -> AnnotationReader | None:
    """The reader that a dataset file asks for.

    Args:
        format: See ``Format``; None: labels are not annotations.
        annotations: File, folder or zip file of a format given by name, relative to ``root`` or absolute.
        options: Further settings of a format given by name, such as ``ignored``.
        root: Folder of the dataset.
        names: Class names in the order of their indices.
        dataset: Name for messages.

    Raises:
        InputError: The settings do not fit together, the annotations cannot be read, or are of other classes.
    """
    if format is None:
        if annotations is not None or options:
            raise InputError(
                f"{dataset}: annotations are given without format, such as coco, voc or labelme."
            )
        return None
    if isinstance(format, str):
        if annotations is None:
            raise InputError(f"{dataset}: format is {format}; say where the annotations are (annotations).")
        path = root / Path(annotations).expanduser()
        settings = dict(options or {})
        return OpenedAnnotations(open_annotations(format, path, names, **settings), format, path, settings)
    if annotations is not None or options:
        raise InputError(
            f"{dataset}: annotations belong to a format given by name, and format is a reader itself."
        )
    made = not isinstance(format, type) and hasattr(format, "items")
    reader = (
        cast(AnnotationReader, format)
        if made
        else cast(Callable[..., AnnotationReader], format)(classes=names)
    )
    if tuple(reader.classes) != tuple(names):
        raise InputError(
            f"{dataset}: the annotations are read as {', '.join(reader.classes)}, and the dataset's classes are "
            f"{', '.join(names)}: give both the same names in the same order."
        )
    return reader
