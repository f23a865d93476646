"""From a configuration to the loggers of a run."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig

from hiast.cli.config import instantiate
from hiast.errors import InputError


def build_loggers(config: DictConfig) -> list[Any]:
    """The loggers that the group ``logger`` names, and those of the list ``logger.loggers``.

    Raises:
        InputError: A package is missing, or a logger does not take a setting.
    """
    for name, node in config.logger.items():
        if isinstance(node, DictConfig) and "_target_" not in node:
            raise InputError(f"logger.{name} has settings but names no logger: add logger={name}.")
    nodes = {name: node for name, node in config.logger.items() if name != "loggers" and node is not None}
    listed = {f"loggers.{place}": node for place, node in enumerate(config.logger.get("loggers") or [])}
    return [_built(str(name), node) for name, node in {**nodes, **listed}.items()]


def _built(name: str, node: DictConfig) -> Any:
    if str(node.get("_target_")).endswith("MLFlowLogger"):
        # MLflow 3 refuses plain files otherwise, and a database needs its whole package.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        return instantiate(node)
    except ModuleNotFoundError as error:
        package = name if "." not in name else node.get("_target_")
        raise InputError(
            f"logger={name} needs a package that is not installed ({' '.join(str(error).split())[:150]}): "
            f'install it with pip install "hiast[{package}]", or leave the logger out.'
        ) from error
