"""Sends what a run records to loggers: TensorBoard, Weights & Biases, MLflow, or others of Lightning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from hiast.callbacks.warn_on_error import warn_on_error
from hiast.errors import InputError
from hiast.ranks import is_rank_zero
from hiast.training import AdaptationModule

SHARED = ("val/", "labels/", "threshold/")
"""Beginnings of names that mean the same in all stages."""


class Tracking:
    """Sends numbers, pictures, settings and files of a run to all loggers under the same names.

    The numbers are those of ``metrics.csv``, and the x-axis is the number of optimizer steps over all stages. A logger
    that fails during the run is a warning; one that cannot start is an error.

    Args:
        loggers: Lightning loggers; with none, nothing is done.
        directory: The run directory.
    """

    def __init__(self, loggers: Sequence[Logger], directory: Path) -> None:
        self.loggers = list(loggers) if is_rank_zero() else []
        self.directory = directory
        self.steps_before = 0

    def start(self, config: Mapping[str, Any]) -> None:
        """Send the settings.

        Raises:
            InputError: A logger does not take a setting of its own, which some see only now.
        """
        for logger in self.loggers:
            try:
                logger.log_hyperparams(dict(config))
            except TypeError as error:
                if "unexpected keyword argument" not in str(error):
                    raise
                raise InputError(
                    f"{type(logger).__name__} does not take a setting of its own: {error}."
                ) from error

    def follow(self, module: AdaptationModule, values: Mapping[str, float]) -> None:
        """Send numbers of a step of a stage."""
        step = self.steps_before + module.steps_done
        finite = {metric_name(module.stage, name): v for name, v in values.items() if math.isfinite(v)}
        for logger in self.loggers if finite else ():
            with warn_on_error(f"Numbers for {type(logger).__name__}"):
                logger.log_metrics(finite, step)

    def round_ends(self, entry: Mapping[str, Any], steps_done: int) -> None:
        """Send the pictures and the lineage of a round.

        Args:
            entry: Entry of the round, as in ``lineage.json``.
            steps_done: Optimizer steps of the round.
        """
        name = f"{entry['stage']}_{entry['round']}"
        picture = self.directory / "pictures" / f"{name}_{steps_done:06d}.png"
        for logger in self.loggers:
            with warn_on_error(f"Pictures and files for {type(logger).__name__}"):
                if picture.is_file():
                    _send_picture(logger, picture, self.steps_before + steps_done)
                _send_checkpoint(logger, name, dict(entry), self.directory)
                logger.save()

    def finish(self, files: Sequence[Path], status: str = "success") -> None:
        """Send the files that a run ends with, and close the loggers.

        Args:
            files: Files of the run directory; those that do not exist are left out.
            status: ``"success"`` or ``"failed"``.
        """
        for logger in self.loggers:
            with warn_on_error(f"Files for {type(logger).__name__}"):
                for file in files:
                    if file.is_file():
                        _send_file(logger, file)
                logger.finalize(status)
                if isinstance(logger, WandbLogger):
                    # Otherwise the next run of the same process would continue this one.
                    logger.experiment.finish(exit_code=0 if status == "success" else 1)


def metric_name(stage: str, name: str) -> str:
    """Name of a number in all loggers: as in ``metrics.csv``, with the stage in front of losses and lr.

    Examples:
        >>> metric_name("warmup", "total"), metric_name("warmup", "val/entropy")
        ('warmup/total', 'val/entropy')
    """
    return name if name.startswith(SHARED) else f"{stage}/{name}"


def _send_picture(logger: Logger, path: Path, step: int) -> None:
    key = "predictions"
    if isinstance(logger, TensorBoardLogger):
        picture: Any = cv2.imread(str(path))
        logger.experiment.add_image(key, np.ascontiguousarray(picture[..., ::-1]), step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(key, [str(path)], caption=[path.stem], step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path), "pictures")


def _send_checkpoint(logger: Logger, name: str, entry: dict[str, Any], directory: Path) -> None:
    """Tell a logger where the checkpoint of a round is and what it comes from; its weights are not uploaded."""
    if isinstance(logger, WandbLogger):
        import wandb

        artifact = wandb.Artifact(f"{logger.experiment.id}-{name}", "model", metadata=entry)
        artifact.add_reference((directory / entry["checkpoint"]).resolve().as_uri(), checksum=False)
        logger.experiment.log_artifact(artifact)
    elif isinstance(logger, MLFlowLogger):
        for key in ("checkpoint", "started_from", "labeled_with"):
            if entry.get(key):
                logger.experiment.set_tag(logger.run_id, f"{name}.{key}", str(entry[key]))
    elif isinstance(logger, TensorBoardLogger):
        lines = [f"    {key}: {value}" for key, value in entry.items()]
        logger.experiment.add_text(f"lineage/{name}", "\n".join(lines))


def _send_file(logger: Logger, file: Path) -> None:
    if isinstance(logger, WandbLogger):
        import wandb

        artifact = wandb.Artifact(f"{logger.experiment.id}-{file.stem}", "record")
        artifact.add_file(str(file))
        logger.experiment.log_artifact(artifact)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(file))
