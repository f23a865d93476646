"""Errors of what is only shown, which must not end a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def warn_on_error(what: str) -> Iterator[None]:
    """Log an error as a warning, so that a run does not end where something that is only shown cannot be written.

    Args:
        what: What is written, for the message.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, a run of days must not end by it
        log.warning("%s could not be written: %s: %s", what, type(error).__name__, error)
