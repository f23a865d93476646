"""Reading YAML as people save it: what is clearly meant is taken, the rest is refused with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from hiast.cli.settings import TEXT_IN_BACKBONES, TEXT_IN_DATASETS
from hiast.errors import InputError

_TEXT = TEXT_IN_DATASETS | TEXT_IN_BACKBONES | {"run", "init_from", "cache_folder", "archives", "out"}
"""Keys whose value is text, also where it looks like a number or a switch."""

_COUNTS = frozenset({("selection", "images")})
"""Keys, with the key around them, that are called as some of ``_TEXT`` and hold a number."""

_NAMES = "names"
_TABLES = ("ids", "class_map", "label_colors", "colors")
"""Keys whose value maps ids, colors or class names to class names or colors."""

_STRING, _NULL, _INT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "int"))


@dataclass(frozen=True)
class Document:
    """A configuration file.

    Attributes:
        path: The file.
        package: What its first comment lines say behind ``@package``; None: nothing.
        text: YAML of the same meaning, with everything quoted that is text.
        lines: Keys from the outside in -> line, from 1.
    """

    path: Path
    package: str | None
    text: str
    lines: dict[tuple[str, ...], int]


def read_document(path: Path) -> Document:
    """Read a configuration file.

    A byte order mark is skipped. Class names and paths are text whatever they look like (``on``, ``2024``); ids with
    leading zeros or in quotes are numbers.

    Raises:
        InputError: The file cannot be read as YAML; the message names file, line and remedy.
    """
    text = _decode(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise InputError(_explain(error, path, text)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{path}, line {line}: the character {error.character!r} is not allowed.") from error
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _NULL):
        return Document(path, _package(text), "{}", {})
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}, line {_line(root)}: the file must hold lines of the form 'key: value'.")
    _take_as_meant(root, path, text.splitlines())
    lines = dict(_lines(root, path))
    return Document(
        path, _package(text), yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True), lines
    )


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: the file is not UTF-8 text (byte 0x{data[error.start]:02x}); save it as UTF-8."
        ) from error


def _package(text: str) -> str | None:
    """The package that the comments at the top name."""
    for line in text.splitlines():
        match = re.match(r"\s*#\s*@package\s+(\S+)", line)
        if match:
            return match[1]
        if line.strip() and not line.lstrip().startswith("#") and line.strip() != "---":
            return None
    return None


def _take_as_meant(node: yaml.Node, path: Path, lines: list[str], inside: str = "") -> None:
    """Mark as text what is text, and as numbers what are ids, below the key ``inside``."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if inside == _NAMES:
                _as_text(item)
            _take_as_meant(item, path, lines)
    elif isinstance(node, yaml.MappingNode):
        node.value = [_entry(key, value, path, lines, inside) for key, value in node.value]


def _entry(
    key: yaml.Node, value: yaml.Node, path: Path, lines: list[str], inside: str
) -> tuple[yaml.Node, yaml.Node]:
    if inside in _TABLES:
        key, value = _color(key), _color(value) if "color" in inside else value
        _as_number(key) if inside == "ids" else _as_text(key)
        _as_text(value)
    name = key.value if isinstance(key, yaml.ScalarNode) else ""
    if name in _TEXT and (inside, name) not in _COUNTS:
        _as_text(value)
    if name == "label_colors" and isinstance(value, yaml.ScalarNode) and not value.value:
        _refuse_comments(path, lines, _line(key))
    _take_as_meant(value, path, lines, name)
    return key, value


def _as_text(node: yaml.Node) -> None:
    # ${...} refers to another key, whatever that holds.
    if isinstance(node, yaml.ScalarNode) and node.tag != _NULL and "${" not in node.value:
        node.tag, node.style = _STRING, node.style or "'"


def _as_number(node: yaml.Node) -> None:
    """An id: "7", 007 and 7 are one number."""
    if isinstance(node, yaml.ScalarNode) and re.fullmatch(r"\d+", node.value):
        node.tag, node.style, node.value = _INT, None, str(int(node.value))


def _color(node: yaml.Node) -> yaml.Node:
    """[128, 64, 128] as "128,64,128"."""
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(n, yaml.ScalarNode) for n in node.value):
        return node
    text = ",".join(item.value for item in node.value)
    return yaml.ScalarNode(_STRING, text, node.start_mark, node.end_mark, "'")


def _refuse_comments(path: Path, lines: list[str], line: int) -> None:
    """Refuse colors that a missing quote has turned into comments."""
    for number, text in enumerate(lines[line : line + 2], line + 1):
        if re.match(r"\s*#[0-9a-fA-F]{6}['\"]?\s*:", text):
            raise InputError(
                f"{path}, line {number}: a '#' begins a comment; put the color in quotes, as in '#804080': road."
            )


def _lines(node: yaml.Node, path: Path, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """All keys with their lines.

    Raises:
        InputError: A key occurs twice in one mapping, or a key or a value is not plain.
    """
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, path, (*outer, str(index)))
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        line = _line(key)
        if not isinstance(key, yaml.ScalarNode):
            text = "a key is a list or a mapping; text that begins with '{' or '[' needs quotes"
            raise InputError(f"{path}, line {line}: {text}.")
        if value.tag.startswith("!"):
            raise InputError(
                f"{path}, line {line}: {value.tag} is not a type; text that begins with ! needs quotes."
            )
        if (key.tag, key.value) in seen:
            other = seen[key.tag, key.value]
            raise InputError(
                f"{path}, line {line}: the key '{key.value}' stands in line {other} too; remove one of them."
            )
        seen[key.tag, key.value] = line
        yield (*outer, key.value), line
        yield from _lines(value, path, (*outer, key.value))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


_CAUSES = (
    (r"cannot start any token", r"^\t|^\s*\t", "a tab stands in the indentation; use spaces"),
    (r"cannot start any token", "", "text that begins with % or @ or ` needs quotes"),
    (
        r"mapping values are not allowed",
        "",
        "the indentation does not fit, or a text with ': ' in it needs quotes",
    ),
    (r"but got '\{'", "", "text with { or } needs quotes between brackets"),
    (r"expected ',' or '[]}]'", "", "a bracket is not closed, or a comma is missing"),
    (r"unexpected end of stream", "", "a quote is not closed"),
    (r"could not find expected ':'", "", "a ':' is missing, or a quote or bracket above is not closed"),
    (r"alias|alphabetic or numeric", "", "text that begins with * or & needs quotes"),
    (r"expected <block end>|expected the node content", r":\s*\{", "text that begins with { needs quotes"),
    (r"expected <block end>", "", "the indentation does not fit the lines above, or a quote is in the way"),
)
"""Message of the parser, what stands in the line, and what to tell the user."""


def _explain(error: yaml.MarkedYAMLError, path: Path, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    if error.context_mark is not None and re.search(r"expected ',' or|unexpected end", error.problem or ""):
        mark = error.context_mark
    lines = text.splitlines()
    line = min(mark.line, max(0, len(lines) - 1)) if mark is not None else 0
    shown = lines[line] if lines else ""
    cause = next(
        (
            cause
            for problem, found, cause in _CAUSES
            if re.search(problem, error.problem or "") and re.search(found, shown)
        ),
        _one_line(error.problem or error),
    )
    return f"{path}, line {line + 1}: {cause}: {shown.strip()[:60]!r}."


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".")
