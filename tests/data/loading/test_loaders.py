"""Loader workers that die."""

from __future__ import annotations

import subprocess
import sys

KILL = """
import multiprocessing, os, signal, time
from hiast.data.loading.loaders import TrainLoader, validation_loader
from hiast.data.loading.sampler import PositionBatchSampler, StreamKey, Shuffled

class Numbers:
    def __getitem__(self, draw):
        return getattr(draw, "position", draw)

    def __len__(self):
        return 100

def kill():
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    time.sleep(0.2)
    print("forked", flush=True)

sampler = PositionBatchSampler(Shuffled(9), StreamKey(1, 1, 1), batch_size=1, steps=100)
batches = iter(TrainLoader(Numbers(), sampler, 1))
print(next(batches).tolist(), flush=True)
[worker] = multiprocessing.active_children()
os.register_at_fork(after_in_parent=kill)
try:
    iter(validation_loader(Numbers(), 100, 0, 1, 1))
except RuntimeError as error:
    print(error, flush=True)
os._exit(0)
"""


def test_a_worker_that_dies_while_another_is_forked_is_reported_behind_the_fork() -> None:
    """Python prints and forgets errors raised inside a fork, and leaves locks closed that it should have opened."""
    done = subprocess.run([sys.executable, "-c", KILL], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    first, forked, error = done.stdout.splitlines()
    assert (first, forked) == ("[0]", "forked")
    assert error.startswith("DataLoader worker") and "killed by signal" in error
