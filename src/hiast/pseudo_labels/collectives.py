"""Several processes labeling one data set: what they tell each other, and how a failure of one reaches all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from hiast.errors import RunError


class Processes(Protocol):
    """The processes that work together.

    Attributes:
        rank: Number of this process, 0 to world_size - 1; 0 keeps the books.
        world_size: How many there are.
    """

    rank: int
    world_size: int

    def gather(self, tensor: Tensor) -> Tensor:
        """Every process's ``tensor`` (CPU, equal shapes and types), stacked [world_size, ...] in the order of rank."""
        ...

    def barrier(self) -> None:
        """Wait for all."""
        ...


class SingleProcess:
    """One process alone."""

    rank = 0
    world_size = 1

    def gather(self, tensor: Tensor) -> Tensor:
        """``tensor`` as the only row."""
        return tensor[None]

    def barrier(self) -> None:
        """Nobody to wait for."""


class TorchProcesses:
    """The processes of torch.distributed's default group, which is already initialized (gloo, NCCL or MPI)."""

    def __init__(self) -> None:
        """Look up rank and size.

        Raises:
            ValueError: torch.distributed is not initialized.
        """
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def gather(self, tensor: Tensor) -> Tensor:
        """All-gather on the CPU, or through the current CUDA device where the group is NCCL's."""
        device = (
            torch.device("cuda", torch.cuda.current_device())
            if dist.get_backend() == "nccl"
            else tensor.device
        )
        own = tensor.contiguous().to(device)
        rows = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(rows, own)
        return torch.stack(rows).cpu()

    def barrier(self) -> None:
        """Wait for all processes of the group."""
        dist.barrier()


def share(
    processes: Processes, make: Callable[[], NDArray[Any]], shape: tuple[int, ...], dtype: type
) -> NDArray[Any]:
    """Gather what ``make`` gives in each process; where it fails in one, fail in all.

    Args:
        processes: Those who take part; each must call this.
        make: Makes this process's array.
        shape: Its shape, the same everywhere.
        dtype: Its integer or float type.

    Returns:
        Array [world_size, *shape].

    Raises:
        RunError: ``make`` failed in another process; here, its own error goes on.
    """
    message: NDArray[Any] = np.zeros(1 + int(np.prod(shape)), dtype)
    try:
        message[1:] = make().reshape(-1)
        message[0] = 1
    finally:
        gathered = processes.gather(torch.from_numpy(message)).numpy()
    failed = np.flatnonzero(gathered[:, 0] == 0)
    if len(failed):
        ranks = ", ".join(map(str, failed))
        raise RunError(
            f"Labeling failed in process {ranks}: its own message says why; this process stops too."
        )
    return gathered[:, 1:].reshape(processes.world_size, *shape)


def agree(processes: Processes, work: Callable[[], object]) -> None:
    """Do ``work`` in process 0 while the others wait; where it fails, fail in all."""

    def make() -> NDArray[Any]:
        if processes.rank == 0:
            work()
        return np.zeros(0, np.uint8)

    share(processes, make, (0,), np.uint8)
