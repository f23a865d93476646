"""Which settings of a run may differ when it goes on: those that change nothing of what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

_NO_CHANGE = ("data_root", "cache_folder", "num_workers", "run", "loggers")
"""Settings that change no result, wherever they stand."""

_OF_SELF_TRAINING = ("loss", "pseudo_label", "augmentation")
"""Parts of the configuration that no other stage reads."""


def first_difference(there: str, here: str, begun: Sequence[str]) -> str | None:
    """The first setting that two configurations differ in and that matters to the stages that have begun.

    Args:
        there: Configuration that the run began with, as YAML.
        here: That of now.
        begun: Stages that have left anything behind, in order.
    """
    old, new = yaml.safe_load(there), yaml.safe_load(here)
    if not begun:
        return None
    stages = [_stages(config) for config in (old, new)]
    if any(names[: len(begun)] != list(begun) for names in stages):
        return f"stages was {stages[0]} and is {stages[1]}"
    later = set(stages[0] + stages[1]) - set(begun)
    unread = later | set(_OF_SELF_TRAINING if "self_training" in later else ())
    before, now = (
        _settings({key: value for key, value in config.items() if key not in {"stages", *unread}})
        for config in (old, new)
    )
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            was, becomes = (settings.get(key, "nothing") for settings in (before, now))
            return f"{key} was {was} and is {becomes}"
    return None


def _stages(config: dict[str, Any]) -> list[str]:
    """The stages that a configuration walks; one without a module (warmup=none) is left out."""
    return [name for name in config["stages"] if (config[name]["module"] or {}).get("_target_")]


def _settings(value: Any, key: str = "") -> dict[str, Any]:
    """Dotted key -> plain value of everything in a configuration that can change results."""
    if key.rpartition(".")[2] in _NO_CHANGE:
        return {}
    if isinstance(value, dict) and value:
        return {k: v for name in value for k, v in _settings(value[name], f"{key}.{name}".strip(".")).items()}
    return {key: value}
