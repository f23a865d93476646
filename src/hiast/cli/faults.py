"""Faults of the machine, of the user's files and of other processes, each in one sentence with a remedy.

Anything that is not recognized here is a bug of the program, which keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hiast.errors import RunError

RESUME = "Finished work is kept: rerun the same command to resume."
RESUMING = frozenset({"train", "label", "predict", "data_prepare"})
"""Commands that continue what an earlier call has begun."""

_AGAIN = "Then rerun the same command."

_LESS_MEMORY = {
    "train": "divide each step into smaller batches with trainer=low_memory, or use a smaller batch_size, smaller "
    "crops (data.source_crop, data.target_crop) or trainer.precision=bf16-mixed",
    "eval": "use a smaller size with sizes=[[height,width]] or a sliding window with window=[height,width,stride]",
    "label": "use a smaller size=[height,width] or group_size=1",
    "predict": "use a smaller size=[height,width], a sliding window=[height,width,stride] or batch_size=1",
    "data_check": "use fewer threads=N",
    "data_prepare": "use fewer threads=N",
}
"""Command -> how it needs less memory."""

_DEVICE_MEMORY = (
    r"CUDA out of memory|CUDA error: out of memory|MPS backend out of memory|HIP out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|NCCL.*out of memory"
)
_HOST_MEMORY = (
    r"DefaultCPUAllocator: (not enough|can't allocate) memory|Unable to allocate .* for an array|Insufficient memory"
    r"|std::bad_alloc|Cannot allocate memory"
)
_SHARED_MEMORY = (
    r"unable to (allocate|open|resize|mmap) shared memory|Bus error|out of shared memory|/dev/shm"
    r"|No space left on device.*/torch_"
)
_WORKER = r"DataLoader worker .*(killed by signal|exited unexpectedly)"
_DISTRIBUTED = r"gloo|NCCL|ncclUnhandled|TCPStore|process group|DDP expects same model"
_GONE = (
    r"[Cc]onnection (closed|reset|refused)|Broken pipe|remote process|recvBytes|DDP expects same model"
    r"|[Tt]imed out|Timeout|Interrupted system call|connect\(\)|recvValue"
)

_OPEN_FILES = (
    "Too many files are open: raise the limit with 'ulimit -n 65536' before the command, or use a smaller "
    "data.num_workers."
)

_OF_THE_MACHINE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENODEV,
    errno.ENXIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ENOTCONN, errno.EBUSY, errno.ETXTBSY, errno.ETIMEDOUT,
    errno.ELOOP, errno.EREMOTEIO if hasattr(errno, "EREMOTEIO") else errno.EIO,
}  # fmt: skip
"""Errors of the operating system that no program can avoid."""


class JobFailedError(Exception):
    """Raised for a job of a sweep that has ended with an exit code other than 0 after printing its reason."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def explain(error: Exception, command: str = "train", roots: Sequence[Path] = ()) -> str | None:
    """What has happened, and what to do.

    Args:
        error: What was raised.
        command: Name of the command's base configuration.
        roots: Files and folders that the user has named; a file that is missing there is no bug.

    Returns:
        One sentence or two; None if the error is not recognized.
    """
    if isinstance(error, RunError):
        return str(error)
    text = str(error)
    found = (
        _of_memory(error, text, command)
        or _of_workers(text)
        or _of_processes(error, text)
        or _of_files(error, text, roots)
    )
    if found is None:
        return _of_batches(text)
    return f"{found} {RESUME if command in RESUMING else _AGAIN}"


def memory_fault(error: Exception) -> str | None:
    """The memory that was too small for a computation: "memory of the GPU" or "memory of the machine"; None: neither.

    Shared memory of loader workers is handled apart.
    """
    text = str(error)
    if re.search(_SHARED_MEMORY, text):
        return None
    if type(error).__name__ == "OutOfMemoryError" or re.search(_DEVICE_MEMORY, text):
        return "memory of the GPU"
    if (
        isinstance(error, MemoryError)
        or re.search(_HOST_MEMORY, text)
        or _number(error, text) == errno.ENOMEM
    ):
        return "memory of the machine"
    return None


def _of_memory(error: Exception, text: str, command: str) -> str | None:
    less = _LESS_MEMORY.get(command, "end other programs, or use a machine with more")
    if re.search(_SHARED_MEMORY, text):
        return (
            "The shared memory of the machine is too small for the loader workers: start the container with "
            "--shm-size=8g (or --ipc=host), or use data.num_workers=0."
        )
    place = memory_fault(error)
    if place is None:
        return None
    more = ", or a smaller data.num_workers" if "machine" in place else ""
    return f"The {place} is too small: {less}{more}."


def _of_workers(text: str) -> str | None:
    if not re.search(_WORKER, text):
        return None
    return (
        "A loader worker was killed, most often because memory ran out: free memory or use a smaller "
        "data.num_workers."
    )


def _of_processes(error: Exception, text: str) -> str | None:
    """Other processes of a distributed run."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    lost = isinstance(error, ConnectionError)
    known = lost or bool(kinds & {"DistError", "DistNetworkError", "DistBackendError", "DistStoreError"})
    if not _several() or not (known or re.search(_DISTRIBUTED, text)) or not (lost or re.search(_GONE, text)):
        return None
    if re.search(r"[Tt]imed out|Timeout", text) and not re.search(
        r"[Cc]onnection (closed|reset|refused)", text
    ):
        return "Another process of this run has ended or does not answer: its own message says why."
    return "Another process of this run has ended: its own message says why."


def _of_files(error: Exception, text: str, roots: Sequence[Path]) -> str | None:
    number = _number(error, text)
    if number in (errno.EMFILE, errno.ENFILE) or "received 0 items of ancdata" in text:
        return _OPEN_FILES
    if not isinstance(error, OSError) or number is None:
        return None
    name = error.filename or next(iter(re.findall(r"\[Errno \d+\][^:]*: '([^']+)'", text)), None)
    missing = number in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
    if number not in _OF_THE_MACHINE and not (
        missing and name and _is_inside(Path(os.fsdecode(name)), roots)
    ):
        return None
    place = f" ({os.fsdecode(name)})" if name else ""
    return f"{os.strerror(number)}{place}: fix this."


def _of_batches(text: str) -> str | None:
    if "Expected more than 1 value per channel when training" not in text:
        return None
    return (
        "Batch normalization needs more than one value per channel, and a device gets one image at a time: use a "
        "batch_size of at least 2 for each device and each of accumulate_grad_batches, or another backbone."
    )


def _number(error: Exception, text: str) -> int | None:
    """Number of an error of the operating system, also of one that a loader worker has passed on as text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.findall(r"\[Errno (\d+)\]", text)
    return int(found[-1]) if found and isinstance(error, OSError | RuntimeError) else None


def _is_inside(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path lies in a place that the user has named, or on the way to it."""
    place = path.absolute()
    return any(
        place.is_relative_to(root.absolute()) or root.absolute().is_relative_to(place) for root in roots
    )


def _several() -> bool:
    """Whether this is one of several processes of a run."""
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1 or "LOCAL_RANK" in os.environ:
        return True
    module = sys.modules.get("torch.distributed")
    return module is not None and bool(module.is_available() and module.is_initialized())
