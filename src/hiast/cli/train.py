"""``hiast-train``: from a scenario to an adapted network."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hiast.cli.command import STOPPED, run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-train +scenario=NAME [key=value ...]

RoundLabeler all stages of a scenario: source_only, warmup, self_training with its rounds.

  +scenario=gta5_cityscapes     what to adapt to what; a missing or unknown name lists all
  data_root=DIR                 where the datasets lie (default: data)
  run=DIR                       run directory; one that exists is continued
  stages=[self_training] init_from=PATH
                                run some stages only, from a checkpoint
  trainer.devices=2 trainer.precision=bf16-mixed
                                passed to Lightning; trainer=cpu for a machine without a GPU
  warmup=none loss=no_consistency pseudo_label=class_balanced augmentation=no_paste backbone=mit_b2_segformer
                                choose another part
  --config-dir DIR              a folder with scenario/NAME.yaml files of your own
  --cfg                         print the whole configuration and stop
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(train, "train", USAGE))


def train(config: DictConfig) -> int:
    """Run the pipeline and print what each stage reached."""
    import pytorch_lightning as pl
    from omegaconf import OmegaConf
    from pytorch_lightning.utilities.exceptions import SIGTERMException
    from rich.console import Console

    from hiast.cli import build
    from hiast.cli.config import instantiate, plain
    from hiast.evaluation.tables import stage_table
    from hiast.ranks import is_rank_zero
    from hiast.run import Pipeline, RunDirectory
    from hiast.run.distributed import check_processes

    classes = build.build_classes(config)
    build.check_numbers(config)
    check_processes(plain(config.trainer))
    if config.run is None:
        config.run = str(_new_run(config.name))
    values = plain(config)
    validation_size = build.size_of(config.validation.size, "validation.size")
    pl.seed_everything(config.seed, workers=True, verbose=False)
    directory = RunDirectory(config.run)
    pipeline = Pipeline(
        directory=directory,
        network=partial(build.build_network, config, classes),
        bare_network=partial(build.build_network, config, classes, pretrained=False),
        classes=classes,
        datamodule=build.build_datamodule(config, classes),
        stages=build.build_stages(config),
        trainer=values["trainer"],
        loggers=[instantiate(logger) for logger in config.logger.loggers],
        validation_size=validation_size,
        val_every_n_steps=config.validation.every_n_steps,
        checkpoint_every_n_steps=config.checkpoint_every_n_steps,
        log_every_n_steps=config.log_every_n_steps,
        seed=config.seed,
        init_from=build.existing(config.init_from, "init_from"),
        config=values,
        pictures=config.pictures,
        selection=build.build_selection(config),
    )
    directory.begin(OmegaConf.to_yaml(config, resolve=True), config.seed)
    try:
        results = pipeline.run()
    except SIGTERMException:
        if is_rank_zero():
            sys.stderr.write(f"Told to stop; the same command with run={directory.path} goes on from here.\n")
        return STOPPED
    if is_rank_zero():
        console = Console()
        console.print(stage_table(results))
        console.print(f"Run directory: {directory.path}", soft_wrap=True)
    return 0


def _new_run(name: str) -> Path:
    """A directory named after the time; processes that Lightning starts share the name through the environment."""
    import os

    from hiast.run.distributed import processes_outside

    if (processes_outside() or 1) > 1:
        raise InputError(
            "Processes that torchrun or srun starts must agree on the run directory: name it with run=DIR."
        )
    stamp = os.environ.setdefault("HIAST_RUN_TIME", time.strftime("%Y-%m-%d_%H-%M-%S"))
    return Path("outputs") / name / stamp
