from __future__ import annotations

import itertools

import pytest

from hiast.errors import InputError
from hiast.selection.samples import evenly_spaced, held_out, pixel_positions


@pytest.mark.parametrize("count", [0, 1, 7, 64, 65, 1000])
def test_spacing_is_even_and_never_too_long(count: int) -> None:
    chosen = evenly_spaced(count, 64)
    assert len(chosen) <= 64
    assert chosen[:1] == [0][:count]
    assert len({b - a for a, b in itertools.pairwise(chosen)}) <= 1
    assert all(0 <= index < count for index in chosen)
    assert count > 64 or chosen == list(range(count))


def test_what_is_held_out_is_a_function_of_the_seed() -> None:
    chosen = held_out(100, 0.1, seed=4)
    assert chosen == held_out(100, 0.1, seed=4) == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen != held_out(100, 0.1, seed=5)


def test_something_is_left_to_train_on() -> None:
    assert held_out(1, 0.5, seed=0) == []
    assert held_out(0, 0.5, seed=0) == []
    assert len(held_out(2, 0.99, seed=0)) == 1
    assert held_out(50, 0, seed=0) == []
    assert len(held_out(50, 0.001, seed=0)) == 1


def test_pixels_are_drawn_without_replacement_and_by_seed_and_index() -> None:
    drawn = pixel_positions(1000, 100, 0, 3)
    assert len(set(drawn.tolist())) == 100
    assert 0 <= drawn.min() <= drawn.max() < 1000
    assert drawn.tolist() == pixel_positions(1000, 100, 0, 3).tolist()
    assert drawn.tolist() != pixel_positions(1000, 100, 0, 4).tolist()
    assert drawn.tolist() != pixel_positions(1000, 100, 1, 3).tolist()
    assert pixel_positions(5, 100, 0, 0).tolist() == [0, 1, 2, 3, 4]


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="held-out"):
        held_out(10, 1.0, seed=0)
    with pytest.raises(InputError, match="at least 1"):
        evenly_spaced(10, 0)
