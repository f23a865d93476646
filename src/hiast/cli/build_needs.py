"""From a configuration to what a run needs of memory and disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hiast.cli.build import device_count, stage_names
from hiast.cli.build_folders import derived_folder
from hiast.cli.build_stages import build_stages, stage_settings
from hiast.cli.preflight import build_checked_network
from hiast.errors import InputError
from hiast.inspection.disk import find_disk, shortages
from hiast.inspection.estimate import Need, Place, Run, estimate
from hiast.inspection.findings import Finding
from hiast.models import Discriminator

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.classes import LabelSpace
    from hiast.inspection.file_set import Part, Summary
    from hiast.run import Stage


def build_needs(
    config: DictConfig, classes: LabelSpace, parts: list[tuple[Part, Summary]]
) -> tuple[list[Need], list[Finding]]:
    """What a run takes of memory and disk, and what stands in its way.

    Args:
        config: Composed ``train.yaml``.
        classes: The scenario's.
        parts: The files of the run.

    Returns:
        The needs; and findings: a disk that is too small, a network that cannot be built or does not take a batch.

    Raises:
        InputError: A setting of a stage does not fit.
    """
    parameters, findings = _parameters(config, classes)
    needs = estimate(run_of(config, classes, build_stages(config), parameters), parts)
    folders: dict[Place, Path] = {"disk": Path(config.run or "outputs")}
    cache = derived_folder(config, Path(config.data_root))
    if not cache.exists():  # What is there already takes no more room.
        folders["cache"] = cache
    return needs, findings + shortages(needs, {place: find_disk(folder) for place, folder in folders.items()})


def run_of(config: DictConfig, classes: LabelSpace, built: Sequence[Stage], parameters: int) -> Run:
    """The settings that determine memory and disk.

    Args:
        config: Composed ``train.yaml``.
        classes: The scenario's.
        built: Its stages.
        parameters: Number of the network's parameters.
    """
    stages = stage_names(config)
    devices, workers = device_count(config), config.data.num_workers
    crop = config.crop.target
    return Run(
        parameters=parameters,
        discriminator=discriminator_size(config, classes) if "warmup" in stages else 0,
        classes=len(classes),
        stages=tuple(stages),
        rounds=config.self_training.rounds,
        label_size=label_size(built),
        crop=(crop.get("height", 512), crop.get("width", 1024)),
        batch_size=max((_batch(stage_settings(config, name), devices) for name in stages), default=1),
        # Each device has loaders of the source, of the target and for validation, which live side by side.
        workers=devices * (2 * -(-workers // 2) + workers),
        cache=config.data.cache,
    )


def _batch(stage: DictConfig, devices: int) -> int:
    """Images of one domain that a device has at a time."""
    images: int = -(-stage.batch_size // (stage.accumulate_grad_batches * devices))
    return images


def label_size(stages: Sequence[Stage]) -> tuple[int, int] | None:
    """Largest (height, width) of the pseudo-labels of all rounds; None where no stage has any."""
    rounds = [settings.labels for stage in stages for settings in stage.rounds]
    sizes = [labels.size for labels in rounds if labels is not None]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def discriminator_size(config: DictConfig, classes: LabelSpace) -> int:
    """Number of the discriminator's parameters, 0 if the warm-up has none."""
    if config.warmup.module.get("discriminator_input", "softmax") is None:
        return 0
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Discriminator(len(classes)).parameters())


def _parameters(config: DictConfig, classes: LabelSpace) -> tuple[int, list[Finding]]:
    """Number of the network's parameters, and why it cannot be trained."""
    try:
        network = build_checked_network(config, classes, pretrained=False)
    except InputError as error:
        return 0, [Finding("error", "network", str(error))]
    return sum(parameter.numel() for parameter in network.parameters()), []
