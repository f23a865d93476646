"""Number of pixels of each class in each image of a labeled dataset."""

from __future__ import annotations

import hashlib
import io
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.label_colors import row_blocks
from hiast.data.io.labels import describe_decode
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.files import write_atomically

log = logging.getLogger(__name__)


def count_class_pixels(dataset: SegmentationDataset, cache: Path | None = None) -> NDArray[np.int64]:
    """Count labeled pixels per image and class; the result is cached on disk.

    Args:
        dataset: Labeled images.
        cache: Folder for the result; None: it is not kept. A change of the names, sizes or times of the label files,
            of the classes, or of the way labels are read makes a new count. If the folder cannot be written, a
            warning names the setting, and the count is not kept.

    Returns:
        int64 [N, C].

    Raises:
        InputError: A label cannot be read.
    """
    path = cache and cache / f"class_pixels-{_fingerprint(dataset)}.npy"
    if path and path.is_file():
        kept = _read(path)
        if kept is not None and kept.shape == (len(dataset), len(dataset.classes)):
            return kept
    log.info("Counting the pixels of each class in %d labels of %s.", len(dataset), dataset.listing.name)
    classes = len(dataset.classes)

    def count(index: int) -> NDArray[np.int64]:
        labels = dataset.read_label(index)
        counts = np.zeros(256, np.int64)
        for rows in row_blocks(labels):
            counts += np.bincount(labels[rows].ravel(), minlength=256)
        return counts[:classes]

    with ThreadPoolExecutor() as pool:
        counts = np.stack(list(pool.map(count, range(len(dataset)))))
    if path:
        _write(path, counts)
    return counts


def _read(path: Path) -> NDArray[np.int64] | None:
    """Counts in a file; None: it is damaged."""
    try:
        counts: NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        log.warning("%s is damaged: the pixels are counted again.", path)
        return None
    return counts


def _write(path: Path, counts: NDArray[np.int64]) -> None:
    content = io.BytesIO()
    np.save(content, counts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        log.warning(
            "%s cannot be written (%s): the pixels of each class will be counted again by the next run. Set "
            "data.cache_folder, or the key statistics of the dataset, to a folder that can be written.",
            path.parent,
            error.strerror or error,
        )


def _fingerprint(dataset: SegmentationDataset) -> str:
    # A corrected color table changes neither the files nor, often, the ids.
    reading = describe_decode(dataset.listing.decode)
    meaning = (dataset.classes.names, sorted(dataset.ids.items()), reading, dataset.size_mismatch)
    digest = hashlib.sha256(repr(meaning).encode())
    for pair in dataset.listing.pairs:
        if pair.label is not None:
            status = pair.label.stat()
            digest.update(repr((pair.name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]
