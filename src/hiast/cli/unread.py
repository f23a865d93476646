"""Settings that a user has changed and that no stage of the run reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hiast.cli.build import stage_names
from hiast.stage_names import ONLY_SELF_TRAINING, STAGES

_FOLLOWED = {"max_steps": ("rounds", "max_steps", "by_round"), "batch_size": ("batch_size",)}
"""Setting of the online stage -> settings of self-training that it follows where it is null."""


def unread_settings(config: DictConfig, changed: Mapping[str, Any]) -> list[str]:
    """Choices and settings that do nothing, since their stage is not part of the run.

    Args:
        config: As composed, with its references.
        changed: What ``changed_settings`` gives for it.

    Returns:
        Their keys, such as ``loss`` with ``method=dacs``.
    """
    stages = stage_names(config)
    unread = set(STAGES) - set(stages)
    if "self_training" in unread:
        unread |= set(ONLY_SELF_TRAINING)
    read = OmegaConf.masked_copy(config, [str(name) for name in config if name not in unread])
    followed = set(re.findall(r"\$\{([\w.]+)\}", OmegaConf.to_yaml(read)))
    if "online" in stages:
        empty = [name for name in _FOLLOWED if config.online[name] is None]
        followed |= {f"self_training.{name}" for key in empty for name in _FOLLOWED[key]}
    choices = [key.rpartition("@")[2] for key, (_, choice) in changed["choices"].items() if choice != "none"]
    return [
        key
        for key in (*choices, *changed["settings"])
        if key.partition(".")[0] in unread and not any(f"{key}.".startswith(f"{one}.") for one in followed)
    ]
