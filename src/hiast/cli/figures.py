"""The figures of a checkpoint, from the run directory in which it lies."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from hiast.hub import SegmentationModel
from hiast.run import RunDirectory


def recorded_means(checkpoint: Path, model: SegmentationModel) -> dict[str, float]:
    """Means of the validation at the end of the round that a checkpoint comes from.

    They count for a checkpoint whose weights are those that were validated, whatever its name: ``selected.ckpt``,
    ``last.ckpt`` and ``round_2.ckpt`` may be the same network.

    Args:
        checkpoint: A checkpoint, in a run directory or not.
        model: What it holds.

    Returns:
        Name of the mean -> value in 0..1; empty if nothing is known about these weights.

    Raises:
        InputError: The result of the round, or its checkpoint, is damaged.
    """
    stage, number = model.facts.get("stage"), model.facts.get("round")
    if stage is None or number is None:
        return {}
    # RUN/selected.ckpt, RUN/candidates/NAME.ckpt or RUN/STAGE/checkpoints/NAME.ckpt
    for folder in checkpoint.absolute().parents[:3]:
        run = RunDirectory(folder)
        end = run.checkpoints(stage) / f"round_{number}.ckpt"
        result = run.read_result(stage, number) if end.is_file() else None
        if result is not None:
            validated = SegmentationModel.from_checkpoint(end).network.state_dict()
            return _finite(result["means"]) if _equal(validated, model.network.state_dict()) else {}
    return {}


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _finite(means: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in means.items() if value is not None and math.isfinite(value)}
