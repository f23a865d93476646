"""From a configuration to objects: label space, data, stages. The only place that knows the keys of ``train.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from hiast.callbacks import LabelSettings, SelectionSettings
from hiast.classes import LabelSpace
from hiast.cli.config import instantiate, plain
from hiast.cli.domains import STAGES, build_domains, stage_names
from hiast.cli.domains import build_classes as build_classes
from hiast.data import AdaptationDataModule, DatasetDataModule
from hiast.data.augmentation.weak import WeakAugmentation
from hiast.errors import InputError
from hiast.models import SegmentationNetwork
from hiast.run import Round, Stage

_WHOLE_NUMBERS = {
    "seed": 0,
    "pictures": 0,
    "checkpoint_every_n_steps": 1,
    "log_every_n_steps": 1,
    "validation.every_n_steps": 1,
    "data.num_workers": 0,
    "self_training.rounds": 1,
    "pseudo_label.group_size": 1,
    **{
        f"{stage}.{key}": 1
        for stage in STAGES
        for key in ("max_steps", "batch_size", "accumulate_grad_batches")
    },
}
"""Keys that hold whole numbers, and the least each may be."""


def check_numbers(config: DictConfig) -> None:
    """Refuse what is not a whole number before anything is built.

    Raises:
        InputError: Names the key and its value.
    """
    for key, least in _WHOLE_NUMBERS.items():
        value = OmegaConf.select(config, key)
        if value is not None:
            check_whole_number(value, key, least)


def check_whole_number(value: Any, key: str, least: int) -> None:
    """Refuse anything but a whole number of at least ``least``.

    Raises:
        InputError: Names the key and the value.
    """
    if type(value) is not int or value < least:
        raise InputError(f"{key} must be a whole number of at least {least}, not {value!r}.")


def build_datamodule(config: DictConfig, classes: LabelSpace) -> AdaptationDataModule:
    """Source and target joined."""
    return AdaptationDataModule(
        *build_domains(config, classes),
        source_augmentation=WeakAugmentation(instantiate(config.crop.source)),
        target_augmentation=WeakAugmentation(instantiate(config.crop.target)),
        strong=instantiate(config.augmentation.strong),
        hard_class_augmentation=_optional(config.augmentation.hard_class),
        num_workers=config.data.num_workers,
        seed=config.seed,
    )


def _optional(node: Any) -> Any:
    """What a part of the configuration builds; None for one that was left out, whatever is said of its details."""
    return None if node is None or node.get("_target_") is None else instantiate(node)


_TRUSTED = {
    f"hiast.data.{name}DataModule" for name in ("GTA5", "SYNTHIA", "Cityscapes", "RobotCar", "Folder")
}


def build_target(
    trained: dict[str, Any],
    classes: LabelSpace,
    data_root: str | None,
    num_workers: int,
    *,
    trusted: bool = False,
) -> DatasetDataModule:
    """The target of a training configuration, for evaluation.

    Args:
        trained: The configuration.
        classes: The label space.
        data_root: Replaces the folder of training; None keeps it.
        num_workers: Worker processes of the loader.
        trusted: Whether the configuration is the user's own. From that in a checkpoint, which may come from a
            stranger, nothing is built but those datamodules of this library that only read.

    Raises:
        InputError: The configuration names something else, or its values do not fit.
    """
    try:
        node = dict(trained["data"]["target"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The checkpoint does not say what its target is: name your scenario too (+scenario=NAME)."
        ) from error
    inner = str([value for key, value in node.items() if key != "_target_"])
    # Anything that Hydra would build or look up inside of it could run a stranger's program.
    if not trusted and (node.get("_target_") not in _TRUSTED or "_target_" in inner or "${" in inner):
        raise InputError(
            f"The checkpoint says that {node.get('_target_')} reads the target, and a checkpoint is trusted with plain "
            "labeled datasets only: name your scenario too (+scenario=NAME, --config-dir DIR)."
        )
    if data_root is not None:
        folders = (Path(str(folder)) for folder in (node["data_root"], trained["data_root"], data_root))
        node["data_root"] = str(_moved(*folders))
    unreadable = trained["data"].get("unreadable", "stop")
    return instantiate(  # type: ignore[no-any-return]
        OmegaConf.create(node), classes=classes, unreadable=unreadable, num_workers=num_workers
    )


def _moved(folder: Path, root: Path, new_root: Path) -> Path:
    """A dataset's folder when the root of all data has moved; a folder outside of the root is ``new_root`` itself."""
    return new_root / folder.relative_to(root) if folder.is_relative_to(root) else new_root


