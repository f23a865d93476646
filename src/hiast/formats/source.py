"""Where annotations are read from: a folder or a zip file, and JSON whose entries are checked as they are taken."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from hiast.errors import InputError
from hiast.files import walk_files

T = TypeVar("T")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


class Files:
    """The files below a folder or within a zip file, under relative names with "/".

    It can be sent to worker processes: a zip file is opened again in each.

    Args:
        path: Folder or zip file.

    Raises:
        InputError: There is no such folder or zip file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._zip: tuple[int, zipfile.ZipFile] | None = None
        if not self.path.is_dir() and not zipfile.is_zipfile(self.path):
            missing = (
                "does not exist" if not self.path.exists() else "is neither a folder nor a whole zip file"
            )
            raise InputError(
                f"{self.path} {missing}: name the folder or the zip file that the tool has written."
            )
        self._names = frozenset(self._list())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_zip": None}

    def _list(self) -> list[str]:
        if self.path.is_dir():
            return list(walk_files(self.path))
        return [name for name in self._archive().namelist() if not name.endswith("/")]

    def _archive(self) -> zipfile.ZipFile:
        # Processes that share an open file disturb each other, so that each process opens its own.
        if self._zip is None or self._zip[0] != os.getpid():
            try:
                self._zip = os.getpid(), zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise InputError(f"{self.path} cannot be read ({error}); fetch it again.") from error
        return self._zip[1]

    def names(self, folder: str = "", suffix: str | tuple[str, ...] = "") -> list[str]:
        """Sorted names of the files below a folder that end with a suffix (in any case); hidden files are left out."""
        start = f"{folder}/" if folder else ""
        return sorted(
            name
            for name in self._names
            if name.startswith(start)
            and name.lower().endswith(suffix)
            and not PurePosixPath(name).name.startswith(".")
        )

    def named(self, folder: str, suffix: str) -> dict[str, str]:
        """Names of ``names`` below the folder and without their suffix, and the files."""
        start = f"{folder}/" if folder else ""
        return {stem(file.removeprefix(start)): file for file in self.names(folder, suffix)}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def where(self, name: str) -> str:
        """The file as a message names it."""
        return str(self.path / name) if self.path.is_dir() else f"{name} in {self.path}"

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            InputError: It does not exist or cannot be read.
        """
        if name not in self._names:
            raise InputError(f"{self.where(name)} does not exist; the annotations are not complete.")
        try:
            return (self.path / name).read_bytes() if self.path.is_dir() else self._archive().read(name)
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            ValueError,
            EOFError,
        ) as error:
            raise InputError(f"{self.where(name)} cannot be read ({error}); fetch it again.") from error

    def text(self, name: str) -> str:
        """The content of a text file in UTF-8, with or without byte order mark.

        Raises:
            InputError: It does not exist, cannot be read, or is not such text.
        """
        return as_text(self.read(name), self.where(name))

    def image(self, folder: str, name: str) -> Path | None:
        """The image file called ``name`` (without suffix) below a folder; None: there is none, or it is in a zip."""
        return image_file(self.path / folder, name) if self.path.is_dir() else None


def image_file(folder: Path, name: str) -> Path | None:
    """The image file called ``name`` (without suffix) in a folder; None: there is none."""
    candidates = (folder / f"{name}{suffix}" for each in IMAGE_SUFFIXES for suffix in (each, each.upper()))
    return next((path for path in candidates if path.is_file()), None)


def as_text(content: bytes, where: object) -> str:
    """Text of bytes in UTF-8, with or without byte order mark.

    Raises:
        InputError: It is not such text; the message names ``where``.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not text in UTF-8 (byte {error.start}): save it as UTF-8.") from error


def as_json(content: bytes, where: object) -> Any:
    """Value of a JSON text in UTF-8.

    Raises:
        InputError: It is not JSON; the message names ``where`` and the line.
    """
    text = as_text(content, where)
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{where} is not a complete JSON file{line}; fetch or export it again.") from error


def load_json(path: Path) -> Any:
    """Value of a JSON file.

    Raises:
        InputError: The file cannot be read or is not JSON.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    return as_json(content, path)


def take(entry: Any, key: str | int, kind: type[T] | tuple[type[T], ...], where: object) -> T:
    """A value of an entry of a JSON file.

    Args:
        entry: What is expected to be an object (or a list, where ``key`` is a number).
        key: Key or position.
        kind: The expected type, or several; a whole number counts as a float.
        where: The file, for the message.

    Raises:
        InputError: ``entry`` has no such key or its value is of another type.
    """
    fits = isinstance(entry, dict) if isinstance(key, str) else isinstance(entry, list)
    if not fits or (key not in entry if isinstance(key, str) else key >= len(entry)):
        raise InputError(f"{where}: '{key}' is missing; the file is damaged or of another format.")
    return expect(entry[key], kind, f"{where}: '{key}'")


def expect(value: Any, kind: type[T] | tuple[type[T], ...], what: str) -> T:
    """``value``, if it is of the expected type.

    Raises:
        InputError: It is of another type; the message begins with ``what``.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(each.__name__ for each in kinds)
        raise InputError(
            f"{what} should be of type {names}, not {type(value).__name__}; the file is damaged or of another format."
        )
    return value  # type: ignore[return-value]


def objects(value: Any, where: object) -> list[dict[str, Any]]:
    """``value``, if it is a list of JSON objects.

    Raises:
        InputError: It is something else; the message names ``where``.
    """
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"{where} should hold a list of objects; the file is damaged or of another format.")
    return value


def stem(name: str) -> str:
    """A relative name without its last suffix."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.name else name


def inside(name: str, where: object) -> str:
    """A relative name from a file, with "/".

    Raises:
        InputError: It is absolute or leads out of its folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise InputError(f"{where} names the file '{name}', which leads out of its folder.")
    return path.as_posix()
