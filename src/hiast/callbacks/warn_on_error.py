"""Errors of what is only shown, which must not end a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def warn_on_error(what: str) -> Iterator[None]:
    """Log an error as a warning, so that a run does not end where something that is only shown cannot be written.

    A bug, which is anything but a refused file, is logged with its traceback.

    Args:
        what: What is written, for the message.
    """
    try:
        yield
    except Exception as error:
        bug = not isinstance(error, OSError)
        log.warning("%s could not be written: %s: %s", what, type(error).__name__, error, exc_info=bug)
