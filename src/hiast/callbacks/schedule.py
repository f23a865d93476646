"""Steps at which a round is validated, and looked at for candidates."""

from __future__ import annotations

import pytorch_lightning as pl

from hiast.training import AdaptationModule, OnlineModule


class ValidationSchedule(pl.Callback):
    """Places the validations of a round so that the last one falls on its last step, also after a resume.

    Args:
        every: Optimizer steps between two validations.
        images: Whether there are images to validate on.
    """

    def __init__(self, every: int, images: bool = True) -> None:
        self.every = every
        self.images = images

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set Lightning's batch counter, by which it times validations."""
        assert isinstance(pl_module, AdaptationModule)
        interval = self.every * pl_module.accumulate_grad_batches
        remaining = pl_module.batches - pl_module.batches_done
        trainer.fit_loop.epoch_loop.batch_progress.total.ready = -remaining % interval

    def follows(self, trainer: pl.Trainer, module: AdaptationModule) -> bool:
        """Whether a validation follows the batch that was just trained on."""
        interval = self.every * module.accumulate_grad_batches
        remaining = module.batches - module.batches_done
        return self.images and trainer.enable_validation and remaining % interval == 0


def is_look(module: AdaptationModule, looks: int) -> bool:
    """Whether a candidate is kept behind the batch that was just trained on, within online training.

    Args:
        module: The module; other stages are not looked at.
        looks: Looks besides the end, evenly spaced over the steps.
    """
    if not isinstance(module, OnlineModule) or module.batches_done % module.accumulate_grad_batches:
        return False
    places = {round(number * module.max_steps / (looks + 1)) for number in range(1, looks + 1)}
    return module.steps_done in places and module.steps_done < module.max_steps
