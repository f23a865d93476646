"""The one exception for input that a user can put right."""

from __future__ import annotations


class InputError(ValueError):
    """A file, key or value given by the user does not fit.

    The message is one sentence that names it and says what to do; commands print it and exit with code 2.
    """


class RunError(RuntimeError):
    """A run cannot go on, for a reason that is no mistake of the program: the message says which, and what helps."""
