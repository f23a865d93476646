"""Which configuration changes are allowed when a run is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hiast.files import parse_yaml
from hiast.neutral_settings import ANYWHERE, OF_TRAINER, same_pixels
from hiast.stage_names import ONLY_SELF_TRAINING

_CHOSEN = "chosen_by_machine"
"""Key that lists the settings which were left to the machine."""


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
    unread = later | set(ONLY_SELF_TRAINING if "self_training" in later else ())
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
    if name in ANYWHERE or (group == "trainer" and name in OF_TRAINER):
        return {}
    if key == "callbacks" and not value:
        return {}  # Runs that were begun before this key existed have none.
    if same_pixels(key, value):
        return {key: None}
    if isinstance(value, dict) and value:
        return {k: v for name in value for k, v in _settings(value[name], f"{key}.{name}".strip(".")).items()}
    return {key: value}
