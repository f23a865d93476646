"""Data loaders whose workers start with the first batch and survive signals that are meant for the parent."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from hiast.data.loading.sampler import PositionBatchSampler, ShardSampler
from hiast.data.sample import Sample


class Loader(DataLoader[Sample]):
    """A ``DataLoader`` that is safe to start while another loader's workers are running or dying.

    Its workers end when the program does. torch waits five seconds for each worker that is left then, one after the
    other, where memory is page-locked: minutes after a run on a GPU.
    """

    def __iter__(self) -> Any:
        with _sigchld_deferred(), _sigterm_blocked():
            iterator = super().__iter__()
        if self.num_workers:
            # What is registered last is called first, so before torch waits.
            atexit.register(_end_workers_of, weakref.ref(self))
        return iterator

    def end_workers(self) -> None:
        """End the worker processes; a new iterator starts others."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None and self.num_workers:
            iterator._shutdown_workers()  # type: ignore[attr-defined]


class TrainLoader:
    """The batches of a dataset in the order of a ``PositionBatchSampler``.

    Lightning asks loaders for their iterator before a fit begins, when the labels of a round may not exist yet. Here
    the workers start, and the dataset is first read, with the first batch.

    Args:
        dataset: Returns a sample for a draw.
        draws: Order of the samples.
        num_workers: Number of worker processes; 0: samples are made in this process.
    """

    def __init__(self, dataset: Dataset[Sample], draws: PositionBatchSampler, num_workers: int) -> None:
        self.dataset = dataset
        self.sampler = draws  # Lightning sets the epoch of the sampler that it finds here.
        self._loader = Loader(dataset, batch_sampler=draws, **loader_options(num_workers))

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Sample]:
        yield from self._loader

    def end_workers(self) -> None:
        """End the worker processes."""
        self._loader.end_workers()

    def state_dict(self) -> dict[str, Any]:
        """An empty state, for Lightning: the position in the order is an argument of the sampler."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Ignore the state."""


def validation_loader(
    dataset: Dataset[Sample], size: int, rank: int, world_size: int, num_workers: int
) -> Loader:
    """Loader of one rank's share of a dataset: each image once over all ranks, in batches of one.

    Args:
        dataset: Returns a sample for an index.
        size: Number of images.
        rank: Rank of this process.
        world_size: Number of processes. The trainer needs ``use_distributed_sampler=False``.
        num_workers: Number of worker processes.
    """
    shard = ShardSampler(size, rank, world_size)
    return Loader(dataset, batch_size=1, sampler=shard, **loader_options(min(num_workers, len(shard))))


def end_workers(loaders: Any) -> None:
    """End the worker processes of loaders, as Lightning's trainer holds them: one, a list, a dictionary or None."""
    if isinstance(loaders, Loader | TrainLoader):
        loaders.end_workers()
    elif isinstance(loaders, Mapping):
        end_workers(list(loaders.values()))
    elif isinstance(loaders, list):
        for loader in loaders:
            end_workers(loader)


def loader_options(num_workers: int) -> dict[str, Any]:
    """Arguments that all loaders share."""
    return {
        "num_workers": min(num_workers, _cores()),
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": start_worker,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def start_worker(worker: int) -> None:
    """Worker init: ignore SIGINT, and obey SIGTERM only from the parent process.

    Batch systems and terminals signal all processes of a job at once. The parent then finishes its step and saves, for
    which it needs its workers. OpenCV runs without threads, since the workers already use the cores.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # SIGTERM was blocked before the fork. torch's handler would end the worker at a signal from any process.
        threading.Thread(target=_end_at_signal_of_parent, daemon=True).start()


def _end_at_signal_of_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _end_workers_of(reference: weakref.ref[Loader]) -> None:
    loader = reference()
    if loader is not None:
        loader.end_workers()


@contextmanager
def _sigchld_deferred() -> Iterator[None]:
    """Defer the SIGCHLD handler until the block has ended.

    torch's handler raises an error when a worker has died. Raised inside a fork, the error is printed and lost, and
    the locks that the fork holds are never released.
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
    """Block SIGTERM so that processes that are forked in the block inherit the mask."""
    if sys.platform != "linux":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
