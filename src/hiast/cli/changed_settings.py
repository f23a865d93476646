"""What a user has set: choices and settings that differ from what a scenario gives by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hiast.cli.config import compose
from hiast.cli.own_folder import OwnFolder, folders_searched
from hiast.errors import InputError

_NOT_SHOWN = frozenset({"cache_folder", "data_root", "name", "num_workers", "report", "run"})
"""Settings that change no result, such as where the data are."""


def changed_settings(config: DictConfig) -> dict[str, Any]:
    """Choices and settings of a run that differ from those of its scenario.

    Args:
        config: As composed last, of ``train.yaml``.

    Returns:
        ``scenario``, ``method``, ``choices``: group -> [default, chosen], and ``settings``: dotted key -> [default,
        value]. What follows from a choice, or refers to another setting, is not listed again under ``settings``.
    """
    chosen, loaded = dict(OwnFolder.choices), dict(OwnFolder.loaded)
    folders = [word for folder in folders_searched() for word in ("--config-dir", str(folder))]
    scenario = chosen.get("scenario")
    words = [*folders, *([] if scenario is None else [f"+scenario={scenario}"])]
    try:
        base = compose("train", words)
        usual = dict(OwnFolder.choices)
        differing = {
            group: [usual.get(group), choice]
            for group, choice in chosen.items()
            if not group.startswith("hydra") and usual.get(group) != choice
        }
        base = _chosen(words, differing, base)
    finally:
        OwnFolder.choices, OwnFolder.loaded = chosen, loaded
    return {
        "scenario": scenario,
        "method": chosen.get("method"),
        "choices": differing,
        "settings": {
            key: pair
            for key, pair in _differences(_plain(base), _plain(config))
            if not _is_reference(config, key)
        },
    }


def _chosen(words: list[str], differing: Mapping[str, list[Any]], base: DictConfig) -> DictConfig:
    """The scenario with the choices made; where they do not compose by themselves, without them."""
    choices = [f"{group}={_word(choice)}" for group, (_, choice) in differing.items()]
    try:
        return compose("train", [*words, *choices]) if choices else base
    except InputError:
        return base


def _word(choice: Any) -> str:
    return f"[{','.join(map(str, choice))}]" if isinstance(choice, list | tuple) else str(choice)


def _plain(config: DictConfig) -> dict[str, Any]:
    """Values with references resolved; a part with a missing value stays as it is written."""
    found: dict[str, Any] = {}
    for name in config:
        if OmegaConf.is_missing(config, name):
            continue
        node = config._get_node(name)
        value = config[name]
        found[str(name)] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(node) else value
    return found


def _differences(usual: Any, here: Any, key: str = "") -> Iterator[tuple[str, list[Any]]]:
    if isinstance(usual, dict) and isinstance(here, dict):
        for name in [*usual, *(name for name in here if name not in usual)]:
            if name not in _NOT_SHOWN or (key and name == "name"):
                place = f"{key}.{name}" if key else str(name)
                yield from _differences(usual.get(name), here.get(name), place)
    elif usual != here:
        yield key, [_json(usual), _json(here)]


def _is_reference(config: DictConfig, key: str) -> bool:
    """Whether a setting stands elsewhere, as that of a loss does, and is only referred to here."""
    outer: Any = config
    for part in key.split("."):
        if not isinstance(outer, DictConfig) or part not in outer:
            return False
        if OmegaConf.is_interpolation(outer, part):
            return True
        outer = outer[part]
    return False


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
