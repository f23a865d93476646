"""Errors of what is only shown, which must not end a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hiast.errors import InputError, RunError

log = logging.getLogger(__name__)


@contextmanager
def warn_on_error(what: str) -> Iterator[None]:
    """Log an error as a warning, so that a run does not end where something that is only shown cannot be written.

    A bug is logged with its traceback. A file that cannot be written, or that is refused when it is read, is
    not a bug.

    Args:
        what: What is written, for the message.
    """
    try:
        yield
    except Exception as error:
        bug = not isinstance(error, OSError | InputError | RunError)
        log.warning("%s could not be written: %s: %s", what, type(error).__name__, error, exc_info=bug)
