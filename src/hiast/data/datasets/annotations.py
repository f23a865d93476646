"""Annotations of another program in a dataset file: ``format`` by name, or a reader of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hiast.errors import InputError
from hiast.formats import AnnotationReader, open_annotations

Format = str | AnnotationReader | Callable[..., AnnotationReader]
"""Name of a format of ``hiast.formats``, a reader, or a function that makes one for ``classes``, the class names."""


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
        return open_annotations(format, root / Path(annotations).expanduser(), names, **dict(options or {}))
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
