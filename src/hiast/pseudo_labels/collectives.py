"""Exchange between the processes that label one data set; when one of them fails, all of them raise its message."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch.distributed as dist

from hiast.errors import RunError

T = TypeVar("T")


class Communicator(Protocol):
    """The processes that work together."""

    @property
    def rank(self) -> int:
        """Number of this process, 0 to world_size - 1. Rank zero keeps the records."""
        ...

    @property
    def world_size(self) -> int:
        """Number of processes."""
        ...

    def all_gather_object(self, value: Any) -> list[Any]:
        """The ``value`` of every process, in the order of their ranks; every process must call this."""
        ...


class SingleProcess:
    """One process alone."""

    rank = 0
    world_size = 1

    def all_gather_object(self, value: Any) -> list[Any]:
        """``value`` as the only entry."""
        return [value]


class DistributedProcesses:
    """The processes of torch.distributed's default group, which is already initialized.

    With NCCL, objects travel through the current CUDA device.

    Raises:
        ValueError: torch.distributed is not initialized.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def all_gather_object(self, value: Any) -> list[Any]:
        """``torch.distributed.all_gather_object``."""
        gathered: list[Any] = [None] * self.world_size
        dist.all_gather_object(gathered, value)
        return gathered


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """What a process made, or the message of the error that stopped it."""

    value: T | None
    error: str | None = None


def all_gather_checked(communicator: Communicator, make: Callable[[], T]) -> list[T]:
    """Gather what ``make`` returns in each process; if it fails in one process, every process raises.

    Args:
        communicator: The processes; each of them must call this.
        make: Makes this process's value. With several processes the value must be picklable.

    Returns:
        The values in the order of ranks.

    Raises:
        RunError: ``make`` failed in another process; the message quotes its error. A process whose own ``make``
            failed raises that error instead.
    """
    try:
        own = _Outcome(make())
    except BaseException as error:
        # The other processes may be gone as well; this process's own error is the one to show then.
        with suppress(RuntimeError):
            communicator.all_gather_object(_Outcome(None, f"{type(error).__name__}: {error}".rstrip(": ")))
        raise
    outcomes: list[_Outcome[T]] = communicator.all_gather_object(own)
    failures = [(rank, outcome.error) for rank, outcome in enumerate(outcomes) if outcome.error is not None]
    if failures:
        reasons = "; ".join(f"process {rank} failed with {message}" for rank, message in failures)
        raise RunError(f"All processes stop labeling because {reasons}")
    return [outcome.value for outcome in outcomes]  # type: ignore[misc]  # without an error there is a value


def run_on_rank_zero(communicator: Communicator, work: Callable[[], T]) -> T:
    """Run ``work`` on rank zero while the other processes wait.

    Returns:
        What it returned, in every process.

    Raises:
        RunError: It failed; rank zero raises its own error.
    """
    return all_gather_checked(communicator, lambda: work() if communicator.rank == 0 else None)[0]  # type: ignore[return-value]
