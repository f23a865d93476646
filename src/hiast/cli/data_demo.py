"""``hiast-data-demo``: drawn scenes, to try everything out without a download."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-data-demo [key=value ...]

Draw driving scenes and write them exactly as GTA5, SYNTHIA, Cityscapes and RobotCar come.

  data_root=DIR                 folder of the datasets (default: data/demo); genuine files are never overwritten
  datasets=[synthia,cityscapes] which (default: gta5 and cityscapes, for +scenario=demo and +scenario=gta5_cityscapes)
  size=[1024,2048]              [height, width] of the images (default: [128,256])
  train=160 val=40              images of each dataset, and validation images of each target
  seed=888                      which scenes; the same words always write the same bytes

Then: hiast-train +scenario=demo data_root=DIR
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(draw, "data_demo", USAGE))


def draw(config: DictConfig) -> None:
    """Draw what is not there yet.

    Raises:
        InputError: A dataset is unknown, a number is none, or genuine files lie in the way.
    """
    from omegaconf import ListConfig
    from rich.console import Console

    from hiast import scenes
    from hiast.cli.build import check_whole_number, size_of

    sources = {"gta5": scenes.write_gta5, "synthia": scenes.write_synthia}
    targets = {"cityscapes": scenes.write_cityscapes, "robotcar": scenes.write_robotcar}
    size = size_of(config.size, "size")
    if size is None:
        raise InputError("size must be [height, width].")
    for key, least in (("train", 1), ("val", 1), ("seed", 0)):
        check_whole_number(config[key], key, least)
    names = list(config.datasets) if isinstance(config.datasets, ListConfig) else [config.datasets]
    for name in names:
        if name not in {**sources, **targets}:
            raise InputError(f"datasets names {name}: choose among {', '.join([*sources, *targets])}.")
    console = Console(soft_wrap=True, highlight=False)
    for name in names:
        # Sources and targets show different streets.
        if name in sources:
            folder = sources[name](config.data_root, config.train, size, seed=2 * config.seed)
        else:
            folder = targets[name](config.data_root, config.train, config.val, size, seed=2 * config.seed + 1)
        console.print(f"{folder}: drawn scenes", markup=False)
