"""The allocator of the C library: large blocks are kept instead of being returned to the system at every step."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt (malloc.h)."""
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_OTHERS = ("jemalloc", "tcmalloc", "mimalloc")

_kept = False


def keep_freed_memory() -> bool:
    """Have glibc keep freed blocks of any size for the next step.

    By default glibc gives each block above 32 MiB back when it is freed, and every page of the next one is faulted in
    and zeroed anew. On a CPU that took 5 to 11 % of a training step of the demo, and 44 % of the loss of large crops.
    Nothing is changed where the user has chosen settings of glibc or another allocator.

    Returns:
        Whether freed memory is kept.
    """
    global _kept
    if not _kept and is_glibc() and other_allocator() is None and not _set_by_user():
        mallopt = ctypes.CDLL(None).mallopt
        # -1 is the largest number: the end of the heap is never given back.
        _kept = bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
    return _kept


def is_glibc() -> bool:
    """Whether the C library is glibc."""
    return platform.libc_ver()[0] == "glibc" and hasattr(ctypes.CDLL(None), "mallopt")


def other_allocator() -> str | None:
    """Name of an allocator that is loaded in place of the C library's."""
    preloaded = os.environ.get("LD_PRELOAD", "")
    return next((name for name in _OTHERS if name in preloaded), None)


def allocator() -> str:
    """The allocator and its settings, for reports of measurements.

    Examples:
        >>> isinstance(allocator(), str)
        True
    """
    other = other_allocator()
    if other is not None:
        return other
    name = " ".join(platform.libc_ver()) or platform.system()
    if _kept:
        return f"{name}, freed memory kept"
    own = [f"{key}={os.environ[key]}" for key in _OWN_SETTINGS if key in os.environ]
    return f"{name}, {' '.join(own) or 'default'}"


def _set_by_user() -> bool:
    return any(name in os.environ for name in _OWN_SETTINGS)
