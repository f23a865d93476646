"""Files: the library's own are written atomically and read back; folders are listed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import yaml


def write_atomically(path: Path | str, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write ``path`` atomically: a reader sees the old file or the whole new one, never a part.

    The content is written to a temporary file in the same folder, flushed to disk, and renamed; the folder is flushed,
    too. If writing fails, the temporary file is removed and an older ``path`` is unchanged. The error names ``path``.

    Args:
        path: File to write. Its folder must exist.
        content: The bytes, or a function that writes them to an open binary file.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    beside = temporary_beside(path)
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
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(beside)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Hidden file in the folder of ``path`` that is written first and takes its place."""
    return path.with_name(f".{path.name}.{uuid4().hex}.part")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that people can read, whole or not at all.

    Args:
        path: The file.
        value: Plain values. JSON has no NaN and no infinity: such numbers become null.
    """
    text = json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False)
    # Names of files that are no UTF-8 are kept as escapes of JSON.
    write_atomically(path, f"{text}\n".encode("utf-8", "backslashreplace"))


def parse_yaml(text: str) -> Any:
    """Value of a YAML text of the library's own, such as a run's ``config.yaml``.

    Raises:
        yaml.YAMLError: The text is damaged.
    """
    # The C parser, where PyYAML has it, takes a fifth of the time.
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def _flush_folder(folder: Path) -> None:
    """Flush the rename itself to disk, where the system can open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_OF_THE_DISK = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}


def walk_files(folder: Path) -> Iterator[str]:
    """Paths of files relative to ``folder``, with "/"; hidden folders are left out, hidden files are not.

    Folders that a file system makes at the top of a disk are left out too, since users may not read them. Links are
    followed. There are no files in a folder that does not exist.

    Raises:
        OSError: A folder cannot be read.
    """
    # A folder that several links lead to is entered once, so that loops of links end.
    entered: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_unless_missing):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not (name.startswith(".") or name in _OF_THE_DISK))
        inner = Path(place).relative_to(folder).as_posix()
        prefix = "" if inner == "." else f"{inner}/"
        yield from (prefix + name for name in sorted(files))


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def absolute(path: Path) -> Path:
    """An absolute path without "..", which ``Path.absolute`` keeps; links are not followed."""
    return Path(os.path.normpath(path.absolute()))
