"""``hiast-label``: pseudo-labels for any folder of images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-label checkpoint=PATH input=DIR output=DIR [key=value ...]

Label a folder of images: what the policy trusts keeps its class, the rest is 255.

  policy=instance_adaptive      or class_balanced, constant, argmax; policy.alpha=0.2 sets a parameter
  size=[768,1536]               size at which the network sees the images; default: as in training
  teacher=false                 label with the student of a self-training checkpoint
  trainer.devices=2             several processes label together, with the same result
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(label, "label", USAGE))


def label(config: DictConfig) -> None:
    """Label the folder, or go on where an interrupted call stopped."""
    from lightning_fabric import Fabric
    from rich.console import Console

    from hiast.callbacks.hashing import weights_hash
    from hiast.callbacks.rounds import label_identity, predictor
    from hiast.cli import build
    from hiast.cli.config import instantiate, plain, require
    from hiast.data.datasets import folder
    from hiast.data.loading.segmentation import SegmentationDataset
    from hiast.progress import ProgressFunction
    from hiast.pseudo_labels.collectives import DistributedProcesses, SingleProcess
    from hiast.pseudo_labels.generate import generate_round
    from hiast.run.distributed import check_processes, fabric_strategy
    from hiast.run.trainer import trainer_refusals
    from hiast.training import HIASTModule, load_module

    values = {
        key: require(config, key, f"{key}=PATH is needed.") for key in ("checkpoint", "input", "output")
    }
    module = load_module(Path(values["checkpoint"]))
    size = build.size_of(config.size, "size") or module.validation_size
    if size is None:
        raise InputError("The checkpoint does not say at which size to label: add size=[height,width].")
    if not Path(values["input"]).is_dir():
        raise InputError(f"input: there is no folder {values['input']}.")
    if Path(values["output"]).resolve().is_relative_to(Path(values["input"]).resolve()):
        raise InputError(
            f"output: {values['output']} lies inside of input; the labels would be taken for images."
        )
    build.check_whole_number(config.group_size, "group_size", 1)
    images = SegmentationDataset(folder.list_folder(values["input"], "**/*", None, module.classes))
    network = module.teacher.network if config.teacher and isinstance(module, HIASTModule) else module.network
    options = plain(config.trainer)
    check_processes(options)
    with trainer_refusals():
        fabric = Fabric(**options | {"strategy": fabric_strategy(options)})
    fabric.launch()
    module.to(fabric.device).eval()
    with ProgressFunction("labeling") as progress:
        reader = generate_round(
            directory=Path(values["output"]),
            names=images.names,
            read_image=images.read_image,
            predict=predictor(module, network, fabric.autocast),
            policy=instantiate(config.policy, num_classes=len(module.classes)),
            size=size,
            group_size=config.group_size,
            seed=config.seed,
            identity={
                "weights": weights_hash(network),
                "checkpoint": Path(values["checkpoint"]).name,
                **label_identity(module, str(options["precision"])),
            },
            communicator=DistributedProcesses() if fabric.world_size > 1 else SingleProcess(),
            overwrite=config.overwrite,
            progress=progress,
        )
    if fabric.is_global_zero:
        Console().print(_summary(reader, module.classes.names))


def _summary(reader: Any, names: tuple[str, ...]) -> Any:
    from rich.table import Table

    from hiast.evaluation.tables import percent

    table = Table(title=f"{len(reader.names)} images, {percent(reader.coverage)} % of the pixels kept")
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
