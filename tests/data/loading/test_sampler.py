from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hiast.data.loading.sampler import (
    PositionBatchSampler,
    ShardSampler,
    Shuffled,
    StreamKey,
    Weighted,
)
from hiast.data.random_streams import Stream
from hiast.errors import InputError

KEY = StreamKey(888, 2, 20)


def batches(**changes) -> list:
    options = {"batch_size": 4, "steps": 9, "rank": 0, "world_size": 1, "start_step": 0} | changes
    return list(PositionBatchSampler(Shuffled(10), KEY, **options))


def test_every_image_once_per_epoch_in_a_new_order() -> None:
    order = Shuffled(10)
    epochs = [[order.index(KEY, 10 * e + i) for i in range(10)] for e in range(5)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_order_depends_on_seed_round_and_stream_only() -> None:
    def order(key: StreamKey) -> tuple[int, ...]:
        return tuple(Shuffled(50).index(key, p) for p in range(50))

    assert order(KEY) == order(StreamKey(888, 2, 20))
    others = [StreamKey(889, 2, 20), StreamKey(888, 3, 20), StreamKey(888, 2, 21)]
    assert len({order(key) for key in [KEY, *others]}) == 4


def test_positions_are_consecutive() -> None:
    positions = [draw.position for batch in batches() for draw in batch]
    assert positions == list(range(36))
    assert {draw.index for draw in itertools.chain(*batches())} == set(range(10))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_see_what_one_process_sees(world_size: int) -> None:
    ranks = [batches(batch_size=4 // world_size, rank=r, world_size=world_size) for r in range(world_size)]
    joined = [list(itertools.chain(*step)) for step in zip(*ranks, strict=True)]
    assert joined == batches()


@pytest.mark.parametrize("start", [0, 1, 8, 9])
def test_resumes_at_any_step_without_replay(start: int) -> None:
    assert batches(start_step=start) == batches()[start:]


def test_starting_late_costs_nothing() -> None:
    draws = PositionBatchSampler(Shuffled(25_000), KEY, batch_size=8, steps=10**9, start_step=10**9 - 1)
    assert len(list(draws)) == 1  # would never end if it were replayed


def test_length_is_that_of_the_whole_pass_and_epochs_continue() -> None:
    draws = PositionBatchSampler(Shuffled(10), KEY, batch_size=4, steps=9, start_step=5)
    assert len(draws) == 9
    whole = PositionBatchSampler(Shuffled(10), KEY, batch_size=4, steps=9)
    whole.set_epoch(2)
    assert next(iter(whole))[0].position == 2 * 36
    assert len(list(whole)) == 9


def test_shards_cover_everything_once() -> None:
    for size, world in [(7, 3), (1, 4), (500, 8), (6, 1)]:
        shards = [list(ShardSampler(size, rank, world)) for rank in range(world)]
        assert sorted(itertools.chain(*shards)) == list(range(size))
        assert [len(ShardSampler(size, rank, world)) for rank in range(world)] == [
            len(shard) for shard in shards
        ]


SIZES = [1000, 400, 50]
DRAWS = 8000


def weighted(weights: list[float], sizes: list[int] = SIZES) -> Weighted:
    return Weighted([Shuffled(size) for size in sizes], sizes, weights)


def sources(drawn: list[int], sizes: list[int] = SIZES) -> np.ndarray:
    return np.searchsorted(np.cumsum(sizes), drawn, side="right")


def test_weighted_sources_repeat_no_image_within_a_pass() -> None:
    order = weighted([3, 1, 0])
    drawn = [order.index(KEY, p) for p in range(4000)]
    assert set(sources(drawn)) == {0, 1}
    for source, size in ((0, 1000), (1, 400)):
        seen = set()
        for start in range(0, 4000, size):
            own = [index for index in drawn[start : start + size] if sources([index])[0] == source]
            assert len(set(own)) == len(own)
            seen |= set(own)
        assert len(seen) > 0.9 * size


@pytest.mark.parametrize(
    "weights", [[3, 1, 0], [1, 1, 1], [0.7, 0.299, 0.001], [1e-9, 1, 1], SIZES, [0, 0, 2], [1e308, 1e308, 0]]
)
def test_weighted_sources_are_drawn_by_their_weights(weights: list[float]) -> None:
    order = weighted(weights)
    counts = np.bincount(sources([order.index(KEY, p) for p in range(DRAWS)]), minlength=3)
    shares = np.array(weights) / max(weights)
    shares /= shares.sum()
    # Five standard deviations of a binomial distribution.
    assert (np.abs(counts - DRAWS * shares) <= 5 * np.sqrt(DRAWS * shares * (1 - shares)) + 1e-3).all()
    assert (counts[shares == 0] == 0).all()


def test_weighted_sources_show_no_pattern() -> None:
    order = weighted([1, 1, 1])
    source = sources([order.index(KEY, p) for p in range(3 * DRAWS)])
    # A batch of 8 holds every number of images of a source that chance gives it.
    in_batch = np.bincount((source.reshape(-1, 8) == 0).sum(axis=1), minlength=9) / (3 * DRAWS / 8)
    chance = [math.comb(8, k) * 2 ** (8 - k) / 3**8 for k in range(9)]
    np.testing.assert_allclose(in_batch, chance, atol=0.03)
    for lag in (1, 2, 3, 8, 1000):
        assert abs((source[lag:] == source[:-lag]).mean() - 1 / 3) < 0.02


@pytest.mark.parametrize("first", [0, 1])
def test_a_joined_source_and_a_joined_target_are_drawn_independently(first: int) -> None:
    """The same images at the same positions in a dataset of one and a dataset of the other only by chance."""
    streams = (Stream.SOURCE_ORDER, Stream.TARGET_ORDER)
    keys = [StreamKey(888, 0, stream) for stream in streams]
    weights = [[1, 0], [0, 1]]
    for mine, other in itertools.product(weights, weights):
        orders = [weighted(mine, [100, 100]), weighted(other, [100, 100])]
        drawn = [
            [order.index(key, p) % 100 for p in range(100)] for order, key in zip(orders, keys, strict=True)
        ]
        assert sum(a == b for a, b in zip(*drawn, strict=True)) < 10
    plain = [Shuffled(100).index(keys[first], p) for p in range(100)]
    joined = [weighted([1, 0], [100, 100]).index(keys[1 - first], p) for p in range(100)]
    assert sum(a == b for a, b in zip(plain, joined, strict=True)) < 10


def test_weighted_sources_start_anywhere_at_once() -> None:
    order = weighted([3, 1, 0])
    drawn = [order.index(KEY, p) for p in range(2500)]
    for position in (2499, 3, 1000, 999, 0):
        assert weighted([3, 1, 0]).index(KEY, position) == drawn[position]
    assert drawn != [order.index(StreamKey(889, 2, 20), p) for p in range(2500)]
    draws = PositionBatchSampler(order, KEY, batch_size=8, steps=10**9, start_step=10**9 - 1)
    assert len(list(draws)) == 1  # would never end if it were replayed


def test_weighted_sources_fit_their_weights() -> None:
    for weights in ([1, 2], [0, 0, 0], [1, -1, 1], [], [1, math.nan, 1], [math.inf, 1, 1], ["2", 1, 1]):
        with pytest.raises(InputError, match="3 sources need as many weights"):
            weighted(weights)


def test_a_later_epoch_starts_at_its_beginning() -> None:
    draws = PositionBatchSampler(Shuffled(10), KEY, batch_size=4, steps=9, start_step=5)
    assert [batch[0].position for batch in draws] == [20, 24, 28, 32]
    draws.set_epoch(1)
    assert [batch[0].position for batch in draws] == list(range(36, 72, 4))
