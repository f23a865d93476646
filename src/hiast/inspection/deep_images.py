"""Images of more than 8 bits, by their type: which value_range they need, and whether one can serve them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hiast.data.io.images import ImageFacts, ValueRangeError

_LEAST_SHARE = 1 / 16
"""Share of a range from which on values keep 16 of 256 gray levels."""


@dataclass(frozen=True)
class DeepValues:
    """The values of one image of more than 8 bits.

    Attributes:
        dtype: Type as stored, such as "uint16".
        bits: Significant bits of a value, at most those of the type.
        low: Smallest value.
        high: Largest value.
        refused: Whether the image cannot be read without a ``value_range``.
        flat: Whether the ``value_range`` that is set leaves almost one gray value.
    """

    dtype: str
    bits: int
    low: float
    high: float
    refused: bool = False
    flat: bool = False

    @classmethod
    def of(cls, found: ImageFacts | ValueRangeError) -> DeepValues | None:
        """What checking an image has shown; None: it has 8 bits."""
        bits = 8 * np.dtype(found.dtype).itemsize
        if isinstance(found, ValueRangeError):
            return cls(found.dtype, bits, found.low, found.high, refused=True)
        if found.low is None or found.high is None:
            return None
        return cls(found.dtype, min(bits, found.bits), found.low, found.high, flat=found.flat)


@dataclass
class DeepType:
    """The images whose values are of one type.

    Attributes:
        dtype: Type as stored.
        bits: Significant bits of a value.
        example: The first file.
        low: Smallest value.
        high: Largest value.
        images: Number of files.
        refused: Number of files that cannot be read without a ``value_range``.
        flat: Files of which the ``value_range`` that is set leaves almost one gray value.
    """

    dtype: str
    bits: int
    example: Path
    low: float
    high: float
    images: int = 0
    refused: int = 0
    flat: list[Path] = field(default_factory=list)

    @property
    def wanted(self) -> tuple[float, float]:
        """The (low, high) that suits these images.

        Where some images of 16 bits are refused because they are dark and others are not, it is the whole range: the
        dark ones are meant to be dark.
        """
        if self.dtype == "uint16" and self.refused < self.images:
            return 0.0, float(2**self.bits - 1)
        return self.low, self.high

    def __str__(self) -> str:
        return (
            f"{self.images:,} of type {self.dtype} from {self.low:g} to {self.high:g}, such as {self.example}"
        )


@dataclass
class DeepImages:
    """All images of more than 8 bits in a set of files.

    Attributes:
        types: By type and bits.
    """

    types: dict[tuple[str, int], DeepType] = field(default_factory=dict)

    def add(self, path: Path, values: DeepValues) -> None:
        """Add the image in a file."""
        key = values.dtype, values.bits
        found = self.types.setdefault(key, DeepType(*key, path, values.low, values.high))
        found.low, found.high = min(found.low, values.low), max(found.high, values.high)
        found.images += 1
        found.refused += values.refused
        if values.flat:
            found.flat.append(path)

    @property
    def images(self) -> int:
        """Number of files."""
        return sum(found.images for found in self.types.values())

    @property
    def refused(self) -> int:
        """Number of files that cannot be read without a ``value_range``."""
        return sum(found.refused for found in self.types.values())

    @property
    def flat(self) -> list[Path]:
        """Files of which the ``value_range`` that is set leaves almost one gray value."""
        return [path for found in self.types.values() for path in found.flat]

    def wanted_range(self) -> tuple[float, float] | None:
        """The ``value_range`` that the images need; None: they need none, or none serves all of them.

        One serves them if every type keeps at least 16 of 256 gray levels in it.
        """
        spans = [found.wanted for found in self.types.values()]
        low, high = min((low for low, _ in spans), default=0.0), max((high for _, high in spans), default=0.0)
        if not self.refused or low >= high:
            return None
        kept = (end - start >= _LEAST_SHARE * (high - low) for start, end in spans if start < end)
        return (low, high) if all(kept) else None

    def conflict(self) -> str | None:
        r"""A sentence about types that no single ``value_range`` serves, though some need one; None: there are none.

        Examples:
            >>> images = DeepImages()
            >>> images.add(Path("a.tif"), DeepValues("uint16", 16, 0, 65000))
            >>> images.add(Path("b.tif"), DeepValues("float32", 32, 0, 1, refused=True))
            >>> print(images.conflict().replace(": ", ":\n").replace("; ", ";\n").replace(". ", ".\n"))
            One value_range cannot serve images of different types:
            1 of type uint16 from 0 to 65000, such as a.tif;
            1 of type float32 from 0 to 1, such as b.tif.
            Save all of them in one type.
        """
        if not self.refused or len(self.types) < 2 or self.wanted_range() is not None:
            return None
        types = "; ".join(map(str, self.types.values()))
        return (
            f"One value_range cannot serve images of different types: {types}. Save all of them in one type."
        )
