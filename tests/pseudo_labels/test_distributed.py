"""Several processes label one set: byte for byte the round that one process makes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import NAMES, contents, label

from hiast.pseudo_labels.collectives import SingleProcess, agree, share


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_equal_to_one_process_and_stopped_together(tmp_path, world):
    script = Path(__file__).with_name("ranks.py")
    directory = tmp_path / "many"
    directory.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(world), str(directory), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in started]
    codes = [process.returncode for process in started]
    assert codes == [-signal.SIGKILL if rank == 1 else 0 for rank in range(world)], "\n".join(outputs)
    assert all((directory / f"fine_{rank}").exists() for rank in range(world) if rank != 1)

    single = tmp_path / "single"
    for policy in ("adaptive", "balanced", "argmax"):
        label(single / policy, policy)
        assert contents(directory / policy) == contents(single / policy)
    for policy in ("adaptive", "balanced"):
        label(directory / f"continued_{policy}", policy, group_size=1)
        label(single / f"continued_{policy}", policy, group_size=1)
        assert contents(directory / f"continued_{policy}") == contents(single / f"continued_{policy}")
    for count in (1, 5):
        label(single / str(count), names=NAMES[:count], group_size=1)
        assert contents(directory / f"count_{count}") == contents(single / str(count))
    assert not (directory / "killed/manifest.json").exists()
    label(directory / "killed")
    assert contents(directory / "killed") == contents(single / "adaptive")


class Fake(SingleProcess):
    """Process 1 of 3, of which process 2 has failed."""

    rank, world_size = 1, 3

    def gather(self, tensor):
        failed = torch.zeros_like(tensor)
        return torch.stack([tensor, tensor, failed])


def test_the_failure_of_another_process_is_an_error_here():
    with pytest.raises(RuntimeError, match="process 2"):
        share(Fake(), lambda: np.ones(3, np.int64), (3,), np.int64)
    with pytest.raises(RuntimeError, match="process 2"):
        agree(Fake(), lambda: None)


def test_an_own_failure_is_told_and_goes_on():
    told = []

    class Listening(SingleProcess):
        def gather(self, tensor):
            told.append(tensor.tolist())
            return tensor[None]

    def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        share(Listening(), fail, (2,), np.int32)
    with pytest.raises(KeyError, match="mine"):
        agree(Listening(), fail)
    assert told == [[0, 0, 0], [0]]
