"""Text files that name images, one per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hiast.errors import InputError


def find_list_file(path: Path | str, folders: Sequence[Path] = ()) -> Path:
    """A list file where it lies: as given, else in one of the folders.

    Args:
        path: Absolute, or relative to the current folder or to one of ``folders``.
        folders: Folders to look in, in this order.

    Raises:
        InputError: It lies in none of them.
    """
    places = [Path(path), *(folder / path for folder in folders)]
    for place in places:
        if place.is_file():
            return place
    where = f" It was looked for in {', '.join(str(place.parent) for place in places)}." if folders else ""
    raise InputError(f"The list file {path} cannot be read: there is no such file.{where}")


def read_list(path: Path) -> list[str]:
    """The lines of a list file that name something.

    One name per line: the image's path below its folder, with or without suffix, or a path relative to the list file,
    the current folder or the dataset's folder. Empty lines and lines that start with "#" are passed over. UTF-8, with
    or without byte order mark.

    Raises:
        InputError: The file cannot be read or is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list file {path} cannot be read: {error}.") from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
