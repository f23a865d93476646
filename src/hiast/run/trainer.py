"""Lightning's trainer with what every fit of a run needs, and what it refuses in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from hiast.callbacks import AtomicCheckpointIO
from hiast.errors import InputError
from hiast.run.distributed import trainer_strategy
from hiast.training import AdaptationModule, WarmupModule


def build_trainer(
    arguments: Mapping[str, Any],
    module: AdaptationModule,
    *,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Any],
    val_every_n_steps: int,
    log_every_n_steps: int,
    folder: Path,
) -> pl.Trainer:
    """A trainer for one fit.

    Args:
        arguments: The user's: devices, precision, ...
        module: What is fitted.
        callbacks: In the order in which they are called.
        loggers: Lightning loggers.
        val_every_n_steps: Optimizer steps between two validations.
        log_every_n_steps: Optimizer steps between two records of the loggers.
        folder: The run directory.

    Raises:
        InputError: Lightning refuses an argument.
    """
    options = dict(arguments)
    # In the warm-up discriminator and network take part in different backward passes.
    warmup = isinstance(module, WarmupModule)
    if isinstance(module, WarmupModule):
        clipping = ("gradient_clip_val", "gradient_clip_algorithm")
        module.clipping = {key: options.pop(key) for key in clipping if key in options}
    with trainer_refusals():
        plugins = [AtomicCheckpointIO(), *_cluster(), *options.pop("plugins", [])]
        options["strategy"] = trainer_strategy(options, find_unused_parameters=warmup)
        return pl.Trainer(
            max_epochs=1,
            check_val_every_n_epoch=None,
            val_check_interval=val_every_n_steps * module.accumulate_grad_batches,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=list(loggers) or False,
            log_every_n_steps=1 if not loggers else log_every_n_steps,
            default_root_dir=str(folder),
            callbacks=list(callbacks),
            plugins=plugins,
            **options,
        )


def _cluster() -> list[Any]:
    """SLURM without Lightning's own way to requeue: its checkpoints hold no place to go on from in this library."""
    by_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if by_slurm else []


@contextmanager
def trainer_refusals() -> Iterator[None]:
    """Around the making of a ``Trainer`` or ``Fabric`` from the user's settings.

    Raises:
        InputError: Lightning refuses a setting.
    """
    try:
        yield
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error
