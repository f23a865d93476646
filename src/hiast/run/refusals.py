"""What Lightning refuses, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric.utilities.exceptions import MisconfigurationException

from hiast.errors import InputError


@contextmanager
def trainer_refusals() -> Iterator[None]:
    """Around the making of a ``Trainer`` or ``Fabric`` from the user's settings.

    Raises:
        InputError: Lightning refuses a setting.
    """
    try:
        yield
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error
