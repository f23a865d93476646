"""Stages of a run and their rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hiast.callbacks import LabelSettings
from hiast.errors import InputError
from hiast.training import AdaptationModule


@dataclass(frozen=True)
class Round:
    """One fit: a whole stage, or one round of self-training.

    Attributes:
        module: Function that builds the module of the stage. It is called with ``network``, ``classes``, ``max_steps``,
            ``accumulate_grad_batches``, ``round_number``, ``validation_size`` and ``seed``.
        max_steps: Optimizer steps.
        batch_size: Images of each domain per optimizer step, over all devices.
        accumulate_grad_batches: Batches per optimizer step.
        labels: Settings of the pseudo-labels of the round; None for stages without.
        needs_pretrained: Whether the module keeps a frozen copy of the pretrained encoder.
    """

    module: Callable[..., AdaptationModule]
    max_steps: int
    batch_size: int
    accumulate_grad_batches: int = 1
    labels: LabelSettings | None = None
    needs_pretrained: bool = False


@dataclass(frozen=True)
class Stage:
    """A named stage and its rounds.

    Attributes:
        name: ``source_only``, ``warmup`` or ``self_training``; the folder in the run directory.
        rounds: What is fitted, in order.

    Raises:
        InputError: A batch size does not divide into its batches.
    """

    name: str
    rounds: Sequence[Round]

    @property
    def needs_pretrained(self) -> bool:
        """Whether any round keeps a frozen copy of the pretrained encoder."""
        return any(settings.needs_pretrained for settings in self.rounds)

    def __post_init__(self) -> None:
        for settings in self.rounds:
            if settings.batch_size % settings.accumulate_grad_batches:
                raise InputError(
                    f"{self.name}.batch_size ({settings.batch_size}) must be a multiple of "
                    f"accumulate_grad_batches ({settings.accumulate_grad_batches})."
                )
