"""Optimizers, learning-rate groups and schedules of the three stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from hiast.errors import InputError, check_not_negative


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step within a round, and of nothing else.

    Attributes:
        shape: ``"cosine"``, ``"poly"`` or ``"constant"``.
        floor: Cosine ends at ``floor`` times the backbone's rate, for every group alike (method section 7).
        power: Exponent of the poly shape.
    """

    shape: str = "cosine"
    floor: float = 0.001
    power: float = 0.9

    def __post_init__(self) -> None:
        if self.shape not in ("cosine", "poly", "constant"):
            raise InputError(f"schedule.shape is '{self.shape}': choose cosine, poly or constant.")

    def rate(self, group_rate: float, backbone_rate: float, step: int, steps: int) -> float:
        """Learning rate of a group at ``step`` (0-based) of ``steps``.

        Cosine: m + (g - m) (1 + cos(pi s / S)) / 2 with m = floor * backbone rate; poly: g (1 - s / S)^power.

        Args:
            group_rate: The group's rate at step 0.
            backbone_rate: The backbone's rate at step 0, which sets the shared floor.
            step: Steps done before this one, 0..steps.
            steps: Steps of the round, at least 1.
        """
        if self.shape == "constant":
            return group_rate
        share = min(step / steps, 1.0)
        if self.shape == "poly":
            return float(group_rate * (1.0 - share) ** self.power)
        floor = self.floor * backbone_rate
        return floor + (group_rate - floor) * (1.0 + math.cos(math.pi * share)) / 2.0


@dataclass(frozen=True)
class OptimizerSettings:
    """How a network is optimized in one stage (method section 7).

    Attributes:
        learning_rate: Rate of the backbone at the start of a stage or round.
        head_factor: The head learns this many times faster.
        weight_decay: L2 decay (Adam) or decoupled decay (AdamW).
        betas: Adam's moments.
        kind: ``"adam"`` (published) or ``"adamw"``.
        schedule: Shape of the rate within a round.
    """

    learning_rate: float = 3e-6
    head_factor: float = 10.0
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    kind: str = "adam"
    schedule: Schedule = Schedule()

    def __post_init__(self) -> None:
        check_not_negative(
            "optimizer",
            learning_rate=self.learning_rate,
            head_factor=self.head_factor,
            weight_decay=self.weight_decay,
        )
        if self.kind not in ("adam", "adamw"):
            raise InputError(f"optimizer.kind is '{self.kind}': choose adam or adamw.")
        if isinstance(self.schedule, Mapping):
            object.__setattr__(self, "schedule", Schedule(**self.schedule))
        object.__setattr__(self, "betas", tuple(self.betas))

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimizer with one group for the backbone and one for the head.

        Every group carries ``start_rate`` and ``backbone_rate`` so that ``set_rates`` needs nothing else.
        Parameters that do not require gradients are left out.
        """
        rate = self.learning_rate
        groups: list[dict[str, Any]] = []
        for parameters, factor in ((_encoder(network), 1.0), (_head(network), self.head_factor)):
            trained = [p for p in parameters if p.requires_grad]
            if trained:
                groups.append(
                    {
                        "params": trained,
                        "lr": rate * factor,
                        "start_rate": rate * factor,
                        "backbone_rate": rate,
                    }
                )
        kind = torch.optim.Adam if self.kind == "adam" else torch.optim.AdamW
        return kind(groups, betas=self.betas, weight_decay=self.weight_decay)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; ``OptimizerSettings(**d)`` gives the settings back."""
        values = asdict(self)
        return values | {"betas": list(self.betas)}


def set_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int, steps: int) -> None:
    """Give every group its learning rate for ``step`` (0-based) of ``steps``."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(group["start_rate"], group["backbone_rate"], step, steps)


def _encoder(network: nn.Module) -> list[nn.Parameter]:
    return list(network.encoder_parameters())  # type: ignore[operator]


def _head(network: nn.Module) -> list[nn.Parameter]:
    return list(network.head_parameters())  # type: ignore[operator]
