"""Places for results, checked before anything is computed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiast.errors import InputError
from hiast.files import temporary_beside


def check_file(key: str, path: Path, example: str) -> None:
    """Refuse a file that could not be written. Nothing is changed.

    Args:
        key: The key that names it.
        path: The file; folders above it may be missing.
        example: Name of a file, for messages.

    Raises:
        InputError: It is a folder or a device, lies below a file, or the system does not let it be written.
    """
    with _refusals(key, path, "file"):
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise InputError(f"{key}: {path} is a folder; name a file in it, such as {path / example}.")
        # It would be replaced by a file.
        if not stat.S_ISREG(mode):
            raise InputError(f"{key}: {path} is a device or a pipe; name a file.")
        _try_to_write(_nearest(key, path, path.parent) / path.name)


def check_folder(key: str, path: Path) -> None:
    """Refuse a folder that files could not be written to. Nothing is changed.

    Args:
        key: The key that names it.
        path: The folder; it may be missing.

    Raises:
        InputError: It is a file, lies below one, or the system does not let it be written.
    """
    with _refusals(key, path, "folder"):
        if path.exists() and not path.is_dir():
            raise InputError(f"{key}: {path} is a file; name a folder.")
        _try_to_write(_nearest(key, path, path) / "x")


def _nearest(key: str, path: Path, folder: Path) -> Path:
    """The lowest folder that exists."""
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"{key}: {path} lies below {above}, which is a file; name a place in a folder.")
    return above


def _try_to_write(path: Path) -> None:
    """Make, and remove, the temporary file that would become ``path``; permissions alone do not say all."""
    beside = temporary_beside(path)
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    beside.unlink()


@contextmanager
def _refusals(key: str, path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{key}: {path} cannot be written ({error.strerror}); name a {kind} in another folder."
        ) from error
