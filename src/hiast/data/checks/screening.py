"""Pairs that cannot be used: found before a run, so that they can be listed and left out of all of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

from hiast.data.io.images import MAX_PIXELS, label_size, verify
from hiast.data.io.listing import Listing, Pair, SizeMismatch
from hiast.errors import InputError

log = logging.getLogger(__name__)

Unreadable = Literal["stop", "skip"]
"""What to do with a file that cannot be read: stop the run with its path, or leave its pair out of all of it."""

_SECONDS = 15.0
"""Time between two lines about a check that goes on."""


def check_choices(unreadable: str, size_mismatch: str | None) -> None:
    """Refuse what is neither of the choices.

    Raises:
        InputError: Names the setting and what can be chosen.
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

    Images are checked as ``decode.verify`` does; labels are decoded as they will be.
    """

    def reason(pair: Pair) -> str | None:
        try:
            verify(pair.image, max_pixels)
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
        size, own = image_size(pair), label_size(pair.label, max_pixels)
        return None if size == own else f"{describe_mismatch(pair, size, own)}."

    return _find(listing, reason)


def describe_mismatch(pair: Pair, size: tuple[int, ...], label_size: tuple[int, ...]) -> str:
    """Both files with their sizes, given as (height, width)."""
    return f"{pair.image} has {size[1]} x {size[0]} pixels and {pair.label} {label_size[1]} x {label_size[0]}"


def _find(listing: Listing, check: Callable[[Pair], str | None]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:
        reasons = _telling(pool.map(check, listing.pairs), listing)
        return {pair.name: why for pair, why in zip(listing.pairs, reasons, strict=True) if why}


def _telling(reasons: Iterable[str | None], listing: Listing) -> Iterable[str | None]:
    """The same, with a line now and then."""
    told = time.monotonic()
    for done, reason in enumerate(reasons, start=1):
        if time.monotonic() - told >= _SECONDS:
            told = time.monotonic()
            log.info("Checked %d of %d pairs of %s.", done, len(listing.pairs), listing.name)
        yield reason
