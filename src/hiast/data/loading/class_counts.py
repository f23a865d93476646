"""How many pixels of each class each image of a labeled dataset holds."""

from __future__ import annotations

import hashlib
import io
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.label_colors import ColorIds, row_blocks
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.files import write_atomically

log = logging.getLogger(__name__)


def count_class_pixels(dataset: SegmentationDataset, cache: Path | None = None) -> NDArray[np.int64]:
    """Count once, in several threads.

    Args:
        dataset: Labeled images.
        cache: Folder to keep the result in; it is found again by names, sizes and times of the label files,
            by the classes and by how labels are read, so a change of any of them counts anew.

    Returns:
        int64 [N, C].

    Raises:
        InputError: A label cannot be read.
    """
    path = cache and cache / f"class_pixels-{_fingerprint(dataset)}.npy"
    if path and path.is_file():
        counts: NDArray[np.int64] = np.load(path, allow_pickle=False)
        return counts
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
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.save(content, counts)
        write_atomically(path, content.getvalue())
    return counts


def _fingerprint(dataset: SegmentationDataset) -> str:
    decode = dataset.listing.decode
    # A corrected color table leaves the files and often the ids as they are.
    reading = decode.colors if isinstance(decode, ColorIds) else getattr(decode, "__qualname__", repr(decode))
    meaning = (dataset.classes.names, sorted(dataset.ids.items()), reading, dataset.size_mismatch)
    digest = hashlib.sha256(repr(meaning).encode())
    for pair in dataset.listing.pairs:
        if pair.label is not None:
            status = pair.label.stat()
            digest.update(repr((pair.name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]
