"""Which checkpoint each round started from, and which one labeled its images."""

from __future__ import annotations

from typing import Any

from hiast.files import write_json
from hiast.pseudo_labels.round_files import MANIFEST, read_json
from hiast.report.files import FORMAT, LINEAGE, read_record
from hiast.run.directory import RunDirectory


def record_round(directory: RunDirectory, stage: str, number: int, started_from: str) -> dict[str, Any]:
    """Add a round to ``lineage.json``; one that is there already is replaced.

    Args:
        directory: The run directory.
        stage: The stage.
        number: The round, counted from 1.
        started_from: Checkpoint relative to the run directory, or words.

    Returns:
        The entry: ``stage``, ``round``, ``checkpoint``, ``started_from`` and, with pseudo-labels, ``labels`` (their
        folder), ``labeled_with`` (the checkpoint) and ``weights`` (the SHA-256 of the weights that labeled).
    """
    folder = directory.path
    entry: dict[str, Any] = {
        "stage": stage,
        "round": number,
        "checkpoint": (directory.checkpoints(stage) / f"round_{number}.ckpt").relative_to(folder).as_posix(),
        "started_from": started_from,
    }
    labels = directory.round(stage, number)
    manifest = labels / MANIFEST
    identity = read_json(manifest).get("identity") if manifest.is_file() else None
    if isinstance(identity, dict):
        entry |= {
            "labels": labels.relative_to(folder).as_posix(),
            "labeled_with": identity.get("labeled_with"),
            "weights": identity.get("weights"),
        }
    record = read_record(folder / LINEAGE) or {"format": FORMAT, "rounds": []}
    others = [each for each in record["rounds"] if (each["stage"], each["round"]) != (stage, number)]
    write_json(folder / LINEAGE, record | {"rounds": [*others, entry]})
    return entry
