"""``hiast-label``: pseudo-labels for any folder of images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import nn

    from hiast.data.loading.segmentation import SegmentationDataset
    from hiast.pseudo_labels.policies import Policy
    from hiast.pseudo_labels.round_reader import RoundReader
    from hiast.training import AdaptationModule

USAGE = """
hiast-label checkpoint=PATH input=DIR output=DIR [key=value ...]

Label a folder of images: pixels that the policy trusts keep their class, the rest is 255.

  policy=instance_adaptive      or class_balanced, constant, argmax; policy.alpha=0.2 sets a parameter
  size=[768,1536]               size at which the network sees the images (default: as in training)
  teacher=false                 label with the student of a self-training checkpoint
  trainer.devices=2             several processes label together, with the same result
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(label, "label", USAGE))


def label(config: DictConfig) -> None:
    """Label the folder, or resume an interrupted call."""
    from rich.console import Console

    from hiast.cli.config import instantiate, require
    from hiast.data.datasets import folder
    from hiast.data.loading.segmentation import SegmentationDataset
    from hiast.training import HIASTModule, load_module

    paths = {
        key: require(config, key, f"{key} is missing: add {key}=PATH.")
        for key in ("checkpoint", "input", "output")
    }
    module = load_module(Path(paths["checkpoint"]))
    _check_folders(paths["input"], paths["output"])
    images = SegmentationDataset(folder.list_folder(paths["input"], "**/*", None, module.classes))
    network = module.teacher.network if config.teacher and isinstance(module, HIASTModule) else module.network
    policy = instantiate(config.policy, num_classes=len(module.classes))
    reader, speaks = _generate(config, module, network, images, policy)
    if speaks:
        Console().print(_summary(reader, module.classes.names))


def _check_folders(input_folder: str, output_folder: str) -> None:
    """Refuse folders that cannot be read from and written to.

    Raises:
        InputError: Names the folder.
    """
    if not Path(input_folder).is_dir():
        raise InputError(f"input: there is no folder {input_folder}.")
    if Path(output_folder).resolve().is_relative_to(Path(input_folder).resolve()):
        raise InputError(
            f"output: {output_folder} lies inside of input; the labels would be taken for images. Choose another."
        )


def _generate(
    config: DictConfig,
    module: AdaptationModule,
    network: nn.Module,
    images: SegmentationDataset,
    policy: Policy,
) -> tuple[RoundReader, bool]:
    """Label in all processes; returns the labels, and whether this process is the one that speaks."""
    from lightning_fabric import Fabric

    from hiast.callbacks.progress import LabelProgress
    from hiast.callbacks.rounds import label_identity, predictor, weights_hash
    from hiast.cli.config import plain
    from hiast.pseudo_labels.collectives import SingleProcess, TorchProcesses
    from hiast.pseudo_labels.generate import generate_round
    from hiast.run.distributed import check_processes, fabric_strategy
    from hiast.run.trainer import trainer_refusals

    size = module.validation_size if config.size is None else (config.size[0], config.size[1])
    if size is None:
        raise InputError("The checkpoint does not say at which size to label: add size=[height,width].")
    options = plain(config.trainer)
    check_processes(options)
    with trainer_refusals():
        fabric = Fabric(**options | {"strategy": fabric_strategy(options)})
    fabric.launch()
    module.to(fabric.device).eval()
    with LabelProgress("labeling") as progress:
        reader = generate_round(
            directory=Path(config.output),
            names=images.names,
            read_image=images.read_image,
            predict=predictor(module, network, fabric.autocast),
            policy=policy,
            size=size,
            group_size=config.group_size,
            seed=config.seed,
            identity={
                "weights": weights_hash(network),
                "checkpoint": Path(config.checkpoint).name,
                **label_identity(module, str(options["precision"])),
            },
            processes=TorchProcesses() if fabric.world_size > 1 else SingleProcess(),
            overwrite=config.overwrite,
            progress=progress,
        )
    return reader, fabric.is_global_zero


def _summary(reader: RoundReader, names: tuple[str, ...]) -> Any:
    from rich.table import Table

    from hiast.callbacks.rounds import coverage
    from hiast.evaluation.tables import percent

    table = Table(title=f"{len(reader.names)} images, {percent(coverage(reader))} % of the pixels kept")
    for column in ("class", "pixels kept", "mean confidence", "threshold at the end"):
        table.add_column(column, justify="left" if column == "class" else "right")
    thresholds = reader.thresholds
    for index, name in enumerate(names):
        table.add_row(
            name,
            f"{int(reader.image_pixels[:, index].sum()):,}",
            f"{reader.class_mean_confidence[index]:.3f}",
            "-" if thresholds is None else f"{thresholds[-1, index]:.4f}",
        )
    return table
