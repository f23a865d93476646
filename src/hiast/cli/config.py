"""From a command line to one configuration: Hydra's grammar, with errors that a person can act on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hiast.errors import InputError


def conf_directory() -> Path:
    """The folder of configurations: inside the installed package, or of the checkout."""
    spec = find_spec("hiast")
    assert spec is not None and spec.submodule_search_locations
    package = Path(next(iter(spec.submodule_search_locations)))
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def choices(group: str, directory: Path | None = None) -> list[str]:
    """Names of the files of a config group, sorted."""
    return sorted(path.stem for path in ((directory or conf_directory()) / group).glob("*.yaml"))


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration from ``conf`` and overrides in Hydra's grammar.

    ``--config-dir DIR`` adds a folder of the user's own configurations, searched first.

    Raises:
        InputError: An unknown scenario, group choice or key, or a value that does not parse.
    """
    words, extra = _config_dir(list(overrides))
    if extra is not None:
        words.append(f"hydra.searchpath=[{extra.resolve().as_uri()}]")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_directory()), version_base="1.3"):
            config = hydra_compose(config_name, words)
    except MissingConfigException as error:
        raise InputError(_missing(error, extra)) from error
    except (ConfigCompositionException, OverrideParseException) as error:
        raise InputError(_first_line(error)) from error
    except OmegaConfBaseException as error:
        raise InputError(_first_line(error)) from error
    return config


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
        raise InputError(_first_line(error)) from error


def instantiate(config: Any, **arguments: Any) -> Any:
    """Build what ``_target_`` names.

    Raises:
        InputError: The constructor does not know a key or refuses a value.
    """
    try:
        built = hydra_instantiate(config, _convert_="all", **({"_partial_": True} if arguments else {}))
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, InputError):
            raise cause from error
        if isinstance(cause, TypeError | ValueError) or cause is None:
            raise InputError(f"{config.get('_target_')}: {cause or _first_line(error)}") from error
        raise
    if not arguments:
        return built
    try:
        inspect.signature(built).bind(**arguments)
    except TypeError as error:
        raise InputError(f"{config.get('_target_')}: {error}.") from error
    # Objects are not passed through Hydra, which would take a dataclass apart into configuration.
    return built(**arguments)


def _config_dir(words: list[str]) -> tuple[list[str], Path | None]:
    words = [
        part
        for word in words
        for part in (word.split("=", 1) if word.startswith("--config-dir=") else [word])
    ]
    if "--config-dir" not in words:
        return words, None
    at = words.index("--config-dir")
    if at + 1 == len(words):
        raise InputError("--config-dir needs a folder.")
    folder = Path(words[at + 1])
    if not folder.is_dir():
        raise InputError(f"--config-dir: there is no folder {folder}.")
    return words[:at] + words[at + 2 :], folder


def _missing(error: MissingConfigException, extra: Path | None) -> str:
    name = error.missing_cfg_file or ""
    name = str(name)
    group, _, choice = name.rpartition("/")
    if not group:
        return f"There is no configuration {name}."
    known = sorted({*choices(group), *(choices(group, extra) if extra else [])})
    return f"There is no {group} '{choice}': choose {', '.join(known)}."


def _first_line(error: Exception) -> str:
    text = re.sub(r"\s*full_key:.*|\s*object_type=.*", "", str(error), flags=re.S)
    return " ".join(text.split("\n")).split("To append to your config")[0].strip() or type(error).__name__
