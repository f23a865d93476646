"""``hiast-data-demo``: drawn scenes, to try everything without a download."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hiast.cli.command import run_command
from hiast.cli.settings import SOURCES, TARGETS

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-data-demo [key=value ...]

Draw driving scenes and write them in the layouts of GTA5, SYNTHIA, Cityscapes and RobotCar.

  data_root=DIR                 folder of the datasets (default: data/demo); genuine files are never overwritten
  datasets=[synthia,cityscapes] datasets to draw (default: gta5 and cityscapes, as +scenario=demo reads them)
  size=[1024,2048]              [height, width] of the images (default: [128,256])
  train=160 val=40              images of each dataset, and validation images of each target
  seed=888                      seed of the scenes; the same words always write the same bytes

Then: hiast-train +scenario=demo data_root=DIR
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(draw, "data_demo", USAGE))


def draw(config: DictConfig) -> None:
    """Draw the scenes that do not exist yet.

    Raises:
        InputError: Genuine files are in the way.
    """
    from rich.console import Console

    from hiast import scenes

    sources = dict(zip(SOURCES, (scenes.write_gta5, scenes.write_synthia), strict=True))
    targets = dict(zip(TARGETS, (scenes.write_cityscapes, scenes.write_robotcar), strict=True))
    names = [config.datasets] if isinstance(config.datasets, str) else list(config.datasets)
    size = (config.size[0], config.size[1])
    console = Console(soft_wrap=True, highlight=False)
    for name in names:
        # Sources and targets show different streets.
        if name in sources:
            folder = sources[name](config.data_root, config.train, size, seed=2 * config.seed)
        else:
            folder = targets[name](config.data_root, config.train, config.val, size, seed=2 * config.seed + 1)
        console.print(f"{folder}: drawn scenes", markup=False)


if __name__ == "__main__":
    main()
