"""Loaders that start no worker before the first batch is asked for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from hiast.data.loading.sampler import PositionBatchSampler, ShardSampler
from hiast.data.sample import Sample


class Loader(DataLoader[Sample]):
    """A ``DataLoader`` that can be started while workers of another are at work, and die."""

    def __iter__(self) -> Any:
        with _dead_workers_wait(), _sigterm_blocked():
            return super().__iter__()


class TrainLoader:
    """The batches of a dataset by ``PositionBatchSampler``.

    Lightning asks loaders for their iterator before a fit begins, when the labels of a round may not exist
    yet. Here workers start, and the dataset is touched, at the first batch only.

    Args:
        dataset: Yields a sample for a draw.
        draws: Order of the samples.
        num_workers: Worker processes; 0: samples are made in this process.
    """

    def __init__(self, dataset: Dataset[Sample], draws: PositionBatchSampler, num_workers: int) -> None:
        self.dataset = dataset
        self.sampler = draws  # Lightning looks for a sampler here, to tell it the epoch.
        self._loader = Loader(dataset, batch_sampler=draws, **loader_options(num_workers))

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Sample]:
        yield from self._loader

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the place in the order is given when the loader is made. Lightning asks when it saves."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


def validation_loader(
    dataset: Dataset[Sample], size: int, rank: int, world_size: int, num_workers: int
) -> Loader:
    """One rank's share of a dataset, each image once over all ranks, in batches of one.

    Args:
        dataset: Yields a sample for an index.
        size: Number of images.
        rank: Of this process.
        world_size: Number of processes. The trainer needs ``use_distributed_sampler=False``.
        num_workers: Worker processes.
    """
    shard = ShardSampler(size, rank, world_size)
    return Loader(dataset, batch_size=1, sampler=shard, **loader_options(min(num_workers, len(shard))))


def loader_options(num_workers: int) -> dict[str, Any]:
    """What all loaders share."""
    return {
        "num_workers": min(num_workers, _cores()),
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": start_worker,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def start_worker(worker: int) -> None:
    """Make a process that has just been forked a worker that only its parent sends home.

    A batch system and a terminal signal all processes of a job at once. The parent finishes its step and saves;
    for that it needs its workers. Threads of OpenCV are not wanted: workers are the parallelism.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # SIGTERM was blocked before the fork. torch's handler would end the worker whoever it comes from.
        threading.Thread(target=_wait_to_be_sent_home, daemon=True).start()


def _wait_to_be_sent_home() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@contextmanager
def _dead_workers_wait() -> Iterator[None]:
    """Hear of workers that die in here behind it.

    torch raises an error from the handler of SIGCHLD. Where that happens inside a fork, Python prints and forgets the
    error, and the locks that the fork had closed stay closed.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    died = False

    def note(number: int, frame: object) -> None:
        nonlocal died
        died = True

    signal.signal(signal.SIGCHLD, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)
    if died:
        handler(signal.SIGCHLD, None)


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Have processes that are forked in here begin their lives deaf to SIGTERM."""
    if sys.platform != "linux":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
