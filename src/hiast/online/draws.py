"""Random numbers of the device steps: every draw comes from a generator that a key decides.

A step makes its own generator from integers (seed, step, rank, purpose), so nothing has to be saved to resume
exactly. A generator on the CPU draws the same numbers whatever device the images are on, and the few numbers
that a step needs are copied to that device without waiting for it.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator_at(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that is a function of ``key`` alone.

    Args:
        key: Integers, such as seed, step, rank and a number for the purpose. Keys that differ in an integer or in
            their length give independent generators.
        device: Device of the generator. The CPU is right for nearly all uses, see above.

    Examples:
        >>> torch.equal(torch.rand(3, generator=generator_at(0, 7)), torch.rand(3, generator=generator_at(0, 7)))
        True
    """
    # A hash, since numpy's seed sequences take no notice of zeros at the end of a key.
    digest = hashlib.sha256(repr([int(number) for number in key]).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers float32 in [0, 1) of ``shape``, on the generator's own device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def between(numbers: Tensor, low: float, high: float) -> Tensor:
    """Uniform ``numbers`` in [0, 1), moved to [low, high)."""
    return numbers * (high - low) + low
