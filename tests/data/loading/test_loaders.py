"""Loader workers that die, and those that are left when a fit or the program ends."""

from __future__ import annotations

import subprocess
import sys

NUMBERS = """
from hiast.data.loading.sampler import PositionBatchSampler, Shuffled, StreamKey

class Numbers:
    def __getitem__(self, draw):
        return getattr(draw, "position", draw)

    def __len__(self):
        return 100

draws = PositionBatchSampler(Shuffled(9), StreamKey(1, 1, 1), batch_size=1, steps=100)
"""
"""A dataset of 100 numbers and an order of its draws, for the programs below."""

KILL = (
    NUMBERS
    + """
import multiprocessing, os, signal, time
from hiast.data.loading.loaders import TrainLoader, validation_loader

def kill():
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    time.sleep(0.2)
    print("forked", flush=True)

batches = iter(TrainLoader(Numbers(), draws, 1))
print(next(batches).tolist(), flush=True)
[worker] = multiprocessing.active_children()
os.register_at_fork(after_in_parent=kill)
try:
    iter(validation_loader(Numbers(), 100, 0, 1, 1))
except RuntimeError as error:
    print(error, flush=True)
os._exit(0)
"""
)


def test_a_worker_that_dies_while_another_is_forked_is_reported_behind_the_fork() -> None:
    """Python prints and forgets errors raised inside a fork, and leaves locks closed that it should have opened."""
    done = subprocess.run([sys.executable, "-c", KILL], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    first, forked, error = done.stdout.splitlines()
    assert (first, forked) == ("[0]", "forked")
    assert error.startswith("DataLoader worker") and "killed by signal" in error


LEFT = (
    NUMBERS
    + """
import atexit, multiprocessing, time
from hiast.data.loading.loaders import TrainLoader, end_workers, validation_loader

def clean_up(worker):  # as torch does where memory is page-locked
    began = time.monotonic()
    worker.join(timeout=5)
    print("waited" if time.monotonic() - began > 2 else "ended", flush=True)

loaders = {"train": TrainLoader(Numbers(), draws, 2), "val": [validation_loader(Numbers(), 100, 0, 1, 1)]}
iterators = [iter(loaders["train"]), iter(loaders["val"][0])]
for iterator in iterators:
    next(iterator)
print(len(multiprocessing.active_children()), flush=True)
end_workers(loaders)
end_workers(None)
print(len(multiprocessing.active_children()), flush=True)
loaders["val"] = [validation_loader(Numbers(), 100, 0, 1, 2)]
from torch.utils.data import DataLoader
plain = DataLoader.__iter__
def registering(loader):
    iterator = plain(loader)
    for worker in iterator._workers:
        atexit.register(clean_up, worker)
    return iterator
DataLoader.__iter__ = registering
iterator = iter(loaders["val"][0])
next(iterator)
"""
)


def test_workers_end_with_the_fit_and_with_the_program() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["3", "0", "ended", "ended"], done.stdout + done.stderr
