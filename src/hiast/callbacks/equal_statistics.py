"""The same running statistics in every process, where batch normalization is not synchronized."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import nn

from hiast.callbacks.hashing import RUNNING


class EqualStatistics(pl.Callback):
    """Gives every process the running statistics of rank zero after each batch.

    Torch synchronizes batch normalization on accelerators only. On CPUs each process has the statistics of its own
    batches; a checkpoint holds those of rank zero. Without this, processes would validate, measure and recognize
    networks that differ from the one that is saved.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Copy the statistics, if the run has several processes on CPUs."""
        if trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
            copy_statistics(pl_module)


def copy_statistics(network: nn.Module) -> None:
    """Replace the running statistics of all batch normalization in ``network`` by those of rank zero.

    Every process of torch.distributed's default group must call this.
    """
    buffers = [buffer for name, buffer in network.named_buffers() if name.rpartition(".")[2] in RUNNING]
    if not buffers:
        return
    together = torch.cat([buffer.detach().reshape(-1).double() for buffer in buffers])
    dist.broadcast(together, src=0)
    parts = torch.split(together, [buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))
