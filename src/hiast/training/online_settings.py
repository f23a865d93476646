"""Numbers and choices of an online stage, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from hiast.errors import InputError, check_not_negative
from hiast.plain import make_plain

_NUMBERS = (
    "ema_decay", "masking_weight", "class_floor", "floor_share", "source_weight", "target_weight", "target_ramp_steps",
)  # fmt: skip
_CHOICES = ("teacher_bn", "labels", "evaluate", "source_normalization")


@dataclass(frozen=True, kw_only=True)
class OnlineSettings:
    """Settings of ``OnlineModule`` that are plain values; it says what each means.

    Raises:
        InputError: One is out of range.
    """

    ema_decay: float
    teacher_bn: Literal["running", "batch"]
    teacher_mirror: bool
    labels: Literal["hard", "soft"]
    evaluate: Literal["student", "teacher"]
    masking_weight: float
    class_floor: float
    floor_share: float
    source_weight: float
    source_normalization: Literal["labeled", "all"]
    target_weight: float
    target_ramp_steps: int
    joint_batch: bool

    def __post_init__(self) -> None:
        make_plain(self)
        check_not_negative("online", **{name: getattr(self, name) for name in _NUMBERS})
        known = get_type_hints(type(self))
        for name in _CHOICES:
            value, choices = getattr(self, name), get_args(known[name])
            if value not in choices:
                raise InputError(f"online: {name} is '{value}'; choose {' or '.join(choices)}.")
        if max(self.ema_decay, self.floor_share) > 1:
            raise InputError("online: ema_decay and floor_share must lie between 0 and 1.")

    def ramp(self, step: int) -> float:
        """Factor of the target losses at an optimizer step, 0..1."""
        return min(1.0, step / self.target_ramp_steps) if self.target_ramp_steps else 1.0


def usual_ema_decay(max_steps: int) -> float:
    """EMA decay of a teacher that averages over about a third of a stage, at most 0.999.

    Examples:
        >>> usual_ema_decay(300), usual_ema_decay(40_000)
        (0.99, 0.999)
    """
    return min(0.999, max(0.0, 1.0 - 3.0 / max_steps))
