"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


def write_atomically(path: Path | str, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write ``path`` so that a reader sees the old file or the whole new one, never a part.

    The content goes to a file beside it that is flushed to the disk and then renamed. When writing fails, nothing
    is left behind and an older ``path`` stays as it was.

    Args:
        path: File to write; its folder exists.
        content: The bytes, or a function that writes them to the open file it is given.

    Raises:
        OSError: The file cannot be written (disk full, no permission); the message names the path.
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
    finally:
        beside.unlink(missing_ok=True)
