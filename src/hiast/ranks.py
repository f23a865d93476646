"""Which of several processes this is, before they have met."""

from __future__ import annotations

import os

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Where torchrun, Lightning and SLURM say it."""


def is_rank_zero() -> bool:
    """Whether this process is the one of a distributed run that writes records and talks to the user."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)
