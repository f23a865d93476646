"""How a dataset's labels are coded: from the keys of a dataset file to a label reader and an id table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from hiast.classes import IGNORED, Color, LabelSpace
from hiast.data.io.label_colors import UNKNOWN_COLOR, ColorIds
from hiast.data.io.labels import (
    MINUS_ONE,
    NO_CHANNEL,
    Decode,
    Threshold,
    read_first_channel,
    read_ids,
    read_one_hot,
)
from hiast.errors import InputError

_LARGEST = 65535
_NOTHING = ("none", "null", "ignore", "ignored", "~")


@dataclass(frozen=True)
class LabelTable:
    """What the values in label files mean.

    Attributes:
        decode: Reads raw ids from a label file.
        names: Raw id -> class name, or None for pixels to ignore.
        assumed: Raw ids that are ignored although the dataset file does not name them.
    """

    decode: Decode
    names: Mapping[int, str | None]
    assumed: frozenset[int]

    @property
    def void(self) -> frozenset[int]:
        """Raw ids that stand for no class."""
        return self.assumed | {raw for raw, name in self.names.items() if name is None}

    @property
    def background(self) -> int:
        """Raw id of pixels that none of several masks of an image covers: that of black, or of no channel."""
        if isinstance(self.decode, ColorIds):
            return self.decode.raw_id((0, 0, 0))
        return NO_CHANNEL if self.decode is read_one_hot else 0

    @property
    def uncovered(self) -> frozenset[int]:
        """Raw ids where one of several masks does not cover the image; of colors: black, ignored and unknown ones."""
        rest = self.void | {UNKNOWN_COLOR} if isinstance(self.decode, ColorIds) else frozenset()
        return rest | {self.background}

    def indices(self, classes: LabelSpace) -> dict[int, int]:
        """Raw id -> index in ``classes``."""
        return {raw: classes.names.index(name) for raw, name in self.names.items() if name is not None}

    def raw_id(self, class_name: str) -> int | None:
        """A raw id of a class; None: there is none."""
        return next((raw for raw, name in self.names.items() if name == class_name), None)


@dataclass(frozen=True)
class LabelCoding:
    """The keys of a dataset file that say how its labels are coded.

    Args:
        ids: Raw id -> class name, or None to ignore the id; -1 is 65535. Also class name -> raw id, or a list of raw
            ids in the order of the classes. None: id 0 is the first class, and so on.
        label_colors: For labels that hold colors: "red,green,blue" or "#rrggbb" -> class name, or None to ignore the
            color. Also class name -> color.
        first_channel: Ids are in the first (red) channel of labels with several channels.
        one_hot: Labels have one channel per class, and one of them is not zero.
        threshold: For soft masks of two classes: pixels of at least this value are of the second class, see
            ``labels.Threshold``.
        id_factor: Ids are stored multiplied by this number, such as 51 to make them visible.
    """

    ids: Any = None
    label_colors: Any = None
    first_channel: bool = False
    one_hot: bool = False
    threshold: float | None = None
    id_factor: int = 1

    @property
    def given(self) -> list[str]:
        """The keys that are not left at their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def table(self, classes: LabelSpace, dataset: str) -> LabelTable:
        """The label reader and the meaning of what it reads.

        Args:
            classes: The dataset's own classes.
            dataset: Name for messages.

        Raises:
            InputError: The keys contradict each other, or an entry does not make sense.
        """
        self._check_choice(classes, dataset)
        if self.label_colors is not None:
            return _color_table(self.label_colors, classes, dataset)
        names = _named_ids(self.ids, classes, dataset)
        if self.id_factor != 1:
            names = {raw * self.id_factor if raw != MINUS_ONE else raw: name for raw, name in names.items()}
        decode: Decode = read_ids
        if self.first_channel:
            decode = read_first_channel
        elif self.one_hot:
            decode = read_one_hot
        elif self.threshold is not None:
            decode = Threshold(self.threshold)
        return LabelTable(decode, names, frozenset({IGNORED}) - names.keys())

    def _check_choice(self, classes: LabelSpace, dataset: str) -> None:
        given = {
            "label_colors": self.label_colors is not None,
            "first_channel": self.first_channel,
            "one_hot": self.one_hot,
            "threshold": self.threshold is not None,
        }
        chosen = [key for key, value in given.items() if value]
        if len(chosen) > 1:
            raise InputError(
                f"{dataset}: labels are coded in one way, not both by {chosen[0]} and {chosen[1]}."
            )
        if self.label_colors is not None and self.ids is not None:
            raise InputError(f"{dataset}: labels hold colors (label_colors) or ids (ids), not both.")
        if self.threshold is not None and len(classes) != 2:
            raise InputError(
                f"{dataset}: threshold divides pixels into two classes, and there are {len(classes)}."
            )
        if isinstance(self.id_factor, bool) or not isinstance(self.id_factor, int) or self.id_factor < 1:
            raise InputError(f"{dataset}: id_factor is {self.id_factor}; give a whole number from 1.")


