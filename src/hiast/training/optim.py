"""Optimizers, parameter groups and learning-rate schedules of the stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from hiast.errors import InputError, check_not_negative
from hiast.plain import make_plain

_SCHEDULES = ("cosine", "poly", "constant")
_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_SCALINGS = ("none", "sqrt", "linear")


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step within a round, and of nothing else.

    Attributes:
        name: ``"cosine"``, ``"poly"`` or ``"constant"``.
        min_lr_factor: The cosine schedule ends at ``min_lr_factor`` times the lr of the backbone, in every group.
        power: Exponent of the poly schedule.
        warmup_steps: Steps over which the lr first grows linearly; a number below 1 is a share of the steps.
        warmup_factor: Factor of the lr at step 0 of the warm-up.

    Raises:
        InputError: A setting is out of range.
    """

    name: str = "cosine"
    min_lr_factor: float = 0.001
    power: float = 0.9
    warmup_steps: float = 0
    warmup_factor: float = 1e-6

    def __post_init__(self) -> None:
        make_plain(self)
        if self.name not in _SCHEDULES:
            raise InputError(f"schedule.name is '{self.name}'; choose cosine, poly or constant.")
        check_not_negative(
            "schedule",
            min_lr_factor=self.min_lr_factor,
            power=self.power,
            warmup_steps=self.warmup_steps,
            warmup_factor=self.warmup_factor,
        )

    def lr(self, group_lr: float, backbone_lr: float, step: int, steps: int) -> float:
        """Learning rate of a group at ``step`` (0-based) of ``steps``.

        cosine: m + (g - m) (1 + cos(pi s / S)) / 2 with m = min_lr_factor * backbone_lr. poly: g (1 - s / S)^power.
        In the warm-up of W steps the result is multiplied by f + (1 - f) s / W, f = warmup_factor.

        Args:
            group_lr: The lr g of the group at step 0.
            backbone_lr: The lr of the backbone at step 0, which sets the common end of the cosine schedule.
            step: Steps done before this one, 0..steps.
            steps: Steps of the round, at least 1.

        Examples:
            >>> Schedule(name="poly", power=1.0).lr(1e-3, 1e-3, step=5, steps=10)
            0.0005
        """
        lr = self._decayed(group_lr, backbone_lr, min(step / steps, 1.0))
        warmup = self.warmup_steps if self.warmup_steps >= 1 else self.warmup_steps * steps
        if step < warmup:
            lr *= self.warmup_factor + (1.0 - self.warmup_factor) * step / warmup
        return lr

    def _decayed(self, group_lr: float, backbone_lr: float, share: float) -> float:
        if self.name == "constant":
            return group_lr
        if self.name == "poly":
            return float(group_lr * (1.0 - share) ** self.power)
        end = self.min_lr_factor * backbone_lr
        return end + (group_lr - end) * (1.0 + math.cos(math.pi * share)) / 2.0


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimizer of a network in one stage.

    Attributes:
        lr: Learning rate of the backbone at the start of a stage or round.
        head_lr_mult: Factor of the lr of the head.
        weight_decay: L2 decay (Adam) or decoupled decay (AdamW).
        betas: Decay rates of the moments.
        name: ``"adam"`` (published) or ``"adamw"``.
        schedule: Learning rate within a round.
        norm_weight_decay: Whether norms, biases and position embeddings decay too (published for Adam). Transformers
            are trained without.
        layer_decay: Factor of the lr from each layer of the encoder to the one below it; 1 gives all the same lr.
        lr_scaling: What ``lr`` is multiplied by: ``"none"``, the ``"sqrt"`` of the batch size over all devices
            (VFM-UDA), or the batch size (``"linear"``); both relative to ``lr_batch_size``.
        lr_batch_size: The batch size that ``lr`` is for, if it is scaled. With ``"sqrt"`` and the published batch size
            here, a run with other batches keeps the published rate per image (Adam).

    Raises:
        InputError: A setting is out of range.
    """

    lr: float = 3e-6
    head_lr_mult: float = 10.0
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    name: str = "adam"
    schedule: Schedule = Schedule()
    norm_weight_decay: bool = True
    layer_decay: float = 1.0
    lr_scaling: str = "none"
    lr_batch_size: int = 1

    def __post_init__(self) -> None:
        make_plain(self)
        check_not_negative(
            "optimizer",
            lr=self.lr,
            head_lr_mult=self.head_lr_mult,
            weight_decay=self.weight_decay,
            layer_decay=self.layer_decay,
        )
        if self.lr_batch_size < 1:
            raise InputError(f"optimizer.lr_batch_size is {self.lr_batch_size}; give a number of at least 1.")
        if self.name not in _OPTIMIZERS:
            raise InputError(f"optimizer.name is '{self.name}'; choose {' or '.join(_OPTIMIZERS)}.")
        if self.lr_scaling not in _SCALINGS:
            raise InputError(f"optimizer.lr_scaling is '{self.lr_scaling}'; choose {', '.join(_SCALINGS)}.")
        if isinstance(self.schedule, Mapping):
            object.__setattr__(self, "schedule", Schedule(**self.schedule))
        object.__setattr__(self, "betas", tuple(self.betas))

    def scaled(self, batch_size: int) -> OptimizerSettings:
        """The settings with the lr for a batch size over all devices, as ``lr_scaling`` says."""
        times = batch_size / self.lr_batch_size
        factor = {"none": 1.0, "sqrt": math.sqrt(times), "linear": times}[self.lr_scaling]
        return replace(self, lr=self.lr * factor, lr_scaling="none")

    def build(self, network: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
        """A new optimizer with parameter groups for the backbone (one for each layer with layer decay) and the head.

        Each group carries ``initial_lr`` and ``backbone_lr``, which ``set_lrs`` reads. Parameters that do not require
        gradients are left out.

        Args:
            network: Network with ``encoder_parameters()`` and ``head_parameters()``.
            fused: Run a step as one kernel. It is not possible where Lightning clips gradients under a scaler.
        """
        groups = [
            self._group(parameters, lr, decays)
            for parameters, lr, decays in self._divided(network)
            if parameters
        ]
        optimizer: torch.optim.Optimizer = _OPTIMIZERS[self.name](
            groups, betas=self.betas, weight_decay=self.weight_decay, fused=fused or None
        )
        return optimizer

    def _group(self, parameters: list[nn.Parameter], lr: float, decays: bool) -> dict[str, Any]:
        group = {"params": parameters, "lr": lr, "initial_lr": lr, "backbone_lr": self.lr}
        return group if decays else group | {"weight_decay": 0.0}

    def _divided(self, network: nn.Module) -> Iterable[tuple[list[nn.Parameter], float, bool]]:
        """Parameters with their lr, and whether weight decay applies."""
        for named, lr in self._by_lr(network):
            trained = [(name, value) for name, value in named if value.requires_grad]
            if self.norm_weight_decay:
                yield [value for _, value in trained], lr, True
                continue
            yield [value for name, value in trained if _decays(name, value)], lr, True
            yield [value for name, value in trained if not _decays(name, value)], lr, False

    def _by_lr(self, network: nn.Module) -> Iterable[tuple[list[tuple[str, nn.Parameter]], float]]:
        names = {id(value): name for name, value in network.named_parameters()}
        encoder = [(names[id(value)], value) for value in network.encoder_parameters()]  # type: ignore[operator]
        head = [(names[id(value)], value) for value in network.head_parameters()]  # type: ignore[operator]
        if self.layer_decay == 1.0:
            yield encoder, self.lr
        else:
            depths: dict[str, int] = network.parameter_depths()  # type: ignore[operator]
            deepest = max(depths.values())
            for depth in range(deepest + 1):
                layer = [(name, value) for name, value in encoder if depths[name] == depth]
                yield layer, self.lr * self.layer_decay ** (deepest - depth)
        yield head, self.lr * self.head_lr_mult

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; ``OptimizerSettings(**d)`` gives the settings back."""
        values = asdict(self)
        return values | {"betas": list(self.betas)}


def set_lrs(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int, steps: int) -> None:
    """Set the learning rate of every group for ``step`` (0-based) of ``steps``."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.lr(group["initial_lr"], group["backbone_lr"], step, steps)


_NOT_DECAYED = (
    "pos_embed",
    "relative_position_bias_table",
    "cls_token",
    "reg_token",
    "dist_token",
    "mask_token",
)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies to a parameter of a transformer: not to vectors, tokens and tables of positions."""
    return parameter.ndim > 1 and not any(part in name for part in _NOT_DECAYED)
