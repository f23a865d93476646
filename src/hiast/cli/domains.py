"""From a configuration to the data of both sides: what training, checking and preparing build alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from hiast.classes import LabelSpace
from hiast.cli.config import choices, instantiate, plain, require
from hiast.data import DatasetDataModule, JoinedDataModule
from hiast.data.io.cache import FORMATS, Cache
from hiast.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

STAGES = ("source_only", "warmup", "self_training", "online")


def build_classes(config: DictConfig) -> LabelSpace:
    """The scenario's label space.

    Raises:
        InputError: No scenario was given.
    """
    hint = f"No scenario was given: add +scenario=NAME, one of {', '.join(choices('scenario'))}."
    require(config, "name", hint)
    space = instantiate(require(config, "classes", hint))
    if not isinstance(space, LabelSpace):
        raise InputError("classes must build a hiast.classes.LabelSpace.")
    return space


def build_domains(
    config: DictConfig, classes: LabelSpace, *, cached: bool = True
) -> tuple[DatasetDataModule | JoinedDataModule, DatasetDataModule]:
    """Source and target.

    Args:
        config: As of ``train.yaml``.
        classes: The scenario's.
        cached: Read from the cache that ``data.cache`` asks for; False: from the files.

    Raises:
        InputError: A side is not named, or a setting does not fit.
    """
    for side in ("source", "target"):
        if OmegaConf.select(config, f"data.{side}") is None:
            raise InputError(
                f"The scenario names no data.{side}: add '- /dataset@data.{side}: NAME' to its defaults."
            )
    cache = build_cache(config) if cached else None
    options: dict[str, Any] = {"classes": classes, "unreadable": config.data.unreadable, "cache": cache}
    sampling = config.data.rare_class_sampling
    rare = {} if sampling is None else {"rare_class_sampling": plain(sampling)}
    source = instantiate(config.data.source, **options, **rare)
    target = instantiate(config.data.target, **options)
    for module in single_sources(source):
        if config.selection.source_fraction and not module.has_val:
            module.val_fraction = config.selection.source_fraction
    if isinstance(target, JoinedDataModule):
        raise InputError(
            "data.target joins several datasets, which only data.source may: name a single dataset."
        )
    return source, target


def stage_names(config: DictConfig) -> list[str]:
    """The stages to walk, in order; one whose module was left out (``warmup=none``) is not among them.

    Raises:
        InputError: ``stages`` names something else.
    """
    if not isinstance(config.stages, ListConfig) or not set(config.stages) <= set(STAGES):
        raise InputError(f"stages is {config.stages}: write a list of some of [{', '.join(STAGES)}].")
    modules = {name: OmegaConf.select(config, f"{name}.module._target_") for name in STAGES}
    return [name for name in STAGES if name in config.stages and modules[name] is not None]


def build_cache(config: DictConfig) -> Cache | None:
    """The cache of prepared images that ``data.cache`` asks for.

    Raises:
        InputError: It names no format.
    """
    name = config.data.cache
    if name is None:
        return None
    if name not in FORMATS:
        raise InputError(f"data.cache is '{name}': choose {', '.join(FORMATS)}, or null to do without.")
    return Cache(Path(config.data.cache_folder) / name, Path(config.data_root))


def single_sources(source: DatasetDataModule | JoinedDataModule) -> tuple[DatasetDataModule, ...]:
    """The datasets of a source."""
    return source.modules if isinstance(source, JoinedDataModule) else (source,)


def progress() -> Progress:
    """A progress bar on standard error; without a terminal only its end is written."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
