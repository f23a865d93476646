"""Keep a run alive where something that is only shown cannot be made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def unharmed(what: str) -> Iterator[None]:
    """Keep a run alive where something that is only shown cannot be made; a warning says so."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, a run of days must not end by it
        log.warning("%s could not be written: %s: %s", what, type(error).__name__, error)
