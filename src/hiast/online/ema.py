"""The decay of an online teacher over the steps."""

from __future__ import annotations

from hiast.errors import InputError
from hiast.online.checks import check_shares


def ema_decay_at(step: int, decay: float = 0.999) -> float:
    """Share of the old average that the teacher keeps at ``step``: min(1 - 1 / (step + 1), decay).

    At step 0 the teacher becomes a copy of the student; up to step 1 / (1 - decay) it is the plain mean of all
    students since then. Source: DAFormer, Hoyer et al. 2022; as Tarvainen and Valpola 2017.

    Args:
        step: Optimizer step, from 0.
        decay: Decay that the ramp ends at, 0 to 1.

    Raises:
        InputError: ``step`` is negative or ``decay`` is out of range.

    Examples:
        >>> [ema_decay_at(step, 0.9) for step in (0, 1, 3, 99)]
        [0.0, 0.5, 0.75, 0.9]
    """
    check_shares("EMA", decay=decay)
    if step < 0:
        raise InputError(f"EMA: step is {step}; steps count from 0.")
    return min(1 - 1 / (step + 1), decay)
