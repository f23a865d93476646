"""From words to one checked configuration, with errors that a person can act on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
)
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hiast.cli.answers import answered, first_line
from hiast.cli.check import check
from hiast.cli.conf_files import choices as choices
from hiast.cli.conf_files import conf_directory as conf_directory
from hiast.cli.conf_files import groups
from hiast.cli.kinds import Kind
from hiast.cli.own_folder import GLOBAL_GROUPS, OwnFolder, place, searched
from hiast.cli.settings import TABLES, text_keys
from hiast.cli.words import KEY, CommandLine, literal, parse
from hiast.errors import InputError

Result = TypeVar("Result")


def compose(config_name: str, words: Sequence[str]) -> DictConfig:
    """Compose a configuration from ``conf`` and the words of a command line, and check it.

    ``--config-dir DIR`` adds a folder of the user's own configurations, which is searched first.

    Raises:
        InputError: An unknown scenario, choice or key, or a value that does not fit.
    """
    line = parse(words)
    typed = literal(line.settings, text_keys(config_name))

    def attempt(settings: list[str]) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            return hydra_compose(config_name, settings, return_hydra_config=True)

    with searched(line.folders), answered(line.folders):
        config = settled(typed, attempt)
        chosen = config.hydra.runtime.choices
        with read_write(config), open_dict(config):
            del config["hydra"]
        check_composed(config, config_name, line, chosen)
    return config


def check_composed(
    config: DictConfig, config_name: str, line: CommandLine, chosen: Mapping[str, Any]
) -> None:
    """Check the keys and values of a configuration.

    Args:
        config: As composed; converted in place.
        config_name: Name of the base configuration.
        line: What the user typed.
        chosen: What Hydra has chosen in each group.

    Raises:
        InputError: Names key, value and place.
    """
    OwnFolder.choices = dict(chosen)
    typed = {match["key"] for word in line.settings if (match := KEY.fullmatch(word))}

    def where(key: str) -> str | None:
        return None if key in typed else place(key)

    if config_name in TABLES:
        found = groups(*line.folders) if "classes" in TABLES[config_name] else []
        known = [name for name in found if name in GLOBAL_GROUPS]
        _check_removed(config, config_name, line)
        check(config, config_name, where, known, typed)


def _check_removed(config: DictConfig, config_name: str, line: CommandLine) -> None:
    """Refuse to go without a setting that commands read.

    Raises:
        InputError: ``~KEY`` has removed one.
    """
    table = TABLES[config_name]
    for word in line.settings:
        key = word[1:].partition("=")[0]
        kind: Any = table
        for part in key.split(".") if word.startswith("~") else ():
            kind = kind.get(part) if isinstance(kind, Mapping) else None
        if kind is not None and kind is not table and OmegaConf.select(config, key, default=None) is None:
            instead = (
                f"write {key}=null" if isinstance(kind, Kind) and kind.null else "leave it, or give a value"
            )
            raise InputError(f"{word}: this setting cannot be removed; {instead}.")


def settled(settings: Sequence[str], attempt: Callable[[list[str]], Result]) -> Result:
    """Call ``attempt`` with settings, whose signs are corrected where Hydra asks for others.

    ``scenario=demo`` and ``+loss=iast`` are clearly meant, and so is a key without "+" that the configuration does
    not hold yet: whether such a key exists is found out by ``hiast.cli.check``.
    """
    settings = sorted(dict.fromkeys(settings), key=_layer)
    tried = []
    while True:
        tried.append(settings)
        try:
            return attempt(list(settings))
        except ConfigCompositionException as error:
            settings = list(dict.fromkeys(_corrected(settings, str(error))))
            if settings in tried:
                raise


def _layer(word: str) -> int:
    """Groups that set keys of the whole configuration come in one order: each may change what those before it set."""
    match = KEY.fullmatch(word)
    name = match["key"] if match is not None else ""
    return GLOBAL_GROUPS.index(name) if name in GLOBAL_GROUPS else -1


def _corrected(settings: list[str], message: str) -> list[str]:
    twice = re.match(r"Multiple values for (\S+)\. To override", message)
    given = [
        word for word in settings if twice is not None and (m := KEY.fullmatch(word)) and m["key"] == twice[1]
    ]
    if twice is not None and len(given) > 1:
        raise InputError(f"{twice[1]} is given more than once ({', '.join(given)}): give one of them.")
    for pattern, sign in (
        (r"Could not override '([^']+)'\.\s+No match in the defaults list", "+"),
        (r"Could not override '([^']+)'\.\s+To append to your config", "++"),
        (r"Could not append to config\. An item is already at '([^']+)'", "++"),
        (r"Multiple values for ([^\s]+)\. To override", ""),
    ):
        match = re.match(pattern, message)
        if match is not None and not match[1].startswith("hydra"):
            found = [KEY.fullmatch(word) for word in settings]
            return [
                f"{sign}{word[len(part['sign']) :]}"
                if part is not None and part["key"] == match[1] and part["sign"] != "~"
                else word
                for word, part in zip(settings, found, strict=True)
            ]
    return settings


def require(config: DictConfig, key: str, hint: str) -> Any:
    """Value of ``key``.

    Raises:
        InputError: It is not given; the message is ``hint``.
    """
    if OmegaConf.is_missing(config, key):
        raise InputError(hint)
    return config[key]


def plain(config: Any) -> Any:
    """Dictionaries and lists with all references resolved.

    Raises:
        InputError: A value is missing or refers to nothing.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(first_line(error)) from error


def instantiate(config: Any, **arguments: Any) -> Any:
    """Build what ``_target_`` names.

    Errors inside of a constructor are not wrong input, unless it raises ``InputError``: they keep their traceback.

    Args:
        config: A node with ``_target_``.
        arguments: Further arguments, which are objects.

    Raises:
        InputError: The constructor does not take an argument, or refuses a value.
    """
    try:
        built = hydra_instantiate(config, _convert_="all", **({"_partial_": True} if arguments else {}))
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None:
            raise InputError(first_line(error)) from error
        raise cause from None
    if not arguments:
        return built
    try:
        inspect.signature(built).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{config.get('_target_')}: {error}.") from error
    # Objects are not passed through Hydra, which would take a dataclass apart into configuration.
    return built(**arguments)
