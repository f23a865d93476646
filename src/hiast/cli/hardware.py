"""What the configuration leaves to the machine: device, precision, threads, loader workers and cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from hiast.cli.build import build_domains, build_network, single_datasets
from hiast.cli.build_folders import derived_folder
from hiast.cli.config import plain
from hiast.errors import InputError
from hiast.files import parse_yaml
from hiast.models.meta import create
from hiast.run.allocator import keep_freed_memory
from hiast.run.distributed import check_processes
from hiast.run.hardware import AUTO, Hardware, choose
from hiast.run.trainer import check_options

if TYPE_CHECKING:
    from torch import nn

    from hiast.classes import LabelSpace

log = logging.getLogger(__name__)

_OPEN: dict[str, str | None] = {
    "trainer.accelerator": AUTO,
    "trainer.devices": AUTO,
    "trainer.precision": AUTO,
    "data.num_workers": None,
    "data.cache": AUTO,
}
"""Settings that may be left to the machine -> the value that does so."""
_LOSSLESS = ("raw", "zstd")
"""Caches that change no pixel, in order of speed."""


def settle(config: DictConfig, classes: LabelSpace, run: Path | None = None) -> Hardware:
    """Replace what a training configuration leaves open by what suits this machine.

    The keys that were open are noted in ``config.chosen_by_machine``: a run may be resumed where other values suit.

    Args:
        config: Composed ``train.yaml``; changed in place.
        classes: The scenario's.
        run: Run directory; the precision of a run that it holds is kept where the device can.

    Raises:
        InputError: An argument of the trainer does not fit.
    """
    options = plain(config.trainer)
    check_options(options)
    is_open = [key for key, value in _OPEN.items() if OmegaConf.select(config, key) == value]
    if config.data.cache == AUTO:
        config.data.cache = _find_cache(config, classes)
    hardware = choose(
        options,
        config.data.num_workers,
        lambda: _on_meta(config, classes),
        earlier=_earlier_precision(run),
        notes=("no cache" if config.data.cache is None else f"cache {config.data.cache}",),
    )
    check_processes(hardware.trainer)
    with open_dict(config):
        config.trainer = hardware.trainer
        config.data.num_workers = hardware.num_workers
        config.chosen_by_machine = is_open
    return hardware


def settle_inference(
    options: dict[str, Any], num_workers: int | None, earlier: str | None = None
) -> Hardware:
    """The same for commands that only run a network: options of the trainer or of Fabric, and reading workers.

    The choice is shown, and memory is kept on a CPU. What makes some networks slow in bfloat16 on a CPU, the gradients
    of depthwise convolutions, is not computed here, so the network does not matter.

    Args:
        options: ``trainer`` of the command, as plain values; a ``precision`` of None or "auto" is open.
        num_workers: None: chosen by the cores.
        earlier: Precision of the training, which an open precision follows where the device can.
    """
    if options.get("precision") is None:
        options = options | {"precision": AUTO}
    hardware = choose(options, num_workers, torch.nn.Identity, earlier=earlier)
    check_processes(hardware.trainer)
    use(hardware)
    return hardware


def use(hardware: Hardware) -> None:
    """Set threads and allocator of this process, and show the choice in one line."""
    hardware.apply()
    if hardware.on_cpu:
        keep_freed_memory()
    log.info(hardware.sentence)


def _on_meta(config: DictConfig, classes: LabelSpace) -> nn.Module:
    with torch.device("meta"):
        return create(lambda: build_network(config, classes, pretrained=False))


def _earlier_precision(run: Path | None) -> str | None:
    """Precision that a run directory's configuration names; None: there is no run, or its file is damaged."""
    try:
        values = parse_yaml((run / "config.yaml").read_text("utf-8")) if run is not None else {}
        return str(values["trainer"]["precision"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None  # What is damaged is refused when the directory is opened.


def _find_cache(config: DictConfig, classes: LabelSpace) -> str | None:
    """A lossless cache that holds all training images; None: there is none."""
    for name in _LOSSLESS:
        if not (derived_folder(config, Path(config.data_root)) / name).is_dir():
            continue
        trial = config.copy()
        trial.data.cache = name
        try:
            source, target = build_domains(trial, classes)
            for module in single_datasets(source):
                module.train_dataset()
            target.train_dataset(labeled=False)
        except InputError:
            continue  # Incomplete, or of other data; errors in the data itself are reported later.
        return name
    return None
