"""Names for the values in labels: from a list beside the files, from a palette, or from colors that datasets share."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, IGNORED
from hiast.data.datasets.label_tables import parse_color
from hiast.data.io.labels import MINUS_ONE
from hiast.errors import InputError
from hiast.formats.names import voc_colors
from hiast.formats.voc import VOC_NAMES
from hiast.inspection.values import Kind, Value, ValueTable

LISTS = (
    "classes.txt", "class_names.txt", "labels.txt", "label_names.txt", "names.txt", "obj.names", "labelmap.txt",
    "label_colors.txt", "class_dict.csv", "classes.csv", "_classes.csv", "labels.csv", "classes.json", "labels.json",
)  # fmt: skip
"""Files that name the classes of a dataset, as they are found beside its labels."""

PLACEHOLDER = "class_"
"""Start of the name of a class that nothing names; a number follows."""

_VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "__ignore__")
_USUAL_IGNORE = (IGNORED, 254, MINUS_ONE)
_VOC_BORDER = "224,224,192"


def name_values(
    kind: Kind, table: ValueTable, folders: Sequence[Path], names: Sequence[str] = (), pattern: str = ""
) -> dict[Value, str | None]:
    """A class for each value, or None for values to ignore.

    Args:
        kind: How the labels are coded.
        table: What they hold.
        folders: Folders to look for a list of class names in.
        names: Names that the user gives, in the order of the values; they come before all others.
        pattern: Pattern of the labels, whose words tell label ids of Cityscapes from train ids.

    Raises:
        InputError: There are fewer names than values, or a list cannot be read.
    """
    values = table.frequent if kind == "colors" else sorted(table.frequent, key=str_or_int)
    void = _usual_void(kind, values)
    used = [value for value in values if value not in void]
    if names:
        return _given(used, names, kind) | dict.fromkeys(void)
    known: Mapping[Value, str | None] = _listed(folders, table.colors) or _known(kind, table, pattern)
    taken: dict[Value, str | None] = {}
    for place, value in enumerate(used):
        if value in known:
            taken[value] = known[value]
        elif known and kind == "colors":
            taken[value] = None
        else:
            pair = _binary(used)
            taken[value] = pair[place] if pair else f"{PLACEHOLDER}{value if kind != 'colors' else place}"
    return _voids(taken) | dict.fromkeys(void)


def is_placeholder(name: str) -> bool:
    """Whether a class got its name because nothing names it."""
    return name.startswith(PLACEHOLDER) and name.removeprefix(PLACEHOLDER).isdigit()


def str_or_int(value: Value) -> tuple[int, str]:
    """Order of ids by number, and of colors by text; -1 comes last."""
    return (value, "") if isinstance(value, int) else (0, value)


def _usual_void(kind: Kind, values: Sequence[Value]) -> list[Value]:
    if kind == "colors" or kind == "threshold":
        return [value for value in values if value == _VOC_BORDER]
    others = [value for value in values if value not in _USUAL_IGNORE]
    # A mask of 0 and 255 is one of two classes, and 255 is the other one.
    binary = others == [0] and IGNORED in values
    return [value for value in values if value in _USUAL_IGNORE and not (binary and value == IGNORED)]


def _binary(values: Sequence[Value]) -> tuple[str, str] | None:
    two = len(values) == 2 and values[0] == 0 and values[1] in (1, IGNORED)
    return ("background", "foreground") if two else None


def _given(values: Sequence[Value], names: Sequence[str], kind: Kind) -> dict[Value, str | None]:
    whole = kind != "colors" and all(isinstance(value, int) and value < len(names) for value in values)
    if whole and len(names) > len(values):
        return {value: names[value] for value in range(len(names))}
    if len(names) != len(values):
        found = ", ".join(map(str, values[:20])) + (", ..." if len(values) > 20 else "")
        raise InputError(
            f"names holds {len(names)} names, and the labels hold {len(values)} values: {found}."
        )
    return dict(zip(values, names, strict=True))


def _voids(named: Mapping[Value, str | None]) -> dict[Value, str | None]:
    return {value: None if str(name).lower() in _VOID else name for value, name in named.items()}


def _known(kind: Kind, table: ValueTable, pattern: str) -> Mapping[Value, str | None]:
    """Names of values that datasets share: colors of Cityscapes and PASCAL VOC, ids of Cityscapes."""
    if kind == "threshold":
        return {0: "background", 1: "foreground"}
    streets = street_colors()
    objects: dict[Value, str] = {
        _text(color): name for color, name in zip(voc_colors(), VOC_NAMES, strict=False)
    }
    if kind == "colors":
        if any(value in streets for value in table.values):
            return {value: name for value, name in streets.items() if value in table.values}
        return objects if table.values.keys() <= objects.keys() | {_VOC_BORDER} else {}
    others: dict[Value, str | None] = dict.fromkeys(table.values)
    if "labelids" in pattern.lower():
        return others | {raw: CITYSCAPES_19.names[index] for raw, index in CITYSCAPES_IDS.items()}
    if "labeltrainids" in pattern.lower():
        return others | dict(enumerate(CITYSCAPES_19.names))
    palette = _palette(table)
    for shared in (streets, objects):
        found = {raw: shared.get(color) for raw, color in palette.items()}
        if found and all(found.values()):
            return {raw: name for raw, name in found.items() if name is not None}
    return {}


def street_colors() -> dict[Value, str]:
    """Colors of Cityscapes, which many datasets share, and the names that they stand for."""
    return {_text(color): name for name, color in zip(CITYSCAPES_19.names, CITYSCAPES_19.colors, strict=True)}


def _palette(table: ValueTable) -> dict[Value, str]:
    """Colors of the ids in the palette of a label, if labels have one."""
    example = next((found.example for found in table.values.values()), None)
    if example is None or example.suffix.lower() not in (".png", ".gif", ".bmp", ".tif", ".tiff"):
        return {}
    try:
        with Image.open(example) as picture:
            colors = picture.getpalette("RGB") if picture.mode == "P" else None
    except (
        UnidentifiedImageError
    ):  # Pillow knows fewer forms of TIFF than are read here, and these have no palette.
        return {}
    ids = [raw for raw in table.values if isinstance(raw, int) and raw not in _USUAL_IGNORE]
    if colors is None or not all(3 * raw + 2 < len(colors) for raw in ids):
        return {}
    return {raw: _text(tuple(colors[3 * raw : 3 * raw + 3])) for raw in ids}


def _text(color: tuple[int, ...]) -> str:
    return ",".join(map(str, color))


def _listed(folders: Sequence[Path], colors: bool) -> dict[Value, str]:
    """Value -> name, from the first list that is found."""
    for folder in folders:
        for name in LISTS:
            path = folder / name
            if path.is_file():
                found = read_names(path)
                wanted = {value: text for value, text in found.items() if isinstance(value, str) == colors}
                if wanted:
                    return wanted
    return {}


def read_names(path: Path) -> dict[Value, str]:
    """Values and class names in a list.

    Read are: one name per line (the line counts from 0); ``id name`` or ``id: name``; ``name: r,g,b`` as CVAT writes
    it; CSV with a column of names and one of values, or three of colors; JSON with a list of names, or names by value.

    Raises:
        InputError: The file is not text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return _from_json(json.loads(text))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a list of class names: {error}.") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if path.suffix == ".csv":
        return _from_table(list(csv.reader(lines)))
    named: dict[Value, str] = {}
    for place, line in enumerate(lines):
        color = re.fullmatch(r"(.+?)[:,\s]\s*(\d{1,3}[,\s]+\d{1,3}[,\s]+\d{1,3})(:.*)?", line)
        by_color = re.fullmatch(r"(\d{1,3}[,\s]+\d{1,3}[,\s]+\d{1,3})[:,\s]\s*(\D.*)", line)
        number = re.fullmatch(r"(\d+)\s*[:;,=\s]\s*(\D.*)", line)
        if by_color:
            named[_text(parse_color(by_color[1]))] = by_color[2].strip()
        elif color:
            named[_text(parse_color(color[2]))] = color[1].strip()
        elif number:
            named[int(number[1])] = number[2].strip()
        else:
            named[place] = line
    return named


def _from_table(rows: list[list[str]]) -> dict[Value, str]:
    """Names in rows of a name and a number, or of a name and three numbers of a color, in any order."""
    named: dict[Value, str] = {}
    for place, row in enumerate(rows):
        cells = [cell.strip() for cell in row]
        numbers = [int(cell) for cell in cells if re.fullmatch(r"\d+", cell)]
        texts = [cell for cell in cells if cell and not re.fullmatch(r"-?\d+(\.\d+)?", cell)]
        if not texts or (place == 0 and not numbers and len(cells) > 1):
            continue  # a heading
        if len(numbers) >= 3 and max(numbers[-3:]) <= 255:
            named[_text(tuple(numbers[-3:]))] = texts[0]
        else:
            named[numbers[0] if numbers else len(named)] = texts[0]
    return named


def _from_json(content: object) -> dict[Value, str]:
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return dict(enumerate(content))
    named: dict[Value, str] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, str) and str(key).isdigit():
            named[int(key)] = value
        elif isinstance(value, int):
            named[value] = str(key)
    return named
