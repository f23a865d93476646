"""The files of a pseudo-label round: their names, paths, hashes and JSON.

A complete round::

    manifest.json     identity of the round and the SHA-256 of the other tables; written last, by rename
    labels.csv        per label, in the order of the data set: name, SHA-256, size, kept pixels of each class
    thresholds.csv    thresholds after each group; absent for a policy without thresholds
    statistics.json   kept pixels and mean confidence of each class, coverage, overlap with an earlier round
    labels/NAME.png   8-bit gray, 255 = ignored; a "/" in NAME is a folder

``round_reader`` reads a complete round, ``round_writer`` makes one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.pseudo_labels.label_maps import encode_label

FORMAT = 2
MANIFEST, TABLE, THRESHOLDS, STATISTICS = "manifest.json", "labels.csv", "thresholds.csv", "statistics.json"
LABELS = "labels"


def label_path(directory: Path, name: str) -> Path:
    """File of the label of the image called ``name``.

    Raises:
        InputError: The name, or a symbolic link on its path, leads out of the round's label folder.
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
    """Write one label map uint8 [H, W]; returns the SHA-256 of its file.

    Raises:
        InputError: The name leads out of the round's label folder.
        OSError: The file cannot be written.
    """
    path = label_path(directory, name)
    content = encode_label(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return file_hash(content)


def file_hash(content: bytes) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_checked(path: Path, sha256: str) -> bytes:
    """Content of a file of a round.

    Raises:
        InputError: The file is missing, or its hash is another one.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise damaged(path, "is missing") from error
    if file_hash(content) != sha256:
        raise damaged(path, "is not the file that was written")
    return content


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
    """Bytes of a JSON file of a round; equal content gives equal bytes. NaN is refused by a ValueError."""
    return (json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def damaged(path: Path, what: str) -> InputError:
    """The error for a file of a round that does not hold what it should."""
    return InputError(
        f"{path} {what}: the pseudo-label round is damaged; delete its folder to make it again."
    )
