"""Memory that this process has used."""

from __future__ import annotations

import sys

import torch


def peak_memory(device: torch.device) -> int:
    """Most bytes that this process has held in the memory of a device, on a CPU in main memory.

    Args:
        device: A device; only of CUDA devices and CPUs it is known.

    Returns:
        Bytes; 0 where the system does not count them, as Windows.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
