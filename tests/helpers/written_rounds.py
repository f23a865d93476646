"""Pseudo-label rounds written from label maps, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiast.pseudo_labels.journal import GroupRecord, LabelRecord
from hiast.pseudo_labels.round_files import write_label
from hiast.pseudo_labels.round_writer import RoundWriter


def write_round(
    directory: Path, labels: Mapping[str, np.ndarray], confidence: np.ndarray, **identity: Any
) -> Path:
    """Write a complete round of one group.

    Args:
        directory: Folder of the round.
        labels: Name -> label map uint8 [H, W], all of one size.
        confidence: Mean confidence of each class, float64 [C].
        **identity: What the identity holds beside names, size and number of classes.
    """
    (size,) = {label.shape for label in labels.values()}
    identity = {"names": list(labels), "label_size": list(size), "num_classes": len(confidence), **identity}
    with RoundWriter(directory, identity) as writer:
        records = tuple(record(directory, name, label, confidence) for name, label in labels.items())
        writer.journal.append(GroupRecord((0.9,) * len(confidence), records))
        writer.finish()
    return directory


def record(directory: Path, name: str, label: np.ndarray, confidence: np.ndarray) -> LabelRecord:
    """Write one label; every kept pixel has its class's confidence."""
    pixels = np.bincount(label[label != 255], minlength=len(confidence))
    sums = np.where(pixels > 0, pixels * confidence, 0)
    sha256 = write_label(directory, name, label)
    return LabelRecord(name, sha256, label.shape, tuple(pixels.tolist()), tuple(sums.tolist()))
