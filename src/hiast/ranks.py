"""The rank of this process, read from the environment before torch.distributed is initialized."""

from __future__ import annotations

import os

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Variables in which torchrun, Lightning and SLURM store it."""


def is_rank_zero() -> bool:
    """Whether this process has rank zero, which writes records and messages."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)
