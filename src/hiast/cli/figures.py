"""The figures of a checkpoint, from the run directory in which it lies."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from hiast.hub import SegmentationModel
from hiast.report.files import LABELED, read_record
from hiast.run import RunDirectory
from hiast.selection.records import read_choice


def recorded_means(checkpoint: Path, model: SegmentationModel) -> dict[str, float]:
    """Means of a checkpoint on labeled target images, as its run has recorded them.

    Those of the validation at the end of its round count for a checkpoint whose weights are those that were validated,
    whatever its name: ``selected.ckpt``, ``last.ckpt`` and ``round_2.ckpt`` may be the same network. Other candidates
    have a mean on the labeled images that candidates are measured on.

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
        if result is not None and _holds(end, model):
            return _finite(result["means"])
        if (folder / LABELED).is_file():
            return _of_candidate(folder, checkpoint, model)
    return {}


def _of_candidate(folder: Path, checkpoint: Path, model: SegmentationModel) -> dict[str, float]:
    """The mean of a candidate of the run in ``folder``."""
    name = checkpoint.stem
    if name == "selected":
        selected = (read_choice(folder) or {}).get("selected") or {}
        name = str(selected.get("name"))
    record = read_record(folder / LABELED) or {}
    means = _finite({str(record.get("mean")): record.get("candidates", {}).get(name, {}).get("miou")})
    if not means or not _holds(checkpoint, model):
        return {}
    part = "" if record["images"] == record["of"] else f" ({record['images']} of {record['of']} images)"
    return {f"{title}{part}": miou for title, miou in means.items()}


def _holds(checkpoint: Path, model: SegmentationModel) -> bool:
    """Whether ``model`` is the network that is evaluated of a checkpoint, and not a teacher in it."""
    found = SegmentationModel.from_checkpoint(checkpoint).network.state_dict()
    return _equal(found, model.network.state_dict())


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _finite(means: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in means.items() if value is not None and math.isfinite(value)}
