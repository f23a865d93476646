"""Kinds of values that a setting can hold. Each kind converts what is clearly meant and refuses the rest."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Words for true and false, in lower case."""

Table: TypeAlias = Mapping[str, Union["Kind", "Table"]]
"""Name of a setting -> what it holds; a nested table is a nested mapping."""


class UnfitError(Exception):
    """Raised when a value is not of its kind.

    Args:
        wanted: What is wanted, as in "a whole number"; or, with ``found``, what to do, as in "choose a or b".
        found: What the value does wrong, as in "is 'c'".
    """

    def __init__(self, wanted: str, found: str | None = None) -> None:
        super().__init__(wanted)
        self.found = found

    def sentence(self, key: str, value: object, hint: str = "") -> str:
        """What is wrong with the value of a key."""
        text = f"{key} must be {self}, not {value!r}" if self.found is None else f"{key} {self.found}: {self}"
        return f"{text}{hint}."


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Base of all kinds, and a value that is not looked at.

    Attributes:
        null: Whether null is a value too.
    """

    null: bool = False

    def take(self, value: Any) -> Any:
        """The value as the program wants it.

        Raises:
            UnfitError: The value is not of this kind.
        """
        if value is None and self.null:
            return None
        try:
            return self.convert(value)
        except UnfitError as error:
            raise UnfitError(f"{error}{' or null' if self.null else ''}", error.found) from error

    def convert(self, value: Any) -> Any:
        """Convert a value that is not an allowed null; raises ``UnfitError`` if it is of another kind."""
        return value


def _as_number(value: Any) -> Any:
    """The number that a text is, as environment variables hold them (``${oc.env:SEED}``); else the value itself."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number of at least ``least``, and at most ``most`` if that is given; 1e3 is one, 3.5 is not."""

    least: int = 0
    most: int | None = None

    def convert(self, value: Any) -> int:  # noqa: D102
        value = _as_number(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or value < self.least:
            raise UnfitError(f"a whole number of at least {self.least}")
        if self.most is not None and value > self.most:
            raise UnfitError(f"a whole number from {self.least} to {self.most}")
        return value


@dataclass(frozen=True)
class Number(Kind):
    """A finite number."""

    def convert(self, value: Any) -> Any:  # noqa: D102
        value = _as_number(value)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise UnfitError("a number")
        return value


@dataclass(frozen=True)
class Shares(Kind):
    """Numbers from 0 to 1 by name."""

    def convert(self, value: Any) -> Any:  # noqa: D102
        if not isinstance(value, Mapping) or not all(
            type(share) in (int, float) and 0 <= share <= 1 for share in value.values()
        ):
            raise UnfitError("{NAME: number from 0 to 1, ...}, such as {mIoU-19: 0.56}")
        return value


@dataclass(frozen=True)
class Flag(Kind):
    """True or false, also written yes, no, on, off."""

    def convert(self, value: Any) -> bool:  # noqa: D102
        if isinstance(value, str):
            value = SWITCHES.get(value.lower(), value)
        if not isinstance(value, bool):
            raise UnfitError("true or false")
        return value


@dataclass(frozen=True)
class Text(Kind):
    """Text; a number is taken as its text."""

    def convert(self, value: Any) -> str:  # noqa: D102
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            raise UnfitError("text")
        return str(value)


@dataclass(frozen=True)
class FilePath(Kind):
    """Path of a file or folder; a leading "~" becomes the home folder.

    Attributes:
        output: Whether the command writes there, so that each job of a sweep needs a path of its own.
    """

    output: bool = False

    def convert(self, value: Any) -> str:  # noqa: D102
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UnfitError("a path")
        if value == "":
            raise UnfitError("a path that is not empty")
        return os.path.expanduser(str(value))  # noqa: PTH111 - pathlib raises where there is no home folder


@dataclass(frozen=True)
class Choice(Kind):
    """One of several words."""

    options: tuple[str, ...] = ()

    def convert(self, value: Any) -> str:  # noqa: D102
        if value not in self.options:
            raise UnfitError(choose(self.options, self.null), f"is {value!r}")
        return str(value)


@dataclass(frozen=True)
class TextList(Kind):
    """A list of texts; a number is taken as its text."""

    def convert(self, value: Any) -> list[str]:  # noqa: D102
        if not isinstance(value, list) or not value:
            raise UnfitError("a list of texts such as [road, sky]")
        return [Text().convert(text) for text in value]


@dataclass(frozen=True)
class Words(Kind):
    """A list of words.

    Attributes:
        options: The words that are allowed.
        single: Whether a word alone stands for a list of one.
    """

    options: tuple[str, ...] = ()
    single: bool = False

    def convert(self, value: Any) -> list[str]:  # noqa: D102
        words = [value] if self.single and isinstance(value, str) else value
        if not isinstance(words, list):
            raise UnfitError(f"a list of some of [{', '.join(self.options)}]")
        for word in words:
            if word not in self.options:
                raise UnfitError(f"choose among {', '.join(self.options)}", f"names {word}")
        return words


@dataclass(frozen=True)
class Numbers(Kind):
    """A list of positive whole numbers.

    Attributes:
        form: What the numbers are, as in "[height, width]".
        words: Words that are allowed instead.
    """

    form: str = "[height, width]"
    words: tuple[str, ...] = ()

    def convert(self, value: Any) -> Any:  # noqa: D102
        if value in self.words:
            return value
        count = self.form.count(",") + 1
        fits = isinstance(value, list) and len(value) == count
        if not fits or not all(type(number) is int and number > 0 for number in value):
            raise UnfitError(" or ".join((self.form, *self.words)))
        return list(value)


@dataclass(frozen=True)
class Sizes(Kind):
    """A list of [height, width]."""

    def convert(self, value: Any) -> list[list[int]]:  # noqa: D102
        try:
            return [Numbers().take(size) for size in value]
        except (UnfitError, TypeError) as error:
            raise UnfitError("a list of [height, width]") from error


@dataclass(frozen=True)
class Built(Kind):
    """What ``_target_`` names, built from the keys beside it.

    Attributes:
        supplied: Arguments of the constructor that the program gives, so that a configuration cannot.
    """

    supplied: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BuiltList(Kind):
    """A list of what ``_target_`` names."""


@dataclass(frozen=True)
class ByRound(Kind):
    """Number of a round -> what differs there from the settings of the stage."""


@dataclass(frozen=True)
class Fields(Kind):
    """A mapping of the fields of a dataclass.

    Attributes:
        of: Dotted name of the dataclass.
    """

    of: str = ""


@dataclass(frozen=True)
class Options(Kind):
    """Arguments that are passed on to ``pl.Trainer`` ("Trainer") or to Lightning's ``Fabric`` ("Fabric")."""

    of: str = "Trainer"


def choose(options: Sequence[object], null: bool = False) -> str:
    """What to tell somebody who has to choose: "choose a, b or null"."""
    words = [str(option) for option in options]
    if not null:
        words, last = words[:-1], words[-1]
    return f"choose {', '.join(words)}" if null else f"choose {', '.join(words)} or {last}"


def flat(table: Table, prefix: str = "") -> dict[str, Kind]:
    """Dotted key -> kind of everything in a table."""
    found: dict[str, Kind] = {}
    for name, kind in table.items():
        key = f"{prefix}{name}"
        found |= {key: kind} if isinstance(kind, Kind) else flat(kind, f"{key}.")
    return found
