"""Reading the headers of all files of a dataset: in seconds, what would stop a run hours later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hiast.data.checks.screening import mismatched_pairs
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.errors import InputError

_THREADS = 16
"""A network file system takes long for each file."""


def check_headers(dataset: SegmentationDataset) -> None:
    """Read the header of every image and, in a labeled dataset, of every label.

    Args:
        dataset: Files that were not checked yet.

    Raises:
        InputError: A file is missing or is not a picture, or the sizes of an image and its label differ and may not.
    """
    if not dataset.labeled:
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(dataset.image_size, range(len(dataset))):
                pass
        return
    reasons = mismatched_pairs(dataset.listing, dataset.reader.image_size, dataset.max_pixels)
    if reasons and dataset.size_mismatch == "error":
        more = f" (and {len(reasons) - 1} more pairs)" if len(reasons) > 1 else ""
        reason = next(iter(reasons.values())).rstrip(".")
        raise InputError(f"{reason}{more}: replace one, or set size_mismatch.")
