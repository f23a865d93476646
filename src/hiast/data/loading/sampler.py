"""The endless order of samples: the image at each position, for every rank, from any step on.

Everything here is a function of (seed, round, stream) and the position. So a run can resume at any step without
replaying the ones before, and neither workers nor devices change which images a step sees.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from numbers import Real
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from hiast.data.geometry import Window
from hiast.data.random_streams import Stream
from hiast.data.sample import Draw
from hiast.errors import InputError


class StreamKey(NamedTuple):
    """What determines an order, together with the position."""

    seed: int
    round: int
    stream: int


class IndexOrder(Protocol):
    """An endless order of the images of a dataset."""

    def index(self, key: StreamKey, position: int) -> int:
        """Index of the image at ``position`` (0, 1, 2, ... without end)."""
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

    Examples:
        >>> order = Shuffled(4)
        >>> sorted(order.index(StreamKey(888, 0, 10), position) for position in range(4))
        [0, 1, 2, 3]
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


class Weighted:
    """Several datasets, joined one after the other; each position is drawn from one of them by its weight.

    The dataset of a position is a hash of the position, so that no earlier position is needed to find it. The image is
    the one at this position in the dataset's own order. Over as many positions as a shuffled dataset has images, none
    of its images comes twice.

    Args:
        orders: Order within each dataset.
        sizes: Number of images of each dataset.
        weights: Finite and not negative, not all 0.

    Raises:
        InputError: The numbers do not fit together.
    """

    def __init__(self, orders: Sequence[IndexOrder], sizes: Sequence[int], weights: Sequence[float]) -> None:
        check_weights(weights, len(orders))
        self.orders = tuple(orders)
        self.starts = np.cumsum([0, *sizes])[:-1].tolist()
        shares = np.asarray(weights, np.float64) / max(weights)
        self.probabilities: NDArray[np.float64] = shares / shares.sum()

    def index(self, key: StreamKey, position: int) -> int:
        """Index of the image at ``position``."""
        base = (key.stream + 1) * Stream.JOINED_SOURCE
        rng = np.random.default_rng([key.seed, key.round, position, base])
        source = int(rng.choice(len(self.orders), p=self.probabilities))
        inner = key._replace(stream=base + source + 1)
        return int(self.starts[source] + self.orders[source].index(inner, position))

    def choose_window(
        self, index: int, labels: NDArray[np.uint8], windows: Iterator[Window], rng: np.random.Generator
    ) -> Window:
        """The window that the order of the image's dataset chooses."""
        source = bisect_right(self.starts, index) - 1
        return self.orders[source].choose_window(index - self.starts[source], labels, windows, rng)


def check_weights(weights: Sequence[float], count: int) -> None:
    """Refuse weights that do not fit ``count`` sources.

    Raises:
        InputError: They are not as many, one is negative, infinite or no number, or all are 0.
    """
    usable = [isinstance(weight, Real) and math.isfinite(weight) and weight >= 0 for weight in weights]
    if len(weights) != count or not all(usable) or not any(weights):
        raise InputError(
            f"{count} sources need as many weights, numbers that are finite, not negative and not all 0: "
            f"{list(weights)}."
        )


class PositionBatchSampler(Sampler[list[Draw]]):
    """The batches of one rank: at step s, rank r takes positions s*B*W + r*B up to + B.

    Args:
        order: Order of the images.
        key: Seed, round and stream.
        batch_size: B, samples per batch on one rank.
        steps: Batches of a whole pass. This is the length, wherever the pass starts.
        rank: r.
        world_size: W, number of ranks.
        start_step: Step at which the first pass starts; the steps before are not replayed.
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
        """Start pass number ``epoch`` (Lightning calls this); its positions follow those of the pass before."""
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
    """Every index once over all ranks: rank r takes r, r + W, r + 2W, ...; no index is repeated as padding.

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
