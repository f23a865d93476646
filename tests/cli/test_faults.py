"""Faults of the machine are recognized by what torch and the system say, and nothing else is."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hiast.cli.faults import explain
from hiast.cli.kinds import flat
from hiast.cli.settings import TABLES

CUDA = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.15 GiB."
CPU = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
BUS = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that workers are out of shared memory."
SHM = "unable to allocate shared memory(shm) for file </torch_12_3>: No space left on device (28)"
BATCH = "Expected more than 1 value per channel when training, got input size torch.Size([1, 256, 1, 1])"
GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534]"


def in_worker(kind: type, text: str) -> Exception:
    """An error that a loader worker has passed on, as torch raises it again."""
    name = kind.__name__
    return kind(
        f"Caught {name} in DataLoader worker process 0.\nOriginal Traceback:\n  File x\n{name}: {text}"
    )


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.cuda.OutOfMemoryError(CUDA), "The memory of the GPU is too small: divide each step"),
        (RuntimeError("CUDA error: out of memory"), "memory of the GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory of the GPU"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"), "memory of the GPU"),
        (RuntimeError(f"[enforce fail at alloc_cpu.cpp:118] err == 0. {CPU}"), "The memory of the machine"),
        (MemoryError(), "The memory of the machine"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "The memory of the machine"),
        (in_worker(RuntimeError, CPU), "The memory of the machine"),
        (RuntimeError(SHM), "--shm-size=8g"),
        (RuntimeError(BUS), "--shm-size=8g"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "A loader worker was killed",
        ),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "A loader worker was killed"),
        (OSError(errno.EMFILE, "Too many open files", "x.png"), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (in_worker(OSError, "[Errno 24] Too many open files: 'x.png'"), "ulimit -n"),
        (in_worker(OSError, "[Errno 5] Input/output error: 'x.png'"), "Input/output error (x.png)"),
        (PermissionError(errno.EACCES, "Permission denied", "run"), "Permission denied (run)"),
        (OSError(errno.EROFS, "Read-only file system", "run"), "Read-only file system (run)"),
        (ValueError(BATCH), "batch_size of at least 2"),
    ],
)
def test_recognized(error: Exception, wanted: str) -> None:
    output = explain(error)
    assert output is not None and wanted in output and "\n" not in output


def test_the_allocators_really_say_so() -> None:
    for allocate in (lambda: np.empty(2**55), lambda: torch.empty(2**55)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert "memory of the machine" in (explain(caught.value) or "")


def test_the_remedy_is_that_of_the_command() -> None:
    assert "window=" in explain(torch.cuda.OutOfMemoryError(CUDA), "eval")
    assert "group_size=1" in explain(torch.cuda.OutOfMemoryError(CUDA), "label")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("timed out"), RuntimeError("Connection reset by peer"), RuntimeError("mat1 and mat2 shapes"),
        TypeError("'<' not supported"), OSError("without a number"), ConnectionResetError(errno.ECONNRESET, "reset"),
        FileNotFoundError(errno.ENOENT, "No such file", "somewhere.txt"), ValueError("memory"), TimeoutError("x"),
    ],
)  # fmt: skip
def test_anything_else_is_a_bug(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert explain(error) is None


def test_a_missing_file_of_the_user_is_not_a_bug(tmp_path: Path) -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "data/x.png"))
    assert "x.png" in explain(error, "train", [tmp_path / "data"])
    assert explain(error, "train", [tmp_path / "other"]) is None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"{GLOO} Connection closed by peer [127.0.0.1]:1"),
        RuntimeError(f"{GLOO} Timed out waiting 1800000ms for recv operation to complete"),
        torch.distributed.DistBackendError("NCCL error: remote process exited or there was a network error"),
        torch.distributed.DistStoreError(
            "Timed out after 61 seconds waiting for clients. 1/2 clients joined."
        ),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        RuntimeError(
            "DDP expects same model across all ranks, but Rank 0 has 3 params, while rank 1 has 0 params."
        ),
    ],
)
def test_other_processes(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert explain(error).startswith("Another process of this run has ended")
    monkeypatch.delenv("LOCAL_RANK")
    assert explain(error) is None


COMMANDS = ["train", "eval", "label", "predict", "data_check", "data_prepare", "export", "report"]


@pytest.mark.parametrize("command", COMMANDS)
def test_advice_about_memory_names_keys_that_the_command_has(command: str) -> None:
    text = explain(MemoryError(), command) or ""
    keys = set(re.findall(r"([\w.]+)=", text))
    known = {*flat(TABLES[command]), "trainer.precision", "batch_size"}  # batch_size: of the stages
    assert keys <= known
    assert ("end other programs" in text) == (command in ("export", "report")) == (not keys)
