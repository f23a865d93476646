"""Unpacking the zip archives that datasets are downloaded as: into their folder only, file by file, resumable.

``zipfile`` reads them. Its own ``extract`` would write half a file where it is interrupted and rename entries that lead
elsewhere; here each file is written whole or not at all, and such an entry is refused.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from hiast.errors import InputError
from hiast.files import write_atomically


@dataclass(frozen=True)
class Archives:
    """How a dataset is downloaded.

    Attributes:
        folder: Folder below ``data_root`` that the archives are unpacked into.
        patterns: Names of the archives; of each pattern at least one has to be there.
        contents: Folders inside the archives that are needed; other files are left packed.
        advice: How to get the files out of an archive that is not a zip file, else empty.
    """

    folder: str
    patterns: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Member:
    """A file to unpack: its archive, its entry there and where it goes."""

    archive: Path
    entry: zipfile.ZipInfo
    target: Path

    @property
    def unpacked(self) -> bool:
        """Whether the file is there in full."""
        return self.target.is_file() and self.target.stat().st_size == self.entry.file_size


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
                f"{folder} holds no archive {pattern}: put the downloaded file there, or set archives=DIR."
            )
        found += here
    return sorted(found)


def list_members(archives: Archives, paths: list[Path], data_root: Path) -> list[Member]:
    """The files that are needed, and where each goes; nothing is written.

    Args:
        archives: How the dataset is downloaded.
        paths: Its archives.
        data_root: Folder of the datasets.

    Raises:
        InputError: An archive is damaged or encrypted, holds nothing that is needed, or an entry leads elsewhere.
    """
    base = data_root / archives.folder
    members = []
    for path in paths:
        with _open(path) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
        wanted = [entry for entry in files if entry.filename.startswith(archives.contents)]
        if not wanted:
            raise InputError(
                f"{path} holds no files in {' or '.join(archives.contents)}; it is another archive."
            )
        for entry in wanted:
            _check(path, entry)
        members += [Member(path, entry, base / entry.filename) for entry in wanted]
    return members


def missing_bytes(members: list[Member]) -> int:
    """Bytes that unpacking will write."""
    return sum(member.entry.file_size for member in members if not member.unpacked)


def unpack(members: list[Member]) -> Iterator[bool]:
    """Write the files, each whole or not at all; files that are there in full are left alone.

    Yields:
        For each member, in order: whether it was written.

    Raises:
        InputError: An archive is damaged, or a folder on the way is a link to elsewhere.
        OSError: The disk is full or cannot be written.
    """
    for path, group in groupby(members, lambda member: member.archive):
        with _open(path) as archive:
            for member in group:
                missing = not member.unpacked
                if missing:
                    _write(archive, member)
                yield missing


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path} is not a complete zip archive ({error}): fetch it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Refuse an entry that would be written outside of the dataset's folder, is a link, or needs a password."""
    path = PurePosixPath(entry.filename)
    if (
        path.as_posix() != entry.filename
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in entry.filename
    ):
        raise InputError(
            f"{archive} names the file '{entry.filename}', which leads elsewhere: do not trust it."
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(
            f"{archive} holds the link '{entry.filename}' where a file is expected: do not trust it."
        )
    if entry.flag_bits & 1:
        raise InputError(f"{archive} is encrypted: unpack it by hand.")


def _write(archive: zipfile.ZipFile, member: Member) -> None:
    folder = member.target.parent
    folder.mkdir(parents=True, exist_ok=True)
    base = member.target.parents[len(PurePosixPath(member.entry.filename).parts) - 1]
    if not folder.resolve().is_relative_to(base.resolve()):
        raise InputError(f"{folder} is a link to elsewhere: remove it or unpack {member.archive} by hand.")
    try:
        with archive.open(member.entry) as packed:
            write_atomically(member.target, lambda file: shutil.copyfileobj(packed, file, 1 << 20))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{member.archive} is damaged at '{member.entry.filename}' ({error}): fetch it again."
        ) from error
