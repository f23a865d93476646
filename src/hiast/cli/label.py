"""``hiast-label``: pseudo-labels for any images."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from omegaconf import DictConfig
    from torch import nn

    from hiast.data.io.images import ImageReader
    from hiast.data.io.listing import Pair
    from hiast.pseudo_labels.policies import Policy
    from hiast.pseudo_labels.round_reader import RoundReader
    from hiast.training import AdaptationModule

log = logging.getLogger(__name__)

USAGE = """
hiast-label CHECKPOINT INPUT OUTPUT [key=value ...]

Label an image or a folder of images: pixels that the policy trusts keep their class, the rest is 255.
Files that are not images are passed over and listed. The same command resumes a labeling that was stopped,
also after images were removed or added.

  CHECKPOINT                    a checkpoint, or a run directory: its selected.ckpt
  INPUT OUTPUT                  the images, and the folder to write; also checkpoint=PATH input=PATH output=DIR
  policy=instance_adaptive      or class_balanced, constant, argmax; policy.alpha=0.2 sets a parameter
  size=[768,1536]               size at which the network sees the images and label maps are written
                                (default: as in training)
  size=image                    write each label map at the size of its image, by nearest neighbor;
                                the network sees the images as in training
  value_range=[0,4095] bands=[3,2,1]
                                how images of more bits or bands are read (default: as the target in training)
  unreadable=skip               leave out images that cannot be read, instead of stopping
  teacher=false                 label with the student of a self-training or online checkpoint
  trainer.devices=2             several processes label together, with the same result
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(label, "label", USAGE, bare=("checkpoint", "input", "output")))


def label(config: DictConfig) -> None:
    """Label the images, or resume an interrupted call."""
    from rich.console import Console

    from hiast.cli.config import instantiate, require
    from hiast.training import HIASTModule, load_module
    from hiast.training.checkpoint import checkpoint_of

    paths = {
        key: require(config, key, f"{key} is missing: add {key}=PATH.")
        for key in ("checkpoint", "input", "output")
    }
    config.checkpoint = str(checkpoint_of(paths["checkpoint"]))
    module = load_module(config.checkpoint)
    size = _network_size(config.size, module)
    images = _images_of(paths["input"], paths["output"])
    _check_headers(config, images, size)
    if isinstance(module, HIASTModule):
        network = module.teacher.network if config.teacher else module.network
    else:
        # Of online training the network that was evaluated, which is the teacher of some methods.
        network = module.evaluation_network if config.teacher else module.network
    policy = instantiate(config.policy, num_classes=len(module.classes))
    reader, is_rank_zero = _generate(config, module, network, images, policy, size)
    if is_rank_zero:
        Console().print(_summary(reader, module.classes.names))


def _images_of(source: str, output: str) -> list[Pair]:
    """The images to label.

    Raises:
        InputError: There are none, or the labels would be written among them.
    """
    from hiast.cli.places import check_folder
    from hiast.data.io.inputs import find_images

    check_folder("output", Path(output))
    images = find_images(source)
    if Path(source).is_dir() and Path(output).resolve().is_relative_to(Path(source).resolve()):
        raise InputError(
            f"output: {output} lies inside of input; the labels would be taken for images. Choose another."
        )
    return images


def _network_size(size: Any, module: AdaptationModule) -> tuple[int, int] | None:
    """(height, width) at which the network sees the images; None: each at its own size.

    Raises:
        InputError: ``size`` is neither a size nor "image", or the checkpoint does not name one.
    """
    known = module.validation_size if size in (None, "image") else (size[0], size[1])
    if known is None and size is None:
        raise InputError("The checkpoint holds no size to label at: add size=[height,width], or size=image.")
    seen = "their own size" if known is None else f"{known[1]} x {known[0]} pixels"
    written = "at the size of each image" if size == "image" else "at the same size"
    log.info("The network sees the images at %s; label maps are written %s.", seen, written)
    return known


def _check_headers(config: DictConfig, images: Sequence[Pair], size: tuple[int, int] | None) -> None:
    """Read the headers of all images before the first label.

    Raises:
        InputError: An image cannot be read, and such images are not skipped; or images of several sizes do not fit
            into one group.
    """
    from hiast.data.io.images import MAX_PIXELS, image_size

    def header(pair: Pair) -> tuple[int, int] | str:
        try:
            return image_size(pair.image, config.max_pixels or MAX_PIXELS)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(header, images))
    errors = [found for found in headers if isinstance(found, str)]
    if errors and config.unreadable == "stop":
        raise InputError(
            f"{len(errors)} of {len(images)} images cannot be read: {errors[0]} To leave such images out, add "
            "unreadable=skip."
        )
    if len(errors) == len(images):
        raise InputError(f"None of {len(images)} images can be read: {errors[0]}")
    if size is None and config.group_size > 1 and len(set(headers) - set(errors)) > 1:
        raise InputError(
            "The checkpoint names no size and the images differ in size: add size=[height,width], or group_size=1 "
            "to label each image by itself."
        )


