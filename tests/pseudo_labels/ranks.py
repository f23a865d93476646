"""One process of several that label together; started by test_distributed.py."""

from __future__ import annotations

import datetime
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from toy import NAMES, label, predict

from hiast.pseudo_labels.collectives import TorchProcesses


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
        label(directory / policy, policy, processes=processes)
        label(directory / policy, policy, processes=processes)
    for count in (1, 5):
        label(directory / f"count_{count}", processes=processes, names=NAMES[:count], group_size=1)
    for policy in ("adaptive", "balanced"):
        network = failing(processes.world_size - 1, 1, stop)
        words = expect(
            (ValueError, RuntimeError),
            lambda p=policy, n=network: label(
                directory / f"continued_{p}", p, processes=processes, predict=n, group_size=1
            ),
        )
        last = processes.world_size - 1
        assert ("on purpose" if rank == last else f"failed in process {last}") in words, words
    label(directory / "continued_adaptive", "adaptive", processes=processes, group_size=1)
    words = expect(
        (RuntimeError, ValueError),
        lambda: label(directory / "adaptive", processes=processes, identity={"checkpoint": "other"}),
    )
    assert ("differs in" if rank == 0 else "process 0") in words, words
    words = expect(
        RuntimeError,
        lambda: label(directory / "mixed", processes=processes, identity={"checkpoint": f"of {rank}"}),
    )
    assert "different" in words


def main():
    rank, world, directory, store = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{store}", rank=rank, world_size=world, timeout=datetime.timedelta(seconds=180)
    )
    processes = TorchProcesses()
    scenarios(directory, processes)
    processes.barrier()
    if rank == 1:
        label(directory / "killed", processes=processes, predict=failing(1, 1, kill))
    expect(
        RuntimeError, lambda: label(directory / "killed", processes=processes, predict=failing(1, 1, kill))
    )
    (directory / f"fine_{rank}").touch()
    os._exit(0)  # The group is broken by then: nothing could be shut down in order.


if __name__ == "__main__":
    main()
