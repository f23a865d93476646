"""From a configuration to the callbacks of the user's own."""

from __future__ import annotations

import pytorch_lightning as pl
from omegaconf import DictConfig

from hiast.cli.config import instantiate
from hiast.errors import InputError


def build_own_callbacks(config: DictConfig) -> list[pl.Callback]:
    """The callbacks of the user's own in ``callbacks``.

    Raises:
        InputError: One is no callback, or does not take a setting.
    """
    built = [instantiate(node) for node in config.callbacks]
    for place, callback in enumerate(built):
        if not isinstance(callback, pl.Callback):
            raise InputError(
                f"callbacks.{place}: {config.callbacks[place].get('_target_')} gives a {type(callback).__name__}: name "
                "a subclass of pytorch_lightning.Callback."
            )
    return built
