"""Unpacking the zip archives that datasets are downloaded as: only into their folder, file by file, resumable."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hiast.errors import InputError
from hiast.files import write_atomically


@dataclass(frozen=True)
class Archives:
    """How a dataset is downloaded.

    Attributes:
        folder: Folder below ``data_root`` that the archives are unpacked into.
        patterns: Names of the archives; of each pattern at least one has to be there.
        contents: Folders inside the archives that are wanted; other files are left packed.
        advice: How to get the files out of an archive that is no zip file, else empty.
    """

    folder: str
    patterns: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    advice: str = ""


GTA5 = Archives("GTA5", ("*_images.zip", "*_labels.zip"), ("images/", "labels/"))
CITYSCAPES = Archives(
    "cityscapes",
    ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"),
    tuple(f"{kind}/{split}/" for kind in ("leftImg8bit", "gtFine") for split in ("train", "val")),
)
SYNTHIA = Archives(
    "SYNTHIA_RAND_CITYSCAPES",
    advice="SYNTHIA is downloaded as a .rar file, which only programs such as unrar, 7z or bsdtar unpack: "
    "unpack it by hand so that DATA_ROOT/SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/RGB is there.",
)


@dataclass(frozen=True)
class Member:
    """A file to unpack: its archive, its entry there and where it goes."""

    archive: Path
    entry: zipfile.ZipInfo
    target: Path


def find_archives(archives: Archives, folder: Path) -> list[Path]:
    """The archives of a dataset in a folder or in the dataset's folder below it, sorted.

    Raises:
        InputError: Some are missing, or the dataset is not downloaded as zip files.
    """
    if archives.advice:
        raise InputError(archives.advice)
    found: list[Path] = []
    for pattern in archives.patterns:
        here = [*folder.glob(pattern), *(folder / archives.folder).glob(pattern)]
        if not here:
            raise InputError(
                f"{folder} holds no archive {pattern}: put the downloaded file there, or say archives=DIR."
            )
        found += here
    return sorted(found)


def list_members(archives: Archives, paths: list[Path], data_root: Path) -> list[Member]:
    """The files that are wanted, and where each goes; nothing is written.

    Args:
        archives: Of the dataset.
        paths: The archives.
        data_root: Folder of the datasets.

    Raises:
        InputError: An archive is damaged or encrypted, holds nothing that is wanted, or names a place outside.
    """
    base = data_root / archives.folder
    members = []
    for path in paths:
        wanted = [
            Member(path, entry, base / entry.filename)
            for entry in _entries(path)
            if not entry.is_dir() and entry.filename.startswith(archives.contents)
        ]
        if not wanted:
            raise InputError(
                f"{path} holds no files in {' or '.join(archives.contents)}; it is another archive."
            )
        for member in wanted:
            _check(member)
        members += wanted
    return members


def unpack(members: list[Member]) -> Iterator[bool]:
    """Write the files, each whole or not at all; files that are there in full are left alone.

    Yields:
        For each member, in order: whether it was written.

    Raises:
        InputError: An archive is damaged, or a folder on the way is a link to elsewhere.
        OSError: The disk is full or cannot be written.
    """
    archive: zipfile.ZipFile | None = None
    try:
        for member in members:
            if _is_there(member):
                yield False
                continue
            if archive is None or archive.filename != str(member.archive):
                if archive is not None:
                    archive.close()
                archive = _open(member.archive)
            _write(archive, member)
            yield True
    finally:
        if archive is not None:
            archive.close()


def missing_bytes(members: list[Member]) -> int:
    """Bytes that unpacking will write."""
    return sum(member.entry.file_size for member in members if not _is_there(member))


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path} is no whole zip archive ({error}): fetch it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    with _open(path) as archive:
        return archive.infolist()


def _check(member: Member) -> None:
    """Refuse an entry that would be written outside the dataset's folder, is a link, or needs a password."""
    name = member.entry.filename
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ":" in parts[0] or any(p in ("", ".", "..") for p in parts):
        raise InputError(f"{member.archive} names the file '{name}', which leads elsewhere: do not trust it.")
    if stat.S_ISLNK(member.entry.external_attr >> 16):
        raise InputError(
            f"{member.archive} holds the link '{name}' where a file is expected: do not trust it."
        )
    if member.entry.flag_bits & 1:
        raise InputError(f"{member.archive} is encrypted: unpack it by hand.")


def _is_there(member: Member) -> bool:
    return member.target.is_file() and member.target.stat().st_size == member.entry.file_size


def _write(archive: zipfile.ZipFile, member: Member) -> None:
    folder = member.target.parent
    folder.mkdir(parents=True, exist_ok=True)
    base = member.target
    for _ in member.entry.filename.split("/"):
        base = base.parent
    if not folder.resolve().is_relative_to(base.resolve()):
        raise InputError(f"{folder} is a link to elsewhere: remove it or unpack {member.archive} by hand.")

    def copy(file: BinaryIO) -> None:
        with archive.open(member.entry) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)

    try:
        write_atomically(member.target, copy)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{member.archive} is damaged at '{member.entry.filename}' ({error}): fetch it again."
        ) from error
