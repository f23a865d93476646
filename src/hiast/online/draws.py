"""Random numbers of the device steps: every draw comes from a generator that a key decides.

A step makes its own generator from integers (seed, step, rank, purpose), so nothing has to be saved to resume
exactly. A generator on the CPU draws the same numbers whatever device the images are on, and the few numbers
that a step needs are copied to that device without waiting for it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def generator_at(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that is a function of ``key`` alone.

    Args:
        key: Integers of at least 0, such as seed, step, rank and a number for the purpose. Keys that differ in
            one integer give independent generators.
        device: Device of the generator. The CPU is right for nearly all uses, see above.

    Example:
        >>> torch.equal(torch.rand(3, generator=generator_at(0, 7)), torch.rand(3, generator=generator_at(0, 7)))
        True
    """
    high, low = np.random.SeedSequence(key).generate_state(2, np.uint32).tolist()
    # manual_seed takes what fits into 63 bits on every device.
    return torch.Generator(device).manual_seed((high >> 1) << 32 | low)


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers float32 in [0, 1) of ``shape``, on the generator's own device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def between(numbers: Tensor, low: float, high: float) -> Tensor:
    """Uniform ``numbers`` in [0, 1), moved to [low, high)."""
    return numbers * (high - low) + low
