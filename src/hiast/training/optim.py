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
        name: ``"cosine"``, ``"poly"`` or ``"constant"``.
        min_lr_factor: The cosine schedule ends at ``min_lr_factor`` times the lr of the backbone, in every group.
        power: Exponent of the poly shape.
    """

    name: str = "cosine"
    min_lr_factor: float = 0.001
    power: float = 0.9

    def __post_init__(self) -> None:
        if self.name not in ("cosine", "poly", "constant"):
            raise InputError(f"schedule.name is '{self.name}': choose cosine, poly or constant.")

    def lr(self, group_lr: float, backbone_lr: float, step: int, steps: int) -> float:
        """Learning rate of a group at ``step`` (0-based) of ``steps``.

        Cosine: m + (g - m) (1 + cos(pi s / S)) / 2 with m = min_lr_factor * backbone rate; poly: g (1 - s / S)^power.

        Args:
            group_lr: The group's rate at step 0.
            backbone_lr: The backbone's rate at step 0, which sets the shared min_lr_factor.
            step: Steps done before this one, 0..steps.
            steps: Steps of the round, at least 1.
        """
        if self.name == "constant":
            return group_lr
        share = min(step / steps, 1.0)
        if self.name == "poly":
            return float(group_lr * (1.0 - share) ** self.power)
        min_lr_factor = self.min_lr_factor * backbone_lr
        return min_lr_factor + (group_lr - min_lr_factor) * (1.0 + math.cos(math.pi * share)) / 2.0


@dataclass(frozen=True)
class OptimizerSettings:
    """How a network is optimized in one stage (method section 7).

    Attributes:
        lr: Rate of the backbone at the start of a stage or round.
        head_lr_mult: The head learns this many times faster.
        weight_decay: L2 decay (Adam) or decoupled decay (AdamW).
        betas: Adam's moments.
        name: ``"adam"`` (published) or ``"adamw"``.
        schedule: Shape of the rate within a round.
    """

    lr: float = 3e-6
    head_lr_mult: float = 10.0
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    name: str = "adam"
    schedule: Schedule = Schedule()

    def __post_init__(self) -> None:
        check_not_negative(
            "optimizer",
            lr=self.lr,
            head_lr_mult=self.head_lr_mult,
            weight_decay=self.weight_decay,
        )
        if self.name not in ("adam", "adamw"):
            raise InputError(f"optimizer.name is '{self.name}': choose adam or adamw.")
        if isinstance(self.schedule, Mapping):
            object.__setattr__(self, "schedule", Schedule(**self.schedule))
        object.__setattr__(self, "betas", tuple(self.betas))

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimizer with one group for the backbone and one for the head.

        Every group carries ``initial_lr`` and ``backbone_lr`` so that ``set_lrs`` needs nothing else.
        Parameters that do not require gradients are left out.
        """
        lr = self.lr
        groups: list[dict[str, Any]] = []
        for parameters, factor in ((_encoder(network), 1.0), (_head(network), self.head_lr_mult)):
            trained = [p for p in parameters if p.requires_grad]
            if trained:
                groups.append(
                    {
                        "params": trained,
                        "lr": lr * factor,
                        "initial_lr": lr * factor,
                        "backbone_lr": lr,
                    }
                )
        optimizer = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return optimizer(groups, betas=self.betas, weight_decay=self.weight_decay)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; ``OptimizerSettings(**d)`` gives the settings back."""
        values = asdict(self)
        return values | {"betas": list(self.betas)}


def set_lrs(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int, steps: int) -> None:
    """Give every group its learning rate for ``step`` (0-based) of ``steps``."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.lr(group["initial_lr"], group["backbone_lr"], step, steps)


def _encoder(network: nn.Module) -> list[nn.Parameter]:
    return list(network.encoder_parameters())  # type: ignore[operator]


def _head(network: nn.Module) -> list[nn.Parameter]:
    return list(network.head_parameters())  # type: ignore[operator]
