"""The tables of a complete round, made from its journal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.pseudo_labels.class_statistics import RoundStatistics
from hiast.pseudo_labels.journal import GroupRecord, LabelRecord
from hiast.pseudo_labels.round_files import STATISTICS, TABLE, THRESHOLDS, to_json


class RoundTables:
    """Gathers what the tables hold, group by group in the order of labeling.

    Args:
        identity: Identity of the round.

    Attributes:
        skipped: Images that could not be read: name -> reason.
    """

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self._identity = identity
        self._statistics = RoundStatistics(int(identity["num_classes"]))
        self._rows: dict[str, list[object]] = {}
        self._overlap = np.zeros(2, np.int64)
        self._thresholds: list[NDArray[np.float64]] = []
        self._pixels = 0
        self.skipped: dict[str, str] = {}

    def add(self, group: GroupRecord) -> None:
        """Add a finished group."""
        shape = len(group.labels), int(self._identity["num_classes"])
        self._statistics.add(
            np.array([label.pixels for label in group.labels], np.int64).reshape(shape),
            np.array([label.sums for label in group.labels], np.float64).reshape(shape),
        )
        for label in group.labels:
            self._rows[label.name] = [label.sha256, *label.size, *label.pixels]
            self._pixels += self._seen_pixels(label)
            self._overlap += label.overlap or (0, 0)
        self.skipped.update(group.skipped)
        if group.thresholds is not None:
            self._thresholds.append(np.array(group.thresholds))

    def files(self) -> dict[str, bytes]:
        """Name and content of each table.

        Raises:
            ValueError: An image of the round has neither a label nor a reason to have none.
        """
        names: Sequence[str] = self._identity["names"]
        missing = [name for name in names if name not in self._rows and name not in self.skipped]
        if missing or len(self._rows) + len(self.skipped) != len(names):
            raise ValueError(f"The round is not finished: {len(missing)} of {len(names)} labels are missing.")
        classes = [f"class_{index}" for index in range(int(self._identity["num_classes"]))]
        rows = ([name, *self._rows[name]] for name in names if name in self._rows)
        contents = {TABLE: _csv(["name", "sha256", "height", "width", *classes], rows)}
        if self._thresholds:
            groups = ([group, *map(repr, row.tolist())] for group, row in enumerate(self._thresholds))
            contents[THRESHOLDS] = _csv(["group", *classes], groups)
        return contents | {STATISTICS: to_json(self._summary())}

    def _seen_pixels(self, label: LabelRecord) -> int:
        """Pixels of an image at the size at which the network saw it."""
        size = self._identity.get("network_size", self._identity["label_size"])
        height, width = label.size if size == "image" else size
        return int(height * width)

    def _summary(self) -> dict[str, object]:
        same, either = self._overlap.tolist()
        kept = self._statistics.class_pixels
        return {
            "class_mean_confidence": [
                None if np.isnan(value) else value
                for value in self._statistics.class_mean_confidence.tolist()
            ],
            "class_pixels": kept.tolist(),
            "pixels": self._pixels,
            "coverage": int(kept.sum()) / max(1, self._pixels),
            "overlap": same / either if either else None,
        }


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Text of a table; the digits of a float give the same float back."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
