"""Which configuration changes are allowed when a run is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hiast.files import parse_yaml

_NO_CHANGE = ("data_root", "cache_folder", "num_workers", "run", "logger", "report", "compile_mode")
"""Settings that do not change results (compiled passes, no more than another device does)."""

_OF_THE_MACHINE = ("accelerator", "devices", "num_nodes", "strategy")
"""Arguments of the trainer that say where a run is resumed. Batch sizes are totals over all devices."""

_OF_THE_START = ("max_time", "profiler", "detect_anomaly", "enable_model_summary")
"""Arguments of the trainer that say how long one start works and what it shows or checks."""

_CHOSEN = "chosen_by_machine"
"""Key that lists the settings which were left to the machine."""

_OF_SELF_TRAINING = ("loss", "pseudo_label", "augmentation")
"""Parts of the configuration that only self-training reads."""


def first_difference(
    there: str, here: str, begun: Sequence[str], untrained: Sequence[str] = ()
) -> str | None:
    """Find the first setting that differs and affects stages that have started.

    Args:
        there: Configuration of the existing run, as YAML.
        here: Configuration of the current start, as YAML.
        begun: Stages that have started, in order.
        untrained: Those of them that have no checkpoint yet. Their batches may still be divided in another way, as
            where the first step did not fit into memory.
    """
    old, new = parse_yaml(there), parse_yaml(here)
    if not begun:
        return None
    stages = [_stages(config) for config in (old, new)]
    if any(names[: len(begun)] != list(begun) for names in stages):
        return f"stages was {stages[0]} and is {stages[1]}"
    later = set(stages[0] + stages[1]) - set(begun)
    unread = later | set(_OF_SELF_TRAINING if "self_training" in later else ())
    free = {f"{stage}.accumulate_grad_batches" for stage in untrained}
    free |= set(old.get(_CHOSEN) or ()) & set(new.get(_CHOSEN) or ())
    before, now = (
        _settings({key: value for key, value in config.items() if key not in {"stages", _CHOSEN, *unread}})
        for config in (old, new)
    )
    for key in [*before, *now]:
        if key not in free and before.get(key) != now.get(key):
            was, becomes = (settings.get(key, "nothing") for settings in (before, now))
            return f"{key} was {was} and is {becomes}"
    return None


def _stages(config: dict[str, Any]) -> list[str]:
    """The stages that a configuration runs, without those that have no module (``warmup=none``)."""
    return [name for name in config["stages"] if (config[name]["module"] or {}).get("_target_")]


def _settings(value: Any, key: str = "") -> dict[str, Any]:
    """Map dotted keys to plain values, for all settings that can change results."""
    group, _, name = key.rpartition(".")
    if name in _NO_CHANGE or (group == "trainer" and name in _OF_THE_MACHINE + _OF_THE_START):
        return {}
    if key == "callbacks" and not value:
        return {}  # Runs that were begun before this key existed have none.
    if key == "data.cache" and value != "jpeg":
        return {key: None}  # The others hold the same pixels as the files.
    if isinstance(value, dict) and value:
        return {k: v for name in value for k, v in _settings(value[name], f"{key}.{name}".strip(".")).items()}
    return {key: value}