def _reader(
    images: Sequence[Pair], reader: ImageReader, max_pixels: int | None, skips: bool
) -> Callable[[int], NDArray[np.uint8]]:
    """Function that reads the image of an index."""
    from hiast.data.io.images import MAX_PIXELS
    from hiast.prediction.reading import read_or_advise

    def read(index: int) -> NDArray[np.uint8]:
        try:
            return read_or_advise(reader, images[index].image, max_pixels or MAX_PIXELS)
        except InputError as error:
            if skips:
                raise
            raise InputError(
                f"{error} Finished labels are kept: run the same command with unreadable=skip to leave it out."
            ) from error

    return read


def _image_settings(config: DictConfig, module: AdaptationModule) -> tuple[ImageReader, dict[str, Any]]:
    """How the images are read, and what of it belongs to the identity of the labels."""
    from hiast.data.io.images import ImageReader
    from hiast.prediction.image_settings import target_reader

    reader = target_reader(module.run_config, config.bands, config.value_range)
    plain_images = reader == ImageReader()
    return reader, {} if plain_images else {"bands": reader.bands, "value_range": reader.value_range}


def _generate(
    config: DictConfig,
    module: AdaptationModule,
    network: nn.Module,
    images: Sequence[Pair],
    policy: Policy,
    size: tuple[int, int] | None,
) -> tuple[RoundReader, bool]:
    """Label in all processes; returns the labels, and whether this process is rank zero."""
    from lightning_fabric import Fabric

    from hiast.callbacks.hashing import weights_hash
    from hiast.callbacks.rounds import label_identity, predictor
    from hiast.cli.config import plain
    from hiast.cli.hardware import settle_inference
    from hiast.progress import ProgressFunction
    from hiast.pseudo_labels.collectives import DistributedProcesses, SingleProcess
    from hiast.pseudo_labels.generate import generate_round
    from hiast.run.distributed import fabric_strategy
    from hiast.run.trainer import trainer_refusals

    options = settle_inference(plain(config.trainer), 0).trainer
    image_reader, settings = _image_settings(config, module)
    with trainer_refusals():
        fabric = Fabric(**options | {"strategy": fabric_strategy(options)})
    fabric.launch()
    module.to(fabric.device).eval()
    with ProgressFunction("labeling") as progress:
        reader = generate_round(
            directory=Path(config.output),
            names=[pair.name for pair in images],
            read_image=_reader(images, image_reader, config.max_pixels, config.unreadable == "skip"),
            predict=predictor(module, network, fabric.autocast),
            policy=policy,
            size=size,
            label_size="image" if config.size == "image" else "network",
            group_size=config.group_size,
            seed=config.seed,
            identity={
                "weights": weights_hash(network),
                "checkpoint": Path(config.checkpoint).name,
                **label_identity(module, str(options["precision"])),
                **settings,
            },
            unreadable=config.unreadable,
            communicator=DistributedProcesses() if fabric.world_size > 1 else SingleProcess(),
            overwrite=config.overwrite,
            keep_finished=True,
            progress=progress,
        )
    return reader, fabric.is_global_zero


def _summary(reader: RoundReader, names: tuple[str, ...]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from hiast.counted import counted
    from hiast.evaluation.tables import percent

    skipped = reader.manifest["skipped"]
    table = Table(
        title=f"{counted(len(reader.names), 'image')}, {percent(reader.coverage)} % of the pixels kept"
    )
    if skipped:
        table.caption = f"{counted(len(skipped), 'image')} could not be read, see manifest.json."
    for column in ("class", "pixels kept", "mean confidence", "last threshold"):
        table.add_column(column, justify="left" if column == "class" else "right")
    thresholds, confidence = reader.thresholds, reader.class_mean_confidence
    for index, name in enumerate(names):
        table.add_row(
            escape(name),
            f"{int(reader.image_pixels[:, index].sum()):,}",
            "-" if math.isnan(confidence[index]) else f"{confidence[index]:.3f}",
            "-" if thresholds is None else f"{thresholds[-1, index]:.4f}",
        )
    return table


if __name__ == "__main__":
    main()
