"""``hiast-train``: from a scenario to an adapted network."""

from __future__ import annotations

import logging
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import STOPPED, run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.classes import LabelSpace
    from hiast.run import Pipeline, RunDirectory

log = logging.getLogger(__name__)

USAGE = """
hiast-train +scenario=NAME [key=value ...]

Run all stages of a method: source_only, warmup, self_training with its rounds; or source_only, online.

  +scenario=gta5_cityscapes     the pair of datasets; a missing or unknown name lists all scenarios
  data_root=DIR                 folder of the datasets (default: data)
  run=DIR                       run directory; an existing run is resumed (default: outputs/NAME/TIME)
  stages=[self_training] init_from=PATH
                                run some stages only, from a checkpoint, or the selected.ckpt of a run directory
  trainer.devices=2 trainer.precision=bf16-mixed
                                arguments of Lightning's Trainer; what is left open is chosen by the machine and shown
  trainer=low_memory            or cpu, single_gpu, multi_gpu, slurm, mps
  method=adapt                  or hiast, iast, dacs, daformer, mic, vfm_uda: how the network is adapted
  logger=[tensorboard,wandb]    or mlflow, none: where scores go beside metrics.csv and report.html
  warmup=none loss=no_consistency pseudo_label=class_balanced augmentation=no_paste backbone=mit_b2_segformer
                                choose another part
  +debug=fast_dev_run           run one step of everything; also limit, overfit_batches
  --config-dir DIR              a folder with scenario/NAME.yaml files of your own
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(train, "train", USAGE))


def train(config: DictConfig) -> int:
    """Run the pipeline and print what each stage has reached."""
    import pytorch_lightning as pl
    from omegaconf import OmegaConf
    from pytorch_lightning.utilities.exceptions import SIGTERMException
    from rich.console import Console

    from hiast.callbacks.warn_on_error import warn_on_error
    from hiast.cli.build import build_classes
    from hiast.cli.changed_settings import changed_settings
    from hiast.cli.forecast import Forecaster
    from hiast.cli.hardware import settle, use
    from hiast.cli.unread import unread_settings
    from hiast.evaluation.tables import stage_table
    from hiast.files import write_json
    from hiast.ranks import is_rank_zero
    from hiast.report.files import FORMAT, REPORT, SETTINGS
    from hiast.run import RunDirectory

    classes = build_classes(config)
    is_new = config.run is None
    hardware = settle(config, classes, None if is_new else Path(config.run))
    config.run = str(_new_run(config.name)) if is_new else config.run
    directory = RunDirectory(config.run)
    use(hardware)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    try:
        pipeline = _pipeline(config, classes, directory)
        forecaster = Forecaster(config, classes, hardware.on_cpu)
        pipeline.on_ready = forecaster.show
    except InputError:
        if is_new:
            directory.path.rmdir()  # It is empty yet.
        raise
    text = OmegaConf.to_yaml(config, resolve=True)
    known = directory.holds(text) and (directory.path / SETTINGS).is_file()
    directory.open(text, config.seed, hardware.sentence)
    if is_rank_zero() and not known:
        with warn_on_error(SETTINGS):
            changed = changed_settings(config)
            write_json(directory.path / SETTINGS, {"format": FORMAT, **changed})
            if unread := unread_settings(config, changed):
                log.info("No stage of this run reads what was set: %s.", ", ".join(unread))
    try:
        with forecaster.watching(directory.path):
            results = pipeline.run()
    except SIGTERMException:
        if is_rank_zero():
            sys.stderr.write(
                f"Stopped by SIGTERM. Rerun the same command with run={directory.path} to resume.\n"
            )
        return STOPPED
    if is_rank_zero():
        console = Console()
        console.print(stage_table(results))
        if config.report:
            report = directory.path / REPORT
            console.print(f"Report: {report}", soft_wrap=True, markup=False, highlight=False)
        console.print(f"Run directory: {directory.path}", soft_wrap=True, markup=False, highlight=False)
    return 0


def _pipeline(config: DictConfig, classes: LabelSpace, directory: RunDirectory) -> Pipeline:
    from hiast.callbacks import SelectionSettings
    from hiast.cli.build import build_datamodule, existing
    from hiast.cli.build_callbacks import build_own_callbacks
    from hiast.cli.build_loggers import build_loggers
    from hiast.cli.build_stages import build_stages
    from hiast.cli.config import plain
    from hiast.cli.preflight import build_checked_network
    from hiast.run import Pipeline

    values: dict[str, Any] = plain(config)
    size = config.validation.size
    return Pipeline(
        directory=directory,
        network=partial(build_checked_network, config, classes),
        bare_network=partial(build_checked_network, config, classes, pretrained=False),
        classes=classes,
        datamodule=build_datamodule(config, classes),
        stages=build_stages(config),
        trainer=values["trainer"],
        loggers=build_loggers(config),
        callbacks=build_own_callbacks(config),
        validation_size=None if size is None else tuple(size),
        val_every_n_steps=config.validation.every_n_steps,
        checkpoint_every_n_steps=config.checkpoint_every_n_steps,
        log_every_n_steps=config.log_every_n_steps,
        compile_mode=config.compile_mode,
        seed=config.seed,
        init_from=existing(config.init_from, "init_from"),
        config=values,
        pictures=config.pictures,
        report=config.report,
        selection=SelectionSettings(**values["selection"]),
    )


def _new_run(name: str) -> Path:
    """A new directory named after the time; processes that Lightning starts learn it from the environment.

    Raises:
        InputError: Processes that were started from outside would each choose their own.
    """
    from hiast.run.distributed import processes_outside

    if (processes_outside() or 1) > 1:
        raise InputError(
            "Processes that torchrun or srun starts must agree on the run directory: name it with run=DIR."
        )
    is_child = os.environ.get("LOCAL_RANK", "0") != "0"
    if not is_child or "HIAST_RUN" not in os.environ:
        os.environ["HIAST_RUN"] = str(_free(Path("outputs") / name, time.strftime("%Y-%m-%d_%H-%M-%S")))
    return Path(os.environ["HIAST_RUN"])


def _free(parent: Path, stamp: str) -> Path:
    """Make a directory that no other run has, also where two start in the same second."""
    number = 1
    while True:
        path = parent / (stamp if number == 1 else f"{stamp}_{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path


if __name__ == "__main__":
    main()
