"""Lightning's trainer with what every fit of a run needs, and what it refuses in one sentence."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from hiast.callbacks import AtomicCheckpointIO
from hiast.errors import InputError
from hiast.run.distributed import trainer_strategy
from hiast.run.hardware import check_precision
from hiast.training import AdaptationModule, WarmupModule

STRATEGIES = ("auto", "ddp")
"""Strategies that all stages, the warm-up with its two optimizers included, can be trained with."""

_STEPS = (
    "a stage is as long as its max_steps (source_only.max_steps, warmup.max_steps, self_training.max_steps)"
)
_VALIDATION = "set validation.every_n_steps"
_DECIDED: dict[str, tuple[tuple[Any, ...], str]] = {
    "accumulate_grad_batches": ((1,), "set it for each stage, as in source_only.accumulate_grad_batches"),
    "barebones": ((False,), "checkpoints and validation are part of a run"),
    "callbacks": (([],), "set callbacks of the run"),
    "check_val_every_n_epoch": ((), _VALIDATION),
    "default_root_dir": ((), "set run"),
    "enable_checkpointing": ((False,), "checkpoints are part of a run; set checkpoint_every_n_steps"),
    "enable_progress_bar": ((True,), "a log file gets a line every 15 seconds instead of a bar"),
    "fast_dev_run": ((False, 0), "add +debug=fast_dev_run"),
    "limit_predict_batches": (
        (1.0,),
        "all target images are labeled; set data.max_images for less of all data",
    ),
    "limit_test_batches": ((1.0,), "a run does not test; set data.max_images for less of all data"),
    "limit_train_batches": ((1.0,), f"{_STEPS}; or add +debug=limit"),
    "limit_val_batches": (
        (1.0,),
        "mIoU is of all validation images; set data.max_images for less of all data",
    ),
    "log_every_n_steps": ((), "set log_every_n_steps of the run"),
    "logger": (
        (False,),
        "choose logger=tensorboard, wandb, mlflow or none, or a file of your own in the group logger",
    ),
    "max_epochs": ((1,), _STEPS),
    "max_steps": ((-1,), _STEPS),
    "min_epochs": ((), _STEPS),
    "min_steps": ((), _STEPS),
    "num_sanity_val_steps": ((0,), _VALIDATION),
    "overfit_batches": ((0, 0.0), "add +debug=overfit_batches"),
    "reload_dataloaders_every_n_epochs": ((0,), "loaders are made for each stage and round"),
    "use_distributed_sampler": ((False,), "images are divided among the devices already"),
    "val_check_interval": ((), _VALIDATION),
}
"""Arguments of the trainer that a run decides on -> values that mean no change, and what to do for another."""


def check_options(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of the trainer that it does not know, or that a run decides on.

    Args:
        arguments: As for ``pl.Trainer``.

    Raises:
        InputError: Names the argument and what to set instead.
    """
    known = list(inspect.signature(pl.Trainer).parameters)
    for name, value in arguments.items():
        if name not in known:
            close = get_close_matches(name, known, 1) or ["--help"]
            raise InputError(
                f"trainer.{name}: Lightning's Trainer has no such argument; did you mean {close[0]}?"
            )
        accepted, instead = _DECIDED.get(name, ((value,), ""))
        if value is not None and not any(type(value) is type(one) and value == one for one in accepted):
            raise InputError(f"trainer.{name} cannot be {value!r} in a run: {instead}.")
        if name == "max_time" and value is not None:
            time_left(value, 0.0)
        elif any(isinstance(part, Mapping) for part in (value if isinstance(value, list) else [value])):
            raise InputError(
                f"trainer.{name} cannot be an object with settings of its own: name one of Lightning's, as in "
                "trainer.profiler=simple, or give the object to hiast.run.Pipeline in Python."
            )
    check_precision(arguments.get("precision"))
    algorithm = arguments.get("gradient_clip_algorithm")
    if algorithm not in (None, "norm", "value"):  # In the warm-up Lightning would notice at the first step.
        raise InputError(f"trainer.gradient_clip_algorithm is '{algorithm}'; choose norm or value.")
    strategy = arguments.get("strategy")
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        raise InputError(
            f"trainer.strategy is '{strategy}': the stages of a run are trained with {' or '.join(STRATEGIES)}."
        )


def time_left(limit: Any, elapsed: float) -> timedelta:
    """What is left of ``trainer.max_time``, at least nothing.

    Args:
        limit: "DD:HH:MM:SS", a timedelta, or a mapping of its arguments, as Lightning takes it.
        elapsed: Seconds since the program was started.

    Raises:
        InputError: The limit is of no such form.

    Examples:
        >>> time_left("00:01:00:00", 600.0)
        datetime.timedelta(seconds=3000)
    """
    try:
        seconds = pl.callbacks.Timer(limit).time_remaining()
    except (MisconfigurationException, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"trainer.max_time is {limit!r}: write DD:HH:MM:SS, such as 00:12:00:00.") from error
    return timedelta(seconds=max(0.0, (seconds or 0.0) - elapsed))


def build_trainer(
    arguments: Mapping[str, Any],
    module: AdaptationModule,
    *,
    callbacks: Sequence[pl.Callback],
    val_every_n_steps: int,
    folder: Path,
) -> pl.Trainer:
    """A trainer for one fit.

    Args:
        arguments: The user's: devices, precision, ...
        module: What is fitted.
        callbacks: Callbacks in the order in which they are called.
        val_every_n_steps: Optimizer steps between two validations.
        folder: The run directory.

    Raises:
        InputError: Lightning or a run refuses an argument.
    """
    check_options(arguments)
    options = {name: value for name, value in arguments.items() if name not in _DECIDED}
    # In the warm-up discriminator and network take part in different backward passes.
    warmup = isinstance(module, WarmupModule)
    if isinstance(module, WarmupModule):
        clipping = ("gradient_clip_val", "gradient_clip_algorithm")
        module.clipping = {key: options.pop(key) for key in clipping if key in options}
    with trainer_refusals():
        plugins = [AtomicCheckpointIO(), *_cluster(), *(options.pop("plugins", None) or [])]
        options["strategy"] = trainer_strategy(options, find_unused_parameters=warmup)
        if options["strategy"] == "ddp":  # of one device
            options["strategy"] = "auto"
        return pl.Trainer(
            **{
                "max_epochs": 1,
                "check_val_every_n_epoch": None,
                "val_check_interval": val_every_n_steps * module.accumulate_grad_batches,
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "logger": False,  # hiast.callbacks.tracking feeds the loggers.
                "log_every_n_steps": 1,
                "default_root_dir": str(folder),
                "callbacks": list(callbacks),
                "plugins": plugins,
            }
            | options
        )


def _cluster() -> list[Any]:
    """SLURM without Lightning's own requeueing: its checkpoints do not hold where a run of this library resumes."""
    by_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if by_slurm else []


@contextmanager
def trainer_refusals() -> Iterator[None]:
    """Answer what Lightning refuses while a ``Trainer`` or ``Fabric`` is made from the user's settings.

    Raises:
        InputError: Lightning refuses a setting.
    """
    try:
        yield
    except (MisconfigurationException, ImportError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error
