"""From a configuration to the stages of a run and their rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hiast.callbacks import LabelSettings
from hiast.cli.build import stage_names
from hiast.cli.config import instantiate, plain
from hiast.errors import InputError
from hiast.run import Round, Stage


def build_stages(config: DictConfig) -> list[Stage]:
    """The stages to run, in order.

    Raises:
        InputError: A stage's settings do not fit.
    """
    return [Stage(name, _rounds(name, stage_settings(config, name))) for name in stage_names(config)]


def stage_settings(config: DictConfig, name: str) -> DictConfig:
    """The settings of a stage, with those that follow other stages filled in."""
    settings: DictConfig = _online(config) if name == "online" else config[name]
    return settings


def _online(config: DictConfig) -> DictConfig:
    """The online stage; what it leaves open is as large as the rounds of self-training together."""
    node: DictConfig = config.online.copy()
    rounds = config.self_training
    if node.max_steps is None:
        differences = _by_round(rounds.by_round)
        node.max_steps = sum(
            differences.get(str(number), {}).get("max_steps", rounds.max_steps)
            for number in range(1, rounds.rounds + 1)
        )
    if node.batch_size is None:
        node.batch_size = rounds.batch_size
    return node


def _rounds(stage: str, node: Any) -> list[Round]:
    values: dict[str, Any] = plain(node)
    differences = _by_round(values.pop("by_round", None))
    count = values.pop("rounds", 1)
    rounds = []
    for number in range(1, count + 1):
        place = stage if count == 1 else f"{stage}, round {number}"
        rounds.append(_round(place, values, differences.get(str(number), {})))
    return rounds


def _by_round(differences: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Number of a round, in YAML a number and on the command line text -> what differs in it."""
    return {str(number): settings for number, settings in (differences or {}).items()}


def _round(place: str, values: dict[str, Any], difference: dict[str, Any]) -> Round:
    merged: Any = OmegaConf.merge(OmegaConf.create(values), OmegaConf.create(difference))
    labels = merged.get("labels")
    with _naming(f"{place}, module"):
        module = instantiate(merged.module)
    with _naming(f"{place}, pseudo_label"):
        settings = None if labels is None else _labels(labels)
    return Round(
        module=module,
        max_steps=merged.max_steps,
        batch_size=merged.batch_size,
        accumulate_grad_batches=merged.get("accumulate_grad_batches", 1),
        labels=settings,
        needs_pretrained=merged.module.get("feature_distance") is not None,
    )


def _labels(node: Any) -> LabelSettings:
    settings: LabelSettings = instantiate(node)
    settings.policy(num_classes=2)  # A value that does not fit must not be found after hours of training.
    return settings


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Name the part of the configuration that a constructor refuses."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