def build_network(config: DictConfig, classes: LabelSpace, *, pretrained: bool = True) -> SegmentationNetwork:
    """The network.

    Args:
        config: As of ``train.yaml``.
        classes: The scenario's.
        pretrained: With the weights that the backbone's configuration names; False: with random ones.
    """
    node = config.backbone.copy()
    if not pretrained:
        node.update({key: None for key in ("pretrained", "weights") if key in node})
    return instantiate(node, num_classes=len(classes))  # type: ignore[no-any-return]


def build_stages(config: DictConfig) -> list[Stage]:
    """The stages to walk, in order.

    Raises:
        InputError: ``stages`` names something else, or a stage's settings do not fit.
    """
    return [
        Stage(name, _rounds(_online(config) if name == "online" else config[name]))
        for name in stage_names(config)
    ]


def _online(config: DictConfig) -> Any:
    """The online stage; what it leaves open is as large as the rounds of self-training together."""
    node, rounds = config.online.copy(), config.self_training
    if node.max_steps is None:
        node.max_steps = rounds.rounds * rounds.max_steps
    if node.batch_size is None:
        node.batch_size = rounds.batch_size
    return node


def build_selection(config: DictConfig) -> SelectionSettings:
    """Which candidates are kept and measured; ``source_fraction`` belongs to the data."""
    values = {key: value for key, value in plain(config.selection).items() if key != "source_fraction"}
    try:
        return SelectionSettings(**values)
    except TypeError as error:
        raise InputError(f"selection: {error}.") from error


def _rounds(node: Any) -> list[Round]:
    values: dict[str, Any] = plain(node)
    # Keys as text, so that the command line reaches them: self_training.by_round.2.max_steps=100
    differences = {str(key): value for key, value in (values.pop("by_round", None) or {}).items()}
    count = int(values.pop("rounds", 1))
    rounds = []
    for number in range(1, count + 1):
        delta = differences.get(str(number), {})
        merged: Any = OmegaConf.merge(OmegaConf.create(values), OmegaConf.create(delta))
        labels = merged.get("labels")
        rounds.append(
            Round(
                module=instantiate(merged.module),
                max_steps=merged.max_steps,
                batch_size=merged.batch_size,
                accumulate_grad_batches=merged.get("accumulate_grad_batches", 1),
                labels=None if labels is None else _labels(labels, number),
                needs_pretrained=merged.module.get("feature_distance") is not None,
            )
        )
    return rounds


def _labels(node: Any, number: int) -> LabelSettings:
    settings: LabelSettings = instantiate(node)
    try:
        settings.policy(num_classes=2)  # a wrong key must not come to light behind hours of training
    except TypeError as error:
        raise InputError(
            f"pseudo_label.policy of round {number} (see also self_training.by_round): {error}"
        ) from error
    return settings


def size_of(value: Any, key: str) -> tuple[int, int] | None:
    """(height, width) of a configured size.

    Raises:
        InputError: It is neither null nor two positive numbers.
    """
    if value is None:
        return None
    height, width = whole_numbers(value, key, "[height, width] or null", 2)
    return height, width


def whole_numbers(value: Any, key: str, wanted: str, count: int) -> tuple[int, ...]:
    """A configured list of ``count`` positive whole numbers.

    Raises:
        InputError: It is something else; the message says what is ``wanted``.
    """
    numbers = list(value) if isinstance(value, list | tuple | ListConfig) else []
    if len(numbers) != count or not all(type(number) is int and number > 0 for number in numbers):
        raise InputError(f"{key} must be {wanted}, not {value}.")
    return tuple(numbers)


def existing(path: Any, key: str) -> Path | None:
    """Path of a file that the user named, or None.

    Raises:
        InputError: There is no such file.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise InputError(f"{key}: there is no file {path}.")
    return Path(path)
