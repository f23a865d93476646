"""Where an export goes: a folder or a zip file that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from hiast.errors import InputError
from hiast.formats.items import Images, Item


class Sink(Protocol):
    """Files of an export under relative names with "/".

    Attributes:
        spools: Folder for temporary files, on the same disk as the export.
    """

    spools: Path

    def write(self, name: str, content: bytes | Iterable[str]) -> None:
        """Write one file: bytes, or pieces of text in UTF-8."""

    def copy(self, name: str, source: Path) -> None:
        """Copy a file."""

    def link(self, name: str, source: Path) -> None:
        """Make a symbolic link to a file."""

    def folder(self, name: str) -> None:
        """Make a folder even if nothing is written into it."""


class _FolderSink:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.spools = root.parent

    def write(self, name: str, content: bytes | Iterable[str]) -> None:
        with self._place(name).open("wb") as file:
            for piece in _pieces(content):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def copy(self, name: str, source: Path) -> None:
        shutil.copyfile(source, self._place(name))

    def link(self, name: str, source: Path) -> None:
        self._place(name).symlink_to(source.resolve())

    def folder(self, name: str) -> None:
        (self.root / name).mkdir(parents=True, exist_ok=True)

    def _place(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class _ZipSink:
    def __init__(self, archive: zipfile.ZipFile, spools: Path) -> None:
        self.archive = archive
        self.spools = spools

    def write(self, name: str, content: bytes | Iterable[str]) -> None:
        with self.archive.open(_entry(name), "w", force_zip64=True) as file:
            for piece in _pieces(content):
                file.write(piece)

    def copy(self, name: str, source: Path) -> None:
        with source.open("rb") as read, self.archive.open(_entry(name), "w", force_zip64=True) as file:
            shutil.copyfileobj(read, file)

    def link(self, name: str, source: Path) -> None:
        raise InputError("A zip file cannot hold links: use images='copy' or write a folder.")

    def folder(self, name: str) -> None:
        self.archive.writestr(zipfile.ZipInfo(f"{name}/"), b"")


@contextmanager
def open_sink(path: Path | str, owned: Collection[str], *, overwrite: bool = False) -> Iterator[Sink]:
    """Open a folder, or a zip file if ``path`` ends with ".zip", for writing.

    Everything goes to a place beside ``path`` that takes its name when all is written. After a failure nothing
    is left behind, and what was there before stays as it was.

    Args:
        path: Folder or zip file; its parent folders are made.
        owned: Names ("*" stands for any characters) of the files and folders at the top of an export of this format.
        overwrite: Replace an earlier export as a whole.

    Raises:
        InputError: There is something already and ``overwrite`` is not set, or it is not an export of this format.
        OSError: It cannot be written.
    """
    path = Path(path).absolute()
    path = path.resolve() if path.is_symlink() else path
    _check_free(path, owned, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.part")
    _remove(staged)
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(staged, "w") as archive:
                yield _ZipSink(archive, path.parent)
            staged.replace(path)
        else:
            staged.mkdir()
            yield _FolderSink(staged)
            _replace_folder(staged, path)
    finally:
        _remove(staged)


def _check_free(path: Path, owned: Collection[str], overwrite: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise InputError(
            f"{path} exists already: choose another place, or set overwrite to replace it as a whole."
        )
    if path.is_dir() == (path.suffix.lower() == ".zip"):
        raise InputError(
            f"{path} cannot be replaced: a name ending with .zip must be a file, any other a folder."
        )
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    strange = [name for name in names if not any(fnmatch(name, pattern) for pattern in owned)]
    if strange:
        raise InputError(
            f"{path} is not replaced, since it holds other files ({strange[0]}): choose another folder."
        )


def _replace_folder(staged: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    _remove(old)
    if path.exists():
        path.rename(old)
    staged.rename(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # Dated 1980, so that equal content gives equal files.
    info.external_attr = 0o644 << 16
    stored = name.lower().endswith((".png", ".jpg", ".jpeg"))
    info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    return info


def _pieces(content: bytes | Iterable[str]) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
    else:
        yield from (piece.encode("utf-8") for piece in content)


def place_image(sink: Sink, name: str, item: Item, images: Images) -> None:
    """Copy or link the image of an item to ``name``, or leave it where it is.

    Raises:
        InputError: The image does not exist.
    """
    if images == "leave":
        return
    if not item.image.is_file():
        raise InputError(
            f"The image {item.image} of '{item.name}' does not exist: set images to 'leave' to do without."
        )
    (sink.copy if images == "copy" else sink.link)(name, item.image)


class Spool:
    """A list that lies on disk: entries are added one by one and read back once, so that memory stays constant.

    Args:
        sink: The export; the file lies beside it and has no name.
    """

    def __init__(self, sink: Sink) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=sink.spools)  # noqa: SIM115
        self.count = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: str) -> None:
        """Append one line of text."""
        self._file.write(line + "\n")
        self.count += 1

    def add_json(self, entry: Any) -> None:
        """Append one value as JSON."""
        self.add(json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    def lines(self) -> Iterator[str]:
        """The lines, each with its line break."""
        self._file.seek(0)
        yield from self._file

    def json_list(self) -> Iterator[str]:
        """The lines as pieces of a JSON list."""
        yield "["
        for number, line in enumerate(self.lines()):
            yield ("\n" if number == 0 else ",\n") + line.rstrip("\n")
        yield "\n]"


def json_object(head: dict[str, Any], lists: dict[str, Spool]) -> Iterator[str]:
    """Pieces of a JSON object: some values that fit into memory, and lists that need not."""
    separator = "{\n"
    for key, value in head.items():
        yield f"{separator}{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        separator = ",\n"
    for key, spool in lists.items():
        yield f"{separator}{json.dumps(key)}: "
        yield from spool.json_list()
        separator = ",\n"
    yield "\n}\n"
