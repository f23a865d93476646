"""Sums and lists over the processes of a run, so that state that moves online stays equal on every process."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """Number of processes of the default group; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Number of this process in the default group; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of every process's ``values`` (equal shapes and types); ``values`` itself where there is one process.

    All processes must call this together. Integers add up to the same result in every order.
    """
    if process_count() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def gather_over_processes(values: Tensor) -> Tensor:
    """Every process's ``values`` (equal shapes and types), stacked [processes, ...] in the order of rank.

    All processes must call this together.
    """
    if process_count() == 1:
        return values.unsqueeze(0)
    own = values.contiguous()
    rows = [torch.empty_like(own) for _ in range(process_count())]
    dist.all_gather(rows, own)
    return torch.stack(rows)
