"""The result of a round: what is recorded of it when it is complete."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from hiast.callbacks.rounds import LabelRound
from hiast.errors import RunError
from hiast.run.stages import Stage
from hiast.training import AdaptationModule


def candidate_name(stage: Stage, number: int) -> str:
    """Name of the candidate at the end of a round."""
    return f"{stage.name}-{number}" if len(stage.rounds) > 1 else stage.name


def check_complete(stage: str, module: AdaptationModule) -> None:
    """Refuse to record a round as finished that the trainer has ended early.

    Raises:
        RunError: Steps are missing.
    """
    if module.batches_done < module.batches:
        raise RunError(
            f"Stage {stage}, round {module.round_number}, ended after {module.steps_done} of {module.max_steps} steps, "
            "as an option of the trainer such as trainer.max_time asks for. Finished work is kept: rerun the same "
            "command to resume."
        )


def make_result(
    trainer: pl.Trainer, module: AdaptationModule, label_round: LabelRound | None, seconds: float
) -> dict[str, Any]:
    """Result of a finished round as plain values, for JSON.

    Args:
        trainer: The trainer of the round.
        module: Its module, with the scores of the last validation.
        label_round: Its pseudo-labels, if it has some.
        seconds: How long it took in this process.

    Returns:
        ``stage``, ``round``, ``steps``, ``means`` (title -> mIoU, 0..1), ``iou`` (class -> IoU, None if absent),
        ``signals`` (label-free) and ``seconds``.
    """
    return {
        "stage": module.stage,
        "round": module.round_number,
        "steps": module.max_steps,
        "means": {} if module.scores is None else module.scores.means,
        "iou": {} if module.scores is None else _known(module.scores.iou),
        "signals": _entropy(trainer) | ({} if label_round is None else label_round.signals()),
        "seconds": round(seconds, 1),
    }


def _entropy(trainer: pl.Trainer) -> dict[str, float]:
    value = trainer.callback_metrics.get("val/entropy")
    return {} if value is None else {"val/entropy": float(value)}


def _known(iou: dict[str, float]) -> dict[str, float | None]:
    """IoU by class; None for an absent class, since JSON has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in iou.items()}
