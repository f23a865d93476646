"""The words of a command line, sorted into options, configuration folders and settings."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from hiast.errors import InputError

_WITH_VALUE = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--package": None,
    "--config-dir": None,
}
"""Options that take a value -> the values; None: any."""

_DEFAULTS = {"--cfg": "job", "--info": "all"}
"""What stands for a value that is left out."""

_ALONE = ("--multirun", "--run", "--resolve", "--shell-completion", "--hydra-help", "--version", "--help")
_SHORT = {
    "-c": "--cfg", "-i": "--info", "-p": "--package", "-cd": "--config-dir", "-m": "--multirun", "-r": "--run",
    "-sc": "--shell-completion", "-h": "--help",
}  # fmt: skip
_ELSEWHERE = {
    "--config-name": "choose a scenario with +scenario=NAME",
    "-cn": "choose a scenario with +scenario=NAME",
    "--config-path": "name a folder of your own configurations with --config-dir DIR",
    "-cp": "name a folder of your own configurations with --config-dir DIR",
    "--experimental-rerun": "rerun the same command; run=DIR resumes a run",
    "--resume": "rerun the same command with the same run=DIR to resume a run",
}
"""Options that other programs have -> what does it here."""

KEY = re.compile(
    r"(?P<sign>~|\+{0,2})(?P<key>[A-Za-z_][\w.-]*(?:[/@][\w.:/@-]+)?)(?:=(?P<value>.*))?", re.DOTALL
)
"""A setting: an optional sign, a key or a config group, a value."""


_SEVERAL = ("run",)
"""Keys that are given without ``key=`` and take several values."""


@dataclass
class CommandLine:
    """What a user typed.

    Attributes:
        options: Options with their values, as Hydra names them.
        folders: Values of ``--config-dir``.
        settings: All other words, in order: ``key=value``, ``+group=choice``, ``~key``.
    """

    options: dict[str, str | None] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)

    def has(self, *names: str) -> bool:
        """Whether one of these options was given."""
        return any(name in self.options for name in names)


def wants_help(words: Sequence[str]) -> bool:
    """Whether ``--help`` or ``-h`` stands anywhere."""
    return any(word in ("-h", "--help") for word in words)


def parse(words: Sequence[str], bare: Sequence[str] = (), known: Sequence[str] = ()) -> CommandLine:
    """Sort the words of a command line; options may stand anywhere.

    Args:
        words: Without the name of the program.
        bare: Keys whose values may be written without ``key=``, in this order; those written with it are passed over.
        known: Keys and groups of the command.

    Raises:
        InputError: An option or a word makes no sense.
    """
    line = CommandLine()
    rest = list(words)
    values: dict[int, str] = {}
    while rest:
        word = rest.pop(0)
        if word == "--":
            continue
        if word.startswith("-") and word != "-":
            _option(line, word, rest, known)
        else:
            if not _is_setting(word, bool(bare), known):
                values[len(line.settings)] = word
            line.settings.append(word)
    free = [
        key for key in bare if not any(word.startswith(f"{key}=") for word in _without(line.settings, values))
    ]
    # So the shell writes a pattern that is not quoted.
    if len(values) > len(free) == 1 and free[0] in _SEVERAL:
        first = next(iter(values))
        line.settings[first] = ",".join(values.values())
        line.settings = [
            word for place, word in enumerate(line.settings) if place == first or place not in values
        ]
        values = {first: line.settings[first]}
    if len(values) > len(free):
        raise InputError(_too_many(list(values.values())[len(free)], bare))
    for (place, word), key in zip(values.items(), free, strict=False):
        line.settings[place] = f"{key}={word}"
    for folder in line.folders:
        if not folder.is_dir():
            raise InputError(f"--config-dir: there is no folder {folder}.")
    return line


def folders_in(text: str) -> list[Path]:
    """Configuration folders that an unfinished command line names, for its completion."""
    found = re.findall(r"(?:--config-dir|-cd)[= ](\S+)", text)
    return [Path(folder) for folder in found if Path(folder).is_dir()]


def _option(line: CommandLine, word: str, rest: list[str], known: Sequence[str]) -> None:
    name, equals, value = word.partition("=")
    name = _SHORT.get(name, name)
    if name in _WITH_VALUE:
        allowed = _WITH_VALUE[name]
        if not equals:
            value = _next(name, allowed, rest)
        if allowed is not None and value not in allowed:
            raise InputError(f"{name} takes {', '.join(allowed)}, not '{value}'.")
        if name == "--config-dir":
            line.folders.append(Path(value).expanduser())
        else:
            line.options[name] = value
    elif name in _ALONE and not equals:
        line.options[name] = None
    else:
        raise InputError(_unknown_option(word, name, known))


def _next(name: str, allowed: tuple[str, ...] | None, rest: list[str]) -> str:
    """The value of an option that follows as a word of its own."""
    if rest and (allowed is None or rest[0] in allowed):
        return rest.pop(0)
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    raise InputError(f"{name} needs a {'folder' if name == '--config-dir' else 'value'}.")


def _unknown_option(word: str, name: str, known: Sequence[str]) -> str:
    if name in _ELSEWHERE:
        return f"There is no option {name} here: {_ELSEWHERE[name]}."
    close = get_close_matches(name, [*_WITH_VALUE, *_ALONE], 1, 0.75)
    if close:
        return f"There is no option {name}: did you mean {close[0]}?"
    key = name.lstrip("-").replace("-", "_")
    near = [key] if not known or key in known else get_close_matches(key, known, 1, 0.75)
    example = f", for example {near[0]}=VALUE" if near else ""
    return f"There is no option {word}: settings are written as key=value{example}; see --help."


def _is_setting(word: str, bare: bool, known: Sequence[str]) -> bool:
    """Whether a word is ``key=value``, and not a value alone."""
    match = KEY.fullmatch(word)
    is_setting = match is not None and (match["value"] is not None or match["sign"] == "~")
    if not bare:
        if is_setting or (match is None and "=" in word):
            return True
        raise InputError(f"'{word}' is not a setting: write key=value, or +scenario=NAME; see --help.")
    if match is None or not is_setting or Path(word).expanduser().exists():
        return False
    first = re.split(r"[.@/]", match["key"])[0]
    looks_like_a_path = "/" in match["key"] or re.search(r"\.[A-Za-z]\w{1,10}$", word) is not None
    return not looks_like_a_path or first in (*known, "hydra")


def _without(settings: Sequence[str], places: Container[int]) -> list[str]:
    return [word for place, word in enumerate(settings) if place not in places]


def _too_many(word: str, bare: Sequence[str]) -> str:
    if len(bare) == 1:
        return f"'{word}' is one word too many after {bare[0]}: settings are written as key=value, and quote spaces."
    return (
        f"'{word}' is one path too many after {', '.join(bare)}: quote a pattern, as in input='photos/*.jpg'."
    )


def literal(settings: Sequence[str], text: re.Pattern[str], *, sweep: bool = False) -> list[str]:
    """The settings in Hydra's grammar, with the values of text and paths quoted, so that they mean themselves.

    Args:
        settings: As typed.
        text: Matches the keys that hold text or paths, see ``hiast.cli.settings.text_keys``.
        sweep: Whether a comma separates the values of a sweep.

    Raises:
        InputError: A value is empty.
    """
    return [_literal(word, text, sweep) for word in settings]


def _literal(word: str, text: re.Pattern[str], sweep: bool) -> str:
    match = KEY.fullmatch(word)
    if match is None or not text.fullmatch(match["key"]) or match["value"] is None:
        return word
    value = match["value"]
    if value == "":
        raise InputError(f"{match['key']}= is empty: give a value, or leave the word out.")
    if value == "null" or _is_quoted(value) or (sweep and _is_sweep(value)):
        return word
    return f"{match['sign']}{match['key']}={quoted(value)}"


def quoted(text: str) -> str:
    """``text`` as a quoted value of Hydra's grammar."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def _is_quoted(value: str) -> bool:
    """Whether a value is quoted for Hydra already, and not the name of a file that begins and ends with a quote."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and not Path(value).exists()


def _is_sweep(value: str) -> bool:
    """Whether a value is a list of values or one of Hydra's functions, and not the name of a file."""
    function = re.match(r"(choice|glob|range|sort|shuffle)\(", value)
    return not Path(value).exists() and ("," in value or function is not None)
