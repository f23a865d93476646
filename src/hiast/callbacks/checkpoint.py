"""Saving ``last.ckpt`` and ``best.ckpt`` of a stage so that both are whole at any moment."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException

from hiast.callbacks.schedule import ValidationSchedule
from hiast.files import write_atomically
from hiast.training.finite import NonFiniteLossError
from hiast.training.module import AdaptationModule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the whole checkpoint, or leave the old file unchanged.

        Raises:
            OSError: It cannot be written; the message names the path.
        """

        def write(file: BinaryIO) -> None:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch wraps the error of the file in one of its own.
                if not isinstance(error.__context__, OSError):
                    raise
                number = error.__context__.errno or errno.EIO
                raise OSError(number, os.strerror(number), str(path)) from error

        write_atomically(Path(path), write)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load with ``weights_only=True``, regardless of the argument."""
        contents: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=True)
        return contents


class StageCheckpoint(pl.Callback):
    """Saves every few steps, after each validation, and when the run is asked to stop.

    The next stage starts from ``last.ckpt``, and its scores are the ones that are reported. ``best.ckpt`` has the
    highest mean on the labeled target images. A real adaptation does not have these labels, so nothing is chosen by it.

    Args:
        directory: The ``checkpoints`` folder of the stage.
        schedule: Steps followed by a validation are saved after it, not here.
        every: Optimizer steps between two saves.
        keep_best: Whether ``best.ckpt`` is kept.
        best: Mean of the ``best.ckpt`` of an earlier round; None: there is none.
    """

    def __init__(
        self,
        directory: Path,
        schedule: ValidationSchedule,
        every: int = 400,
        keep_best: bool = True,
        best: float | None = None,
    ) -> None:
        self.directory = directory
        self.schedule = schedule
        self.every = every
        self.keep_best = keep_best
        self.best = best
        self._saved = -1

    def state_dict(self) -> dict[str, Any]:
        """The best mean so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best mean so far."""
        self.best = state_dict["best"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Create the folder."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that the state at the start is on the disk already."""
        self._saved = _module(pl_module).batches_done

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save at every ``every``-th step, unless a validation or the end of training saves right after it."""
        module = _module(pl_module)
        due = module.batches_done % (self.every * module.accumulate_grad_batches) == 0
        if due and module.batches_done < module.batches and not self.schedule.follows(trainer, module):
            self._save(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a validation, and keep the weights as ``best.ckpt`` if they are the best so far."""
        module = _module(pl_module)
        if trainer.state.fn != "fit" or module.scores is None or not _at_step(module):
            return
        mean = next(iter(module.scores.means.values()))
        better = is_better(mean, self.best)
        self.best = mean if better else self.best
        if better and self.keep_best:
            # best.ckpt first: a run that is killed in between resumes from the older last.ckpt and gets here again.
            self._save(trainer, module, "best.ckpt")
            if trainer.is_global_zero:
                link_or_copy(self.directory / "best.ckpt", self.directory / "last.ckpt")
        else:
            self._save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end of a round that no validation has saved, because the target has no labels."""
        if self._saved != _module(pl_module).batches_done:
            self._save(trainer, _module(pl_module))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save the last good state when the run is asked to stop or a loss is not finite."""
        if self._saved < 0 or not isinstance(exception, SIGTERMException | NonFiniteLossError):
            return
        module = _module(pl_module)
        if isinstance(exception, NonFiniteLossError) and not module.discard_unfinished_step():
            return
        if _at_step(module) and module.batches_done > self._saved:
            self._save(trainer, module)

    def _save(self, trainer: pl.Trainer, module: AdaptationModule, name: str = "last.ckpt") -> None:
        if module.finite.interval > 1:
            # A step that is not finite, since the last check, must not reach the file.
            module.raise_if_not_finite()
        # In Lightning, weights_only=True would leave the optimizers out.
        trainer.save_checkpoint(self.directory / name, weights_only=False)
        self._saved = module.batches_done


def is_better(mean: float, best: float | None) -> bool:
    """Whether a mean is higher than the best one so far. NaN, the mean of no class at all, is never better.

    Args:
        mean: The new mean.
        best: The best so far; None or NaN: there is none.
    """
    return not math.isnan(mean) and (best is None or math.isnan(best) or mean > best)


def best_of(checkpoint: dict[str, Any]) -> float | None:
    """Best mean up to a checkpoint that ``StageCheckpoint`` has saved; None: there was no validation."""
    best: float | None = checkpoint["callbacks"][StageCheckpoint.__qualname__]["best"]
    return best


def link_or_copy(file: Path, other: Path) -> None:
    """Give a checkpoint a second name: by a hard link, or by a copy where the file system has no hard links."""
    beside = other.with_name(f".{other.name}.part")
    beside.unlink(missing_ok=True)
    try:
        os.link(file, beside)
    except OSError:
        shutil.copyfile(file, beside)
    beside.replace(other)
    # A rename between two names of one file does nothing: the second name is there already.
    beside.unlink(missing_ok=True)


def _at_step(module: AdaptationModule) -> bool:
    """Whether no gradients are accumulated for a step that is not done."""
    return module.batches_done % module.accumulate_grad_batches == 0


def _module(module: pl.LightningModule) -> AdaptationModule:
    if not isinstance(module, AdaptationModule):
        raise TypeError(f"StageCheckpoint saves modules of this library, not {type(module).__name__}.")
    return module
