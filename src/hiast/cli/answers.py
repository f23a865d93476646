"""Errors of Hydra and OmegaConf in one sentence that a person can act on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from hiast.cli.conf_files import choices
from hiast.cli.nearest import closest, moved
from hiast.cli.own_folder import GLOBAL_GROUPS
from hiast.cli.words import KEY
from hiast.errors import InputError


@contextmanager
def answered(folders: Sequence[Path] = ()) -> Iterator[None]:
    """Answer errors of Hydra and OmegaConf in one sentence.

    Args:
        folders: The user's own configuration folders.

    Raises:
        InputError: The sentence.
    """
    try:
        yield
    except MissingConfigException as error:
        raise InputError(_missing(str(error.missing_cfg_file or ""), str(error), folders)) from error
    except OverrideParseException as error:
        raise InputError(_unparsed(error)) from error
    except InputError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(first_line(error)) from error
    except ValueError as error:
        # Hydra's own complaints about options and lists of defaults; jobs never raise in here.
        raise InputError(first_line(error)) from error


def _missing(name: str, message: str, folders: Sequence[Path]) -> str:
    loaded = re.search(r"Could not load '([^']+)'", message)
    name = loaded[1] if loaded and not name else name
    group, _, choice = name.rpartition("/")
    if not group:
        return f"There is no configuration {name}."
    first, _, path = name.partition("/")
    if first in GLOBAL_GROUPS and "/" in path:
        folder = Path(path).parents[1] if Path(path).parent.name == first else Path("FOLDER")
        return (
            f"There is no {first} '{path}': name it without folder and suffix, as in --config-dir {folder} "
            f"+{first}={Path(path).stem}."
        )
    known = choices(group, *folders)
    if group.startswith("hydra/"):
        return f"There is no {group} '{choice}' installed: install the plugin of Hydra that brings it."
    parts = [name for name in known if len(choice) > 2 and choice.lower() in name.lower()]
    elsewhere = _elsewhere(group, choice)
    if elsewhere is not None:
        folder = elsewhere.parents[1]
        return f"There is no {group} '{choice}', but a file {elsewhere}: add --config-dir {shlex.quote(str(folder))}."
    near = moved(choice) or " or ".join(parts) or closest(choice, known)
    hint = f"did you mean {near}? There are {', '.join(known)}." if near else f"choose {', '.join(known)}."
    return f"There is no {group} '{choice}': {hint}"


def _elsewhere(group: str, choice: str) -> Path | None:
    """A file of that name in a folder within the current one, which the command line does not name."""
    if not re.fullmatch(r"[\w.-]+", choice):
        return None
    inner = f"{group}/{choice}.yaml"
    found = sorted(path for path in (*Path().glob(inner), *Path().glob(f"*/{inner}")) if path.is_file())
    return found[0] if found else None


def _unparsed(error: OverrideParseException) -> str:
    word = error.override
    key, equals, value = word.partition("=")
    if not equals or not KEY.fullmatch(key):
        return f"'{word}' is not a setting: write key=value."
    return f"{word}: the value cannot be read; close brackets and quotes, or quote it, as in '{key}=\"{value}\"'."


def first_line(error: Exception) -> str:
    """What an error says, without what only a programmer can use."""
    text = re.sub(r"\s*full_key:.*|\s*object_type=.*", "", str(error), flags=re.S)
    text = re.sub(
        r"^Could not override '([^']+)'\.\s+To append.*", r"\1: there is no such key.", text, flags=re.S
    )
    decimal = re.search(r"'([^'=]+)=([-+]?\d+),(\d+(?:e[-+]?\d+)?)'", text)
    if decimal is not None and "To sweep" in text:
        key, whole, part = decimal.groups()
        return (
            f"{key}={whole},{part}: write {key}={whole}.{part} for a number, {key}=[{whole},{part}] for a list, or add "
            "--multirun for one run per value."
        )
    text = re.sub(r"\n[12]\. To use it.*\n3\. To sweep.*", _SWEEP, text, flags=re.S)
    return " ".join(text.split("\n")).split("To append to your config")[0].strip() or type(error).__name__


_SWEEP = ": write key=[value1,value2] for a list, or add --multirun for one run per value."
