"""Numbers of things in messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``number`` and ``noun``, in the plural where there is not one.

    Example:
        >>> counted(1, "image"), counted(2500, "image")
        ('1 image', '2,500 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
