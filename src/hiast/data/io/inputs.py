"""What a command is given as images: one file, a folder, a pattern, or a list of files."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hiast.data.io.list_files import read_list
from hiast.data.io.listing import Pair
from hiast.data.io.patterns import IMAGE_SUFFIXES, describe_files
from hiast.data.io.sniff import looks_like_image
from hiast.errors import InputError
from hiast.files import walk_files

log = logging.getLogger(__name__)

_LISTS = frozenset({".txt", ".lst", ".list"})


def find_images(source: Path | str) -> list[Pair]:
    """The images that a path stands for.

    An image is recognized by its suffix or by its first bytes. Everything else, such as Thumbs.db, ._0.png, list.txt
    or a video, is passed over and logged in one line. A damaged image is not passed over: it is listed, and refused
    by the reader.

    Args:
        source: An image; a folder, with all folders below it; a pattern with ``*``, ``?`` or ``**``; or a list file
            (``.txt``, one path per line, relative to the list file or to the current folder).

    Returns:
        Pairs without label, ordered by name. A name is the image's path below the folder (or below the deepest folder
        that all images share), with "/" and without suffix; images that differ in suffix alone keep it.

    Raises:
        InputError: There is nothing, or nothing that is an image; or a listed file is missing.
    """
    path = Path(source)
    if path.is_file() and not _is_list(path):
        return [Pair(path.stem, path, None)]
    files, root = find_files(source)
    return name_files(keep_images(files, source), root)


def keep_images(files: Iterable[Path], source: Path | str) -> list[Path]:
    """The images among files; what else there is is logged in one line.

    Args:
        files: What ``source`` stands for.
        source: For the messages.

    Raises:
        InputError: None of the files is an image.
    """
    images: list[Path] = []
    strays: list[Path] = []
    for file in files:
        (images if is_image(file) else strays).append(file)
    if not images:
        there = f"; there are {describe_files(strays)}" if strays else ""
        raise InputError(f"{source} holds no images{there}.")
    if strays:
        count = len(strays)
        said = "1 file is not an image and is" if count == 1 else f"{count:,} files are not images and are"
        log.info("%s: %s passed over: %s.", source, said, describe_files(strays))
    return images


def find_files(source: Path | str) -> tuple[list[Path], Path]:
    """All files that a folder, pattern or list file stands for, and the folder that they lie below.

    Args:
        source: A folder, pattern or list file, as :func:`find_images` takes it.

    Raises:
        InputError: There is no file, or a listed file is missing.
    """
    path = Path(source)
    if path.is_dir():
        return [path / inner for inner in walk_files(path)], path
    if _is_list(path):
        files = _listed(path)
    else:
        # Path.glob takes relative patterns only.
        matches = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207
        files = [Path(name) for name in matches if Path(name).is_file()]
        if not files:
            raise InputError(
                f"{source} is neither an image, a folder nor a list file, and no file matches it."
            )
    return files, _shared_folder(files)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in _LISTS and path.is_file() and not looks_like_image(path)


def is_image(path: Path) -> bool:
    """Whether a file is meant to be an image, whole or not: by its suffix, else by its first bytes."""
    if path.name.startswith("."):
        return False
    return path.suffix[1:].lower() in IMAGE_SUFFIXES or looks_like_image(path)


def _listed(path: Path) -> list[Path]:
    files = []
    for line in read_list(path):
        places = [path.parent / line, Path(line)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputError(
                f"{path} names '{line}', which is not a file in {path.parent} or in the current folder."
            )
        files.append(Path(os.path.normpath(found)))  # Without "..", which would get into names of outputs.
    if not files:
        raise InputError(f"{path} names no file; write one path per line.")
    return list(dict.fromkeys(files))


def _shared_folder(files: Iterable[Path]) -> Path:
    parents = [file.absolute().parents for file in files]
    shared = set(parents[0]).intersection(*map(set, parents[1:]))
    return max(shared, key=lambda folder: len(folder.parts))


def name_files(images: list[Path], root: Path) -> list[Pair]:
    """Pair each file with a unique name: its path below ``root``, without the suffix where that is unique."""
    inner = {image: image.absolute().relative_to(root.absolute()).as_posix() for image in images}
    stems = {image: name.removesuffix(image.suffix) for image, name in inner.items()}
    taken = Counter(stems.values())
    pairs = [Pair(stems[i] if taken[stems[i]] == 1 else inner[i], i, None) for i in images]
    return sorted(pairs, key=lambda pair: pair.name)