def parse_color(text: Any) -> Color:
    """(red, green, blue) of "red,green,blue" (0..255), "#rrggbb", or three numbers.

    Raises:
        InputError: It is none of these.

    Examples:
        >>> parse_color("128, 64, 128"), parse_color("#0a0b0c")
        ((128, 64, 128), (10, 11, 12))
    """
    if isinstance(text, Sequence) and not isinstance(text, str):
        text = ",".join(map(str, text))
    text = str(text)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    parts = re.fullmatch(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*", text)
    color = tuple(int(part) for part in parts.groups()) if parts else ()
    if len(color) != 3 or max(color) > 255:
        raise InputError(
            f"'{text}' is not a color: write 'red,green,blue' with numbers up to 255, or '#rrggbb'."
        )
    return color[0], color[1], color[2]


def _color_table(label_colors: Any, classes: LabelSpace, dataset: str) -> LabelTable:
    if not isinstance(label_colors, Mapping):
        raise InputError(
            f"{dataset}: label_colors is {label_colors!r}; write 'red,green,blue': class name for each."
        )
    entries = list(label_colors.items())
    if entries and all(key in classes.names for key, _ in entries):
        entries = [(color, name) for name, color in entries]
    meaning: dict[Color, str | None] = {}
    for color, name in entries:
        _check_class(name, f"the color '{color}'", classes, dataset)
        parsed = parse_color(color)
        if meaning.setdefault(parsed, name) != name:
            raise InputError(
                f"{dataset}: the color '{color}' stands for two classes, '{meaning[parsed]}' and '{name}': give each "
                "color one meaning."
            )
    raw = {color: position for position, color in enumerate(meaning)}
    return LabelTable(ColorIds(raw), {raw[color]: name for color, name in meaning.items()}, frozenset())


def _named_ids(ids: Any, classes: LabelSpace, dataset: str) -> dict[int, str | None]:
    if ids is None:
        return dict(enumerate(classes.names))
    named: dict[int, str | None] = {}
    for key, name in _id_entries(ids, classes, dataset):
        raw = _parse_id(key, dataset)
        _check_class(name, f"id {key}", classes, dataset)
        if named.setdefault(raw, name) != name:
            raise InputError(f"{dataset}: the id {key} stands for two classes, '{named[raw]}' and '{name}'.")
    return named


def _id_entries(ids: Any, classes: LabelSpace, dataset: str) -> list[tuple[Any, Any]]:
    """(raw id, class name) of each entry, from any of the forms that ``ids`` may have."""
    if isinstance(ids, Mapping):
        entries = list(ids.items())
        if entries and all(key in classes.names and not isinstance(name, str) for key, name in entries):
            return [(raw, name) for name, raw in entries]
        return entries
    if isinstance(ids, Sequence) and not isinstance(ids, str) and len(ids) == len(classes):
        return list(zip(ids, classes.names, strict=True))
    raise InputError(
        f"{dataset}: ids is {ids!r}; write the class name of each id, such as ids: {{0: {classes.names[0]}}}, or "
        f"a list of {len(classes)} ids in the order of the classes."
    )


def _parse_id(key: Any, dataset: str) -> int:
    if isinstance(key, str) and re.fullmatch(r"-?\d+", key.strip()):
        key = int(key)
    if isinstance(key, bool) or not isinstance(key, int) or not -1 <= key <= _LARGEST:
        raise InputError(f"{dataset}: the id '{key}' is not a whole number from 0 to 65535, or -1.")
    return MINUS_ONE if key == -1 else key


def _check_class(name: Any, text: str, classes: LabelSpace, dataset: str) -> None:
    """Refuse a class name that the dataset does not have."""
    if name is None or name in classes.names:
        return
    hint = " To ignore it, write null." if str(name).lower() in _NOTHING else ""
    raise InputError(
        f"{dataset}: {text} stands for '{name}', which is none of its classes: {', '.join(classes.names)}.{hint}"
    )
