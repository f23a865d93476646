"""Atomic writing of files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


def write_atomically(path: Path | str, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write ``path`` atomically: a reader sees the old file or the whole new one, never a part.

    The content is written to a temporary file in the same folder, flushed to disk, and renamed; the folder is flushed,
    too. If writing fails, the temporary file is removed and an older ``path`` is unchanged.

    Args:
        path: File to write. Its folder must exist.
        content: The bytes, or a function that writes them to an open binary file.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with beside.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush the rename itself to disk, where the system can open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
