"""One process of several that label together; started by test_distributed.py."""

from __future__ import annotations

import datetime
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from labeling_job import NAMES, label, predict, some_are_broken

from hiast.pseudo_labels.collectives import DistributedProcesses


def failing(rank, after, error):
    """The network, of which process ``rank`` fails after some groups."""
    left = after

    def network(images):
        nonlocal left
        if dist.get_rank() == rank:
            left -= 1
            if left < 0:
                error()
        return predict(images)

    return network


def stop():
    raise ValueError("stopped on purpose")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def expect(error, call):
    try:
        call()
    except error as raised:
        return str(raised)
    raise AssertionError(f"{error} was not raised")


def scenarios(directory, processes):
    rank = processes.rank
    for policy in ("adaptive", "balanced", "argmax"):
        label(directory / policy, policy, communicator=processes)
        label(directory / policy, policy, communicator=processes)
    for count in (1, 5):
        label(directory / f"count_{count}", communicator=processes, names=NAMES[:count], group_size=1)
    for policy in ("adaptive", "balanced"):
        network = failing(processes.world_size - 1, 1, stop)
        words = expect(
            (ValueError, RuntimeError),
            lambda p=policy, n=network: label(
                directory / f"continued_{p}", p, communicator=processes, predict=n, group_size=1
            ),
        )
        last = processes.world_size - 1
        assert "stopped on purpose" in words, words
        assert (f"process {last} failed with ValueError" in words) == (rank != last), words
    label(directory / "continued_adaptive", "adaptive", communicator=processes, group_size=1)
    label(
        directory / "compared",
        communicator=processes,
        previous=directory / "argmax",
        identity={"checkpoint": "2"},
    )
    label(directory / "skipped", communicator=processes, read_image=some_are_broken, unreadable="skip")
    words = expect(
        (RuntimeError, ValueError),
        lambda: label(directory / "adaptive", communicator=processes, identity={"checkpoint": "other"}),
    )
    assert "differs in checkpoint" in words, words
    assert ("process 0 failed" in words) == (rank != 0), words
    words = expect(
        RuntimeError,
        lambda: label(directory / "mixed", communicator=processes, identity={"checkpoint": f"of {rank}"}),
    )
    assert "different" in words


def main():
    rank, world, directory, store = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{store}", rank=rank, world_size=world, timeout=datetime.timedelta(seconds=180)
    )
    processes = DistributedProcesses()
    scenarios(directory, processes)
    dist.barrier()
    if rank == 1:
        label(directory / "killed", communicator=processes, predict=failing(1, 1, kill))
    expect(
        RuntimeError, lambda: label(directory / "killed", communicator=processes, predict=failing(1, 1, kill))
    )
    (directory / f"fine_{rank}").touch()
    os._exit(0)  # The group is broken by then: nothing could be shut down in order.


if __name__ == "__main__":
    main()
