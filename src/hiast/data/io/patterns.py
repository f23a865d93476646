"""Finding files by pattern, and pairing images with labels by relative path, never by base name alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hiast.errors import InputError
from hiast.files import walk_files

_WILDCARD = re.compile(r"\*\*/|\*\*|\*|\?|\{[A-Za-z_]\w*\}")
_TOKEN = re.compile(_WILDCARD.pattern + r"|\{[^{}/]*,[^{}/]*\}")
_SUFFIX = re.compile(r"(\.\w+|\.\{[^{}/]*,[^{}/]*\}|\{\.[^{}/]+\})$")
_SAME_SUFFIX = (("jpg", "jpeg", "jpe", "jfif"), ("tif", "tiff"), ("mpg", "mpeg"))
_FIXED = {"**/": "((?:.*/)?)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}

IMAGE_SUFFIXES = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "tif",
        "tiff",
        "webp",
        "bmp",
        "gif",
        "jp2",
        "j2k",
        "j2c",
        "jpx",
        "ppm",
        "pgm",
        "pbm",
        "pnm",
        "avif",
        "heic",
        "heif",
    ]
)
"""Suffixes of the formats that are read as images, in lower case and without dot."""


@dataclass(frozen=True)
class Pattern:
    """Relative paths below a folder.

    - ``*`` and ``?`` stand for characters other than "/", ``**`` for any, ``**/`` for any folders or none.
    - ``{field}`` stands for any characters, under a name. Where a field occurs again it stands for the same text:
      ``{name}/images/{name}.png``.
    - ``{jpg,png}`` stands for one of several texts.
    - A suffix is matched in upper and lower case alike; ``.jpg`` and ``.jpeg`` are one, so are ``.tif`` and ``.tiff``.

    Args:
        text: The pattern, with "/" between folders.

    Raises:
        InputError: The pattern is empty or leaves its folder.

    Examples:
        >>> pattern = Pattern("images/{name}.{jpg,png}")
        >>> [bool(pattern.regex.fullmatch(path)) for path in ("images/a/1.JPEG", "images/2.png", "images/3.bmp")]
        [True, True, False]
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text:
            raise InputError(
                f"The pattern {self.text!r} has to be text: write images/{{name}}.png, and several suffixes as "
                "images/{name}.{png,jpg}."
            )
        if self.text.startswith("/") or ".." in self.text.split("/"):
            raise InputError(f"The pattern '{self.text}' has to be relative to the dataset's folder.")

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Its wildcards and fields, in order; a field that occurs again is left out."""
        found = _WILDCARD.findall(self.text)
        return tuple(w for i, w in enumerate(found) if not (w.startswith("{") and w in found[:i]))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of its fields, in order."""
        return tuple(wildcard[1:-1] for wildcard in self.wildcards if wildcard.startswith("{"))

    @property
    def folder(self) -> str:
        """The folders before the first wildcard, "." if there are none."""
        fixed = _TOKEN.split(self.text, maxsplit=1)[0]
        return fixed.rpartition("/")[0] or "."

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Regular expression with one group per wildcard, named for a field."""
        suffix = _SUFFIX.search(self.text)
        body = self.text[: suffix.start()] if suffix else self.text
        parts, position, seen = [], 0, set()
        for match in _TOKEN.finditer(body):
            parts.append(re.escape(body[position : match.start()]))
            token = match.group()
            if token in _FIXED:
                parts.append(_FIXED[token])
            elif "," in token:
                parts.append(f"(?:{'|'.join(map(re.escape, token[1:-1].split(',')))})")
            else:
                field = token[1:-1]
                parts.append(f"(?P={field})" if field in seen else f"(?P<{field}>.+)")
                seen.add(field)
            position = match.end()
        parts.append(re.escape(body[position:]))
        if suffix:
            parts.append(_suffix_regex(suffix.group()))
        return re.compile("".join(parts), re.DOTALL)


def _suffix_regex(text: str) -> str:
    """Regular expression of ".png", ".{jpg,png}" or "{.jpg,.png}"."""
    names = [name.strip().strip(".").lower() for name in text.strip(".{}").split(",")]
    same = [
        name for each in names for name in next((group for group in _SAME_SUFFIX if each in group), (each,))
    ]
    return rf"\.(?i:{'|'.join(map(re.escape, dict.fromkeys(same)))})"


@dataclass(frozen=True)
class Found:
    """A file that matches a pattern.

    Attributes:
        path: Where it is.
        name: Its path below the pattern's fixed folder, with "/", without suffix.
        match: What the wildcards stand for.
    """

    path: Path
    name: str
    match: re.Match[str]


@dataclass(frozen=True)
class Search:
    """What a pattern finds.

    Attributes:
        found: Files that match, ordered by name; at least one.
        beside: Files in the same folders that do not match, hidden ones included, ordered by path.
    """

    found: tuple[Found, ...]
    beside: tuple[Path, ...]


def find_files(root: Path, pattern: str, purpose: str) -> list[Found]:
    """Files below ``root`` that match, see ``search_files``."""
    return list(search_files(root, pattern, purpose).found)


def search_files(root: Path, pattern: str, purpose: str) -> Search:
    """Files below ``root`` that match a pattern, and the files beside them. Links to folders are followed.

    Hidden files, whose names start with a dot, never match.

    Args:
        root: Folder that the pattern is relative to.
        pattern: See ``Pattern``.
        purpose: What the files are, such as "images of GTA5", for messages.

    Raises:
        InputError: The folder is missing or nothing in it matches; the message names what is there instead.
    """
    shape = Pattern(pattern)
    folder = root / shape.folder
    if not folder.is_dir():
        raise InputError(_missing_folder(root, folder, pattern, purpose))
    below = "" if shape.folder == "." else f"{shape.folder}/"
    found, others = [], []
    for inner in walk_files(folder):
        visible = not inner.rpartition("/")[2].startswith(".")
        match = shape.regex.fullmatch(below + inner) if visible else None
        if match:
            found.append(Found(folder / inner, _without_suffix(inner), match))
        else:
            others.append(inner)
    if not found:
        raise InputError(_nothing_matches(root, folder, pattern, purpose, others))
    folders = {file.path.parent for file in found}
    beside = [folder / inner for inner in others]
    return Search(
        tuple(sorted(found, key=lambda file: (file.name, file.path))),
        tuple(sorted(path for path in beside if path.parent in folders)),
    )


def describe_files(paths: Sequence[Path], most: int = 5) -> str:
    """Names of some files for a message: "Thumbs.db, list.txt and 3 more"."""
    names = ", ".join(path.name for path in paths[:most])
    return names + (f" and {len(paths) - most} more" if len(paths) > most else "")


def _missing_folder(root: Path, folder: Path, pattern: str, purpose: str) -> str:
    """What is missing of a folder, and what lies where it should be."""
    missing = next(part for part in (*reversed(folder.parents), folder) if not part.is_dir())
    if missing.is_symlink():
        return f"{missing} is a link to {missing.readlink()}, which is missing: the {purpose} belong there."
    if missing in (root, *root.parents):
        return (
            f"{folder} is missing: the {purpose} belong there; set data_root to the folder that holds them."
        )
    there = sorted(path.name for path in missing.parent.iterdir() if path.is_dir() and path.name[:1] != ".")
    shown = f"; {missing.parent} holds the folders {', '.join(there[:8])}" if there else ""
    return f"{folder} is missing: the {purpose} belong there{shown}. Set data_root, or change the pattern '{pattern}'."


def _nothing_matches(root: Path, folder: Path, pattern: str, purpose: str, others: Sequence[str]) -> str:
    text = f"{folder} holds no {purpose}: no file matches '{pattern}' below {root}."
    if (root / pattern).is_dir():
        whole = f"{pattern.rstrip('/')}/{{name}}.png"
        return f"{text[:-1]}, which is a folder: write {whole}, with the suffix of the files."
    suffixes = Counter(Path(inner).suffix or "no suffix" for inner in others)
    if not suffixes:
        return f"{text} The folder is empty."
    counts = ", ".join(f"{count} with {suffix}" for suffix, count in suffixes.most_common(4))
    return f"{text} There are {len(others)} other files such as {others[0]} ({counts}): change the pattern."


def _without_suffix(inner: str) -> str:
    stem, _, suffix = inner.rpartition(".")
    return stem if suffix and stem and "/" not in suffix else inner
