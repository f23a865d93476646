"""What a command is given as images: one file, a folder, a pattern, or a list of files."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from pathlib import Path

from hiast.data.io.listing import Pair
from hiast.errors import InputError

log = logging.getLogger(__name__)

_LISTS = frozenset({".txt", ".lst", ".list"})
_IMAGES = frozenset({".png", ".jpg", ".jpeg"})
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def find_images(source: Path | str) -> list[Pair]:
    """The images that a path stands for.

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
    if path.is_file() and path.suffix.lower() not in _LISTS:
        return [Pair(path.stem, path, None)]
    files, root = find_files(source)
    images = [file for file in files if _is_image(file)]
    if not images:
        raise InputError(f"{source} holds no images.")
    if len(images) < len(files):
        log.info("%s: %d files are not images and are passed over.", source, len(files) - len(images))
    return named(images, root)


def find_files(source: Path | str) -> tuple[list[Path], Path]:
    """All files that a folder, pattern or list file stands for, and the folder that they lie below.

    Raises:
        InputError: There is none, or a listed file is missing.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
        return [
            file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)
        ], path
    if path.suffix.lower() in _LISTS and path.is_file():
        files = _listed(path)
    else:
        matches = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207
        files = [Path(file) for file in matches if Path(file).is_file()]
    if not files:
        raise InputError(f"{source} is neither an image, a folder nor a list file, and no file matches it.")
    shared = set(files[0].absolute().parents).intersection(*(file.absolute().parents for file in files[1:]))
    return files, max(shared, key=lambda folder: len(folder.parts))


def named(images: list[Path], root: Path) -> list[Pair]:
    """Pairs of files below ``root``, under unique names."""
    inner = {image: image.absolute().relative_to(root.absolute()).as_posix() for image in images}
    stems = {image: name.removesuffix(image.suffix) for image, name in inner.items()}
    taken = Counter(stems.values())
    pairs = [Pair(stems[i] if taken[stems[i]] == 1 else inner[i], i, None) for i in images]
    return sorted(pairs, key=lambda pair: pair.name)


def _is_image(path: Path) -> bool:
    if path.suffix.lower() in _IMAGES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_STARTS)
    except OSError:
        return False


def _listed(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list file {path} cannot be read: {error}.") from error
    files = []
    for line in lines:
        if line and not line.startswith("#"):
            found = next((place for place in (path.parent / line, Path(line)) if place.is_file()), None)
            if found is None:
                raise InputError(
                    f"{path} names '{line}', which is not a file in {path.parent} or the current folder."
                )
            files.append(found)
    return list(dict.fromkeys(files))
