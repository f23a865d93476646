"""One process at a time in a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from hiast.errors import InputError

LOCK_FILE = ".lock"
"""Name of the lock file. The file stays in the folder when its lock is released."""


def lock_folder(folder: Path, busy: str) -> FileLock:
    """Lock a folder for this process, without waiting.

    The lock ends with ``release()`` or with the process, however it ends. Forked children, such as loader workers
    that outlive a killed process for some seconds, do not hold it.

    Args:
        folder: An existing folder.
        busy: Message of the error when another process (or another lock of this process) holds it.

    Returns:
        The lock, acquired.

    Raises:
        InputError: The lock is held elsewhere.
        OSError: The lock file cannot be written.
    """
    lock = FileLock(folder / LOCK_FILE, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{busy}{_holder(folder / LOCK_FILE)}") from error
    return lock


def _holder(path: Path) -> str:
    """Who holds a lock, where the file system has no locks and the file itself stands for one, also after a crash."""
    try:
        process, host, *_ = path.read_text("utf-8").split()
    except (OSError, ValueError):
        return ""
    return f" It is process {process} on {host}, says {path}: if that has ended, remove this file."
