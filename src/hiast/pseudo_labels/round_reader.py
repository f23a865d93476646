"""Reading a complete pseudo-label round. :mod:`hiast.pseudo_labels.round_files` describes its files."""

from __future__ import annotations

import csv
import io
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.pseudo_labels.label_maps import decode_label
from hiast.pseudo_labels.round_files import (
    FORMAT,
    MANIFEST,
    STATISTICS,
    TABLE,
    THRESHOLDS,
    damaged,
    file_hash,
    label_path,
    read_checked,
    read_json,
)


class RoundReader:
    """A complete round.

    Args:
        directory: Folder of the round.
        verify: Check the hash of every label now; otherwise each one is checked when it is read.

    Attributes:
        directory: Folder of the round.
        manifest: Content of ``manifest.json``.
        names: Names of the images, in the order of the data set.
        label_size: (height, width) of the label maps; None: each has the size of its image.
        class_mean_confidence: float64 [C], NaN for a class that was never kept.
        pixels: Number of pixels of all images, at the size at which the network saw them.
        coverage: Share of these pixels that have a pseudo-label, 0..1.
        overlap: Overlap with the labels of an earlier round, see ``hiast.evaluation.overlap``; None: it was not
            compared with one, or no pixel was kept by either.
        image_pixels: int64 [N, C], kept pixels of each image, in the order of ``names``, and class.

    Raises:
        InputError: The folder holds no complete round, or a damaged one.
    """

    def __init__(self, directory: Path | str, verify: bool = False) -> None:
        self.directory = Path(directory)
        path = self.directory / MANIFEST
        if not path.is_file():
            raise InputError(
                f"{self.directory} holds no complete pseudo-label round ({MANIFEST} is missing): "
                "finish it with the command that started it, or name another folder."
            )
        self.manifest = read_json(path)
        if self.manifest.get("format") != FORMAT:
            raise InputError(
                f"{path} has the format {self.manifest.get('format')!r}; this version reads {FORMAT}: "
                "delete the folder to make the round again."
            )
        try:
            self._read()
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise damaged(path, f"does not fit ({error})") from error
        if verify:
            for name, row in self._rows.items():
                read_checked(label_path(self.directory, name), self._hashes[row])

    def has(self, name: str) -> bool:
        """Whether the round has a label of an image."""
        return name in self._rows

    def label(self, name: str) -> NDArray[np.uint8]:
        """Label map uint8 [H, W] of one image, 255 = ignored.

        Raises:
            InputError: The round has no such image, or the file is missing or damaged.
        """
        row = self._rows.get(name)
        if row is None:
            raise InputError(f"{self.directory} has no pseudo-label for the image '{name}'.")
        path, size = label_path(self.directory, name), (int(self._sizes[row, 0]), int(self._sizes[row, 1]))
        content = read_checked(path, self._hashes[row])
        try:
            return decode_label(content, size)
        except ValueError as error:
            raise damaged(path, f"is not an 8-bit gray picture of {size[0]}x{size[1]} pixels") from error

    @cached_property
    def thresholds(self) -> NDArray[np.float64] | None:
        """Thresholds float64 [G, C] after each group, in the order of labeling; None: everything was kept."""
        if THRESHOLDS not in self.manifest["files"]:
            return None
        text = (self.directory / THRESHOLDS).read_text("utf-8")
        rows = [[float(value) for value in row[1:]] for row in list(csv.reader(text.splitlines()))[1:]]
        return np.array(rows, np.float64).reshape(-1, len(self.class_mean_confidence))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest, and so of every label."""
        return file_hash((self.directory / MANIFEST).read_bytes())

    def _read(self) -> None:
        identity, files = self.manifest["identity"], self.manifest["files"]
        contents = {name: read_checked(self.directory / name, sha256) for name, sha256 in files.items()}
        size = identity["label_size"]
        self.label_size = None if size == "image" else (int(size[0]), int(size[1]))
        self._read_table(contents[TABLE].decode(), int(identity["num_classes"]))
        expected = len(identity["names"]) - len(self.manifest["skipped"])
        if len(self._rows) != expected or not self._rows.keys() <= set(identity["names"]):
            raise damaged(self.directory / MANIFEST, "names other images than it has labels")
        statistics: dict[str, Any] = json.loads(contents[STATISTICS])
        self.class_mean_confidence = np.array(statistics["class_mean_confidence"], np.float64)
        self.pixels = int(statistics["pixels"])
        self.coverage = float(statistics["coverage"])
        self.overlap: float | None = statistics.get("overlap")

    def _read_table(self, text: str, num_classes: int) -> None:
        names: list[str] = []
        self._hashes: list[str] = []
        numbers: list[NDArray[np.int64]] = []
        rows = csv.reader(io.StringIO(text, newline=""))
        next(rows)
        for name, sha256, *values in rows:
            names.append(name)
            self._hashes.append(sha256)
            numbers.append(np.array(values, np.int64))
        table = np.array(numbers, np.int64).reshape(len(names), 2 + num_classes)
        self.names = tuple(names)
        self._rows = {name: row for row, name in enumerate(names)}
        self._sizes, self.image_pixels = table[:, :2], table[:, 2:]
        if self.label_size is not None and (self._sizes != self.label_size).any():
            raise damaged(self.directory / MANIFEST, f"gives another label size than {TABLE}")


def read_signals(directory: Path) -> dict[str, float]:
    """Label-free signals of a complete round: ``labels/coverage``, and ``labels/overlap`` where it was compared.

    Only the statistics are read, not the labels.

    Raises:
        InputError: The file is missing or damaged.
    """
    path = directory / STATISTICS
    if not path.is_file():
        raise damaged(path, "is missing")
    statistics = read_json(path)
    try:
        values = {"labels/coverage": float(statistics["coverage"])}
        if statistics.get("overlap") is not None:
            values["labels/overlap"] = float(statistics["overlap"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, "does not hold the statistics of a round") from error
    return values
