"""The files of one pseudo-label round: their names, how each is written, and how a complete round is read.

A complete round::

    manifest.json     identity of the round, and the SHA-256 of every file; written last, by rename
    thresholds.csv    thresholds after each group, absent for a policy without thresholds
    statistics.json   kept pixels and mean confidence per class, coverage
    labels/NAME.png   8-bit gray at labeling size, 255 = ignored; a "/" in NAME is a folder

A round in the making is the business of :mod:`hiast.pseudo_labels.round_writer`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.files import write_atomically

FORMAT = 1
MANIFEST, THRESHOLDS, STATISTICS, LABELS = "manifest.json", "thresholds.csv", "statistics.json", "labels"


def label_path(directory: Path, name: str) -> Path:
    """File of the label called ``name``.

    Raises:
        InputError: The name leads, or a symbolic link on its way leads, out of the round's label folder.
    """
    labels = directory / LABELS
    path = labels / f"{name}.png"
    outside = "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/"))
    if outside or not path.resolve().is_relative_to(labels.resolve()):
        raise InputError(
            f"The label name {name!r} leads out of {labels}: rename the image or remove the link."
        )
    return path


def write_label(directory: Path, name: str, label: NDArray[np.uint8]) -> str:
    """Write one label map uint8 [h, w]; returns the SHA-256 of its file.

    Raises:
        InputError: The name leads out of the round's label folder.
        OSError: The file cannot be written.
    """
    path = label_path(directory, name)
    content = cv2.imencode(".png", label, _png_options())[1].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return file_hash(content)


def _png_options() -> list[int]:
    # Run-length strategy: on label maps the smallest files and the fastest to write.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    # Class ids do not vary smoothly: unfiltered rows halve the time of writing and of reading. Older versions
    # of OpenCV cannot choose.
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    return options


def file_hash(content: bytes) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a round.

    Raises:
        InputError: The file holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise damaged(path, "is not JSON") from error
    if not isinstance(content, dict):
        raise damaged(path, "is not a JSON object")
    return content


def to_json(content: Mapping[str, object]) -> bytes:
    """The one way in which a round's JSON files are written, so that equal content gives equal bytes."""
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def thresholds_to_csv(thresholds: NDArray[np.float64]) -> bytes:
    """Text of ``thresholds.csv`` for thresholds float64 [G, C]; the digits give the same floats back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", *(f"class_{k}" for k in range(thresholds.shape[1]))])
    writer.writerows([group, *map(repr, row)] for group, row in enumerate(thresholds.tolist()))
    return text.getvalue().encode()


def damaged(path: Path, what: str) -> InputError:
    """The error for a round's file that does not hold what it should."""
    return InputError(
        f"{path} {what}: the pseudo-label round is damaged; delete its folder to make it again."
    )


class RoundReader:
    """A complete round.

    Attributes:
        directory: Folder of the round.
        manifest: Content of ``manifest.json``.
        names: Names of the images, in the order of the data set.
        label_size: (h, w) of the label maps.
        thresholds: float64 [G, C] after each group in the order of labeling; None: everything was kept.
        class_mean_confidence: float64 [C]; nan = never kept.
        image_pixels: int64 [N, C], kept pixels per image, in the order of ``names``, and class.
    """

    def __init__(self, directory: Path | str, verify: bool = False) -> None:
        """Open a round.

        Args:
            directory: Folder of the round.
            verify: Check the hash of every label now; otherwise of each when it is read.

        Raises:
            InputError: The folder holds no complete round, or a damaged one.
        """
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
                f"{path} has the format {self.manifest.get('format')!r}; this version reads {FORMAT}."
            )
        try:
            self._read_manifest()
            self.class_mean_confidence, self.thresholds = self._read_statistics()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise damaged(path, f"does not fit ({error})") from error
        if verify:
            for name in self.names:
                self._checked(label_path(self.directory, name), self._hashes[name])

    def label(self, name: str) -> NDArray[np.uint8]:
        """Label map uint8 [h, w] of one image, 255 = ignored.

        Raises:
            InputError: The round has no such image, or the file is missing or damaged.
        """
        if name not in self._hashes:
            raise InputError(f"{self.directory} has no pseudo-label for the image '{name}'.")
        path = label_path(self.directory, name)
        content = np.frombuffer(self._checked(path, self._hashes[name]), np.uint8)
        label = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if label is None or label.dtype != np.uint8 or label.shape != self.label_size:
            raise damaged(
                path, f"is not an 8-bit gray picture of {self.label_size[0]}x{self.label_size[1]} pixels"
            )
        return np.asarray(label, np.uint8)

    def _read_manifest(self) -> None:
        identity, labels = self.manifest["identity"], self.manifest["labels"]
        height, width = (int(side) for side in identity["label_size"])
        self.names: tuple[str, ...] = tuple(identity["names"])
        self.label_size = (height, width)
        if set(self.names) != set(labels) or len(self.names) != len(labels):
            raise damaged(self.directory / MANIFEST, "names other images than it has labels")
        self._hashes = {name: str(labels[name]["sha256"]) for name in self.names}
        pixels = np.array([labels[name]["pixels"] for name in self.names], np.int64)
        self.image_pixels = pixels.reshape(len(self.names), int(identity["num_classes"]))

    def _read_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        files: dict[str, str] = self.manifest["files"]
        content = self._checked(self.directory / STATISTICS, files[STATISTICS])
        mean = np.array(json.loads(content)["class_mean_confidence"], np.float64)
        if THRESHOLDS not in files:
            return mean, None
        text = self._checked(self.directory / THRESHOLDS, files[THRESHOLDS]).decode()
        rows = [[float(value) for value in row[1:]] for row in list(csv.reader(text.splitlines()))[1:]]
        return mean, np.array(rows, np.float64).reshape(-1, len(mean))

    @staticmethod
    def _checked(path: Path, sha256: str) -> bytes:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise damaged(path, "is missing") from error
        if file_hash(content) != sha256:
            raise damaged(path, "is not the file that was written")
        return content
