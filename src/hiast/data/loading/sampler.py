"""The endless order of samples: which image stands at which position, for every rank, from any step on.

Everything here is a function of (seed, round, stream) and the position, so a run can go on at any step
without replaying the ones before, and neither workers nor devices change which images a step sees.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from hiast.data.geometry import Window
from hiast.data.sample import Draw
from hiast.errors import InputError


class StreamKey(NamedTuple):
    """What fixes an order."""

    seed: int
    round: int
    stream: int


class IndexOrder(Protocol):
    """Says which image stands at a position."""

    def index(self, key: StreamKey, position: int) -> int:
        """Index of the image at ``position`` (from 0, without end)."""
        ...

    def choose_window(
        self, index: int, labels: NDArray[np.uint8], windows: Iterator[Window], rng: np.random.Generator
    ) -> Window:
        """The crop of image ``index``, one of ``windows``, which are drawn as they are asked for.

        Args:
            index: Index of the image.
            labels: uint8 [H, W], its label map.
            windows: Windows of the label map, without end.
            rng: Generator for further draws.
        """
        ...


@lru_cache(maxsize=8)
def _permutation(key: StreamKey, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([key.seed, key.round, epoch, key.stream]).permutation(size)


class Shuffled:
    """Every image once per epoch, each epoch in a new order.

    Args:
        size: Number of images.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def index(self, key: StreamKey, position: int) -> int:
        """Index of the image at ``position``."""
        epoch, place = divmod(position, self.size)
        return int(_permutation(key, epoch, self.size)[place])

    def choose_window(
        self, index: int, labels: NDArray[np.uint8], windows: Iterator[Window], rng: np.random.Generator
    ) -> Window:
        """The first window."""
        return next(windows)


BLOCK = 1000
"""Positions that ``Weighted`` divides among its sources at a time."""


class Weighted:
    """Several datasets, joined one after the other, each drawn with its weight.

    Each block of positions is divided among the sources by their weights, in a random sequence; what rounding
    leaves over goes on into the next block. A source is asked for its positions 0, 1, 2, ... in turn, so that each
    of its images comes once per pass.

    Args:
        orders: IndexOrder within each dataset.
        sizes: Number of images of each.
        weights: Non-negative, not all 0.

    Raises:
        InputError: The numbers do not fit together.
    """

    def __init__(self, orders: Sequence[IndexOrder], sizes: Sequence[int], weights: Sequence[float]) -> None:
        check_weights(weights, len(orders))
        self.orders = tuple(orders)
        self.starts = np.cumsum([0, *sizes])[:-1].tolist()
        exact = [Fraction(weight) for weight in weights]
        rest = [sum(exact[i:], Fraction(0)) for i in range(len(exact))]
        self.shares = tuple(
            own / left if left else Fraction(0) for own, left in zip(exact, rest, strict=True)
        )

    def index(self, key: StreamKey, position: int) -> int:
        """Index of the image at ``position``."""
        number, place = divmod(position, BLOCK)
        sources, earlier = _block(key, number, self.shares)
        source = int(sources[place])
        # Streams of the datasets start far from those that tell datasets of one run apart.
        inner = key._replace(stream=key.stream + 1000 * (source + 1))
        return int(self.starts[source] + self.orders[source].index(inner, int(earlier[place])))

    def choose_window(
        self, index: int, labels: NDArray[np.uint8], windows: Iterator[Window], rng: np.random.Generator
    ) -> Window:
        """The window that the order of the image's dataset chooses."""
        source = bisect_right(self.starts, index) - 1
        return self.orders[source].choose_window(index - self.starts[source], labels, windows, rng)


def check_weights(weights: Sequence[float], count: int) -> None:
    """Refuse weights that do not fit ``count`` sources.

    Raises:
        InputError: They are not as many, one is negative, or all are 0.
    """
    if len(weights) != count or min(weights) < 0 or sum(weights) <= 0:
        raise InputError(
            f"{count} sources need as many weights, not negative and not all 0: {list(weights)}."
        )


def _drawn(positions: int, shares: tuple[Fraction, ...]) -> list[int]:
    """How often each source is drawn in the first ``positions``; ``shares`` are of what the earlier ones leave.

    None of the numbers ever falls as ``positions`` grows, and each is off its weight by no more than half the number
    of sources. (Rounding by largest remainders can make a number fall.)
    """
    counts = []
    for share in shares:
        counts.append(math.floor(positions * share + Fraction(1, 2)))
        positions -= counts[-1]
    return counts


@lru_cache(maxsize=8)
def _block(
    key: StreamKey, number: int, shares: tuple[Fraction, ...]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For each position of a block: its source, and how often that source was drawn before."""
    before, after = (_drawn(end * BLOCK, shares) for end in (number, number + 1))
    sources = np.repeat(np.arange(len(shares)), np.subtract(after, before))
    np.random.default_rng([key.seed, key.round, number, key.stream]).shuffle(sources)
    earlier = np.empty(BLOCK, np.int64)
    for source, count in enumerate(before):
        own = sources == source
        earlier[own] = count + np.arange(own.sum())
    return sources, earlier


class PositionBatchSampler(Sampler[list[Draw]]):
    """The batches of one rank: at step s, rank r takes positions s*B*W + r*B up to + B.

    Args:
        order: Which image stands where.
        key: Seed, round and stream.
        batch_size: B, samples per batch on one rank.
        steps: Batches of a whole pass; the length, wherever the pass starts.
        rank: r.
        world_size: W, number of ranks.
        start_step: Step of the first pass to start at; what comes before is not replayed.
    """

    def __init__(
        self,
        order: IndexOrder,
        key: StreamKey,
        *,
        batch_size: int,
        steps: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
    ) -> None:
        self.order = order
        self.key = key
        self.batch_size = batch_size
        self.steps = steps
        self.rank = rank
        self.world_size = world_size
        self.start_step = start_step
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go on at pass number ``epoch`` (Lightning calls this); positions go on, too."""
        self.epoch = epoch

    def __len__(self) -> int:
        # Lightning counts the batches before a restart as fetched, so this is the whole pass.
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        skipped = self.start_step if self.epoch == 0 else 0
        for step in range(self.epoch * self.steps + skipped, (self.epoch + 1) * self.steps):
            first = (step * self.world_size + self.rank) * self.batch_size
            yield [Draw(self.order.index(self.key, p), p) for p in range(first, first + self.batch_size)]


class ShardSampler(Sampler[int]):
    """Every index once, over all ranks: rank r takes r, r + W, r + 2W, ...; nothing is repeated to even out.

    Args:
        size: Number of images.
        rank: r.
        world_size: W, number of ranks.
    """

    def __init__(self, size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, size, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)
