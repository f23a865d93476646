"""Pairs that cannot be used: found before a run, so that they are reported and left out of all of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

from hiast.data.io.images import MAX_PIXELS
from hiast.data.io.labels import label_size
from hiast.data.io.listing import Listing, Pair, SizeMismatch, Unreadable
from hiast.errors import InputError

log = logging.getLogger(__name__)

_SECONDS = 15.0
"""Time between two progress lines."""


def check_choices(unreadable: str, size_mismatch: str | None) -> None:
    """Refuse settings that are none of the choices.

    Raises:
        InputError: Names the setting and the choices.
    """
    for key, value, choices in (
        ("unreadable", unreadable, get_args(Unreadable)),
        ("size_mismatch", size_mismatch, (*get_args(SizeMismatch), None)),
    ):
        if value not in choices:
            *first, last = [choice for choice in choices if choice is not None]
            raise InputError(f"{key} is '{value}': choose {', '.join(first)} or {last}.")


def unreadable_pairs(listing: Listing, max_pixels: int = MAX_PIXELS) -> dict[str, str]:
    """Name of each pair with a file that training could not read -> why.

    Images and labels are decoded by the readers that training uses.
    """

    def reason(pair: Pair) -> str | None:
        try:
            listing.images.check(pair.image, max_pixels)
            if pair.label is not None:
                listing.decode(pair.label, max_pixels)
        except InputError as error:
            return str(error)
        return None

    return _find(listing, reason)


def mismatched_pairs(
    listing: Listing, image_size: Callable[[Pair], tuple[int, int]], max_pixels: int = MAX_PIXELS
) -> dict[str, str]:
    """Name of each pair whose image and label differ in size -> both sizes; only headers are read.

    Raises:
        InputError: A header cannot be read, or a label is missing.
    """

    def reason(pair: Pair) -> str | None:
        if pair.label is None:
            raise InputError(f"{pair.image} has no label; a labeled dataset is needed here.")
        size, own = image_size(pair), label_size(pair.label, max_pixels, listing.decode)
        return None if size == own else f"{describe_mismatch(pair, size, own)}."

    return _find(listing, reason)


def describe_mismatch(pair: Pair, size: tuple[int, ...], label_size: tuple[int, ...]) -> str:
    """Both files with their sizes, given as (height, width)."""
    return f"{pair.image} has {size[1]} x {size[0]} pixels and {pair.label} {label_size[1]} x {label_size[0]}"


def _find(listing: Listing, check: Callable[[Pair], str | None]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        reasons = _with_progress(pool.map(check, listing.pairs), listing)
        return {pair.name: why for pair, why in zip(listing.pairs, reasons, strict=True) if why}


def _with_progress(reasons: Iterable[str | None], listing: Listing) -> Iterator[str | None]:
    """Yield the results, logging progress every 15 seconds."""
    logged = time.monotonic()
    for done, reason in enumerate(reasons, start=1):
        if time.monotonic() - logged >= _SECONDS:
            logged = time.monotonic()
            log.info("Checked %d of %d pairs of %s.", done, len(listing.pairs), listing.name)
        yield reason
