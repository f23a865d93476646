"""Finding files by pattern and pairing images with labels by relative path, never by base name alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hiast.errors import InputError

_WILDCARD = re.compile(r"\*\*/|\*\*|\*|\?|\{[A-Za-z_]\w*\}")


@dataclass(frozen=True)
class Pattern:
    """Relative paths below a folder.

    ``*`` and ``?`` stand for characters other than "/", ``**`` for any, ``**/`` for any folders or none, and
    ``{field}`` for any characters, under a name.

    Args:
        text: The pattern, with "/" between folders.

    Raises:
        InputError: A field occurs twice, or the pattern leaves its folder.
    """

    text: str

    def __post_init__(self) -> None:
        if self.text.startswith("/") or ".." in self.text.split("/"):
            raise InputError(f"The pattern '{self.text}' has to be relative to the dataset's folder.")
        if len(set(self.fields)) != len(self.fields):
            raise InputError(f"The pattern '{self.text}' names a field twice; rename one of them.")

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Its wildcards and fields, in order."""
        return tuple(_WILDCARD.findall(self.text))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of its fields, in order."""
        return tuple(wildcard[1:-1] for wildcard in self.wildcards if wildcard.startswith("{"))

    @property
    def folder(self) -> str:
        """The folders before the first wildcard, "." if there are none."""
        fixed = _WILDCARD.split(self.text, maxsplit=1)[0]
        return fixed.rpartition("/")[0] or "."

    def regex(self) -> re.Pattern[str]:
        """Regular expression with one group per wildcard, named for a field."""
        parts, position = [], 0
        for match in _WILDCARD.finditer(self.text):
            parts.append(re.escape(self.text[position : match.start()]))
            wildcard = match.group()
            fixed = {"**/": "((?:.*/)?)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
            parts.append(fixed.get(wildcard) or f"(?P<{wildcard[1:-1]}>.+)")
            position = match.end()
        return re.compile("".join([*parts, re.escape(self.text[position:])]), re.DOTALL)


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


def find_files(root: Path, pattern: str, purpose: str) -> list[Found]:
    """Files below ``root`` that match, ordered by name; not hidden ones; links to folders are followed.

    Args:
        root: Folder that the pattern is relative to.
        pattern: See ``Pattern``.
        purpose: What the files are, such as "images of GTA5", for messages.

    Raises:
        InputError: The folder is missing or nothing in it matches.
    """
    shape = Pattern(pattern)
    folder = root / shape.folder
    if not folder.is_dir():
        raise InputError(
            f"{folder} is missing: the {purpose} belong there; download them or set data_root. To try things out, "
            "hiast-data-demo makes some."
        )
    regex = shape.regex()
    below = "" if shape.folder == "." else f"{shape.folder}/"
    found = []
    for inner in _walk(folder):
        match = regex.fullmatch(below + inner)
        if match:
            stem, _, suffix = inner.rpartition(".")
            name = stem if suffix and stem and "/" not in suffix else inner
            found.append(Found(folder / inner, name, match))
    if not found:
        raise InputError(f"{folder} holds no {purpose}: no file matches '{pattern}' below {root}.")
    return sorted(found, key=lambda file: (file.name, file.path))


def _walk(folder: Path) -> Iterator[str]:
    """Paths of files relative to ``folder``, with "/"."""
    # A folder that several links lead to is entered once, so that loops of links end.
    entered: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = Path(place).relative_to(folder).as_posix()
        prefix = "" if inner == "." else f"{inner}/"
        yield from (prefix + name for name in sorted(files) if not name.startswith("."))


def pair_files(
    images: list[Found], labels: list[Found], image_pattern: str, label_pattern: str
) -> tuple[list[Path | None], list[Path]]:
    """The label of each image: the one whose fields (or, without fields, wildcards) stand for the same.

    Args:
        images: Found by ``image_pattern``.
        labels: Found by ``label_pattern``.
        image_pattern: For example "images/{name}.jpg" or "**/*.jpg".
        label_pattern: For example "masks/{name}_ids.png" or "**/*.png". Where both patterns have fields in
            common these alone decide; else both have the same wildcards in the same order.

    Returns:
        Label paths in the order of the images, None where there is none; and the labels that belong to no image.

    Raises:
        InputError: The patterns do not fit together, an image has two labels, or two images have one.
    """
    image_shape, label_shape = Pattern(image_pattern), Pattern(label_pattern)
    fields = [field for field in image_shape.fields if field in label_shape.fields]
    if not fields and image_shape.wildcards != label_shape.wildcards:
        raise InputError(
            f"The patterns '{image_pattern}' and '{label_pattern}' cannot be paired: write a field such as "
            "{name} in both."
        )

    def key(match: re.Match[str]) -> tuple[str, ...]:
        return tuple(match[field] for field in fields) if fields else match.groups()

    paths: dict[tuple[str, ...], Path] = {}
    for label in labels:
        other = paths.setdefault(key(label.match), label.path)
        if other != label.path:
            raise InputError(f"{other} and {label.path} are labels of one image: remove one of them.")
    owners: dict[tuple[str, ...], Path] = {}
    for image in images:
        other = owners.setdefault(key(image.match), image.path)
        if other != image.path and key(image.match) in paths:
            raise InputError(
                f"{other} and {image.path} would share the label {paths[key(image.match)]}: write a second field "
                f"that tells them apart in both patterns, '{image_pattern}' and '{label_pattern}'."
            )
    orphans = [path for match, path in paths.items() if match not in owners]
    return [paths.get(key(image.match)) for image in images], orphans
