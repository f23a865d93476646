"""Several processes label one set: byte for byte the round that one process makes."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from labeling_job import NAMES, contents, label, some_are_broken

from hiast.errors import InputError, RunError
from hiast.pseudo_labels.collectives import SingleProcess, all_gather_checked, run_on_rank_zero


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_equal_to_one_process_and_stopped_together(tmp_path, world):
    script = Path(__file__).parents[1] / "helpers/labeling_rank.py"
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
    label(single / "compared", previous=single / "argmax", identity={"checkpoint": "2"})
    assert contents(directory / "compared") == contents(single / "compared")
    label(single / "skipped", read_image=some_are_broken, unreadable="skip")
    assert contents(directory / "skipped") == contents(single / "skipped")
    assert not (directory / "killed/manifest.json").exists()
    label(directory / "killed")
    assert contents(directory / "killed") == contents(single / "adaptive")


class OneOfThree:
    """Process 1 of 3, of which process 2 fails."""

    rank, world_size = 1, 3

    def all_gather_object(self, value):
        return [value, value, replace(value, value=None, error="OSError: disk full")]


def test_the_error_of_another_process_is_quoted_here():
    with pytest.raises(RunError, match="process 2 failed with OSError: disk full"):
        all_gather_checked(OneOfThree(), lambda: "fine")
    with pytest.raises(RunError, match="process 2 failed with OSError: disk full"):
        run_on_rank_zero(OneOfThree(), lambda: None)


class Recording(SingleProcess):
    """Keeps what is sent to the other processes."""

    def __init__(self):
        self.sent = []

    def all_gather_object(self, value):
        self.sent.append(value)
        return [value]


@pytest.mark.parametrize("run", [all_gather_checked, run_on_rank_zero])
@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), InputError("a.png is damaged.")])
def test_an_own_error_is_sent_to_the_others_and_raised(run, error):
    def fail():
        raise error

    communicator = Recording()
    with pytest.raises(type(error)):
        run(communicator, fail)
    (sent,) = communicator.sent
    assert type(error).__name__ in sent.error
    assert str(error) in sent.error


def test_an_own_error_is_raised_even_if_the_others_are_gone():
    class Alone(SingleProcess):
        def all_gather_object(self, value):
            raise RuntimeError("Connection closed by peer")

    with pytest.raises(KeyError, match="mine"):
        all_gather_checked(Alone(), lambda: {}["mine"])
    with pytest.raises(RuntimeError, match="closed by peer"):
        all_gather_checked(Alone(), lambda: 1)


def test_what_rank_zero_returns_reaches_every_process():
    assert run_on_rank_zero(SingleProcess(), lambda: 7) == 7
    assert all_gather_checked(SingleProcess(), lambda: 7) == [7]
