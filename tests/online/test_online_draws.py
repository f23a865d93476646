"""Generators from keys, the decay of the teacher, and the examples in docstrings."""

from __future__ import annotations

import doctest

import pytest
import torch

from hiast.errors import InputError
from hiast.online import draws, ema, ema_decay_at, generator_at, margins
from hiast.online.draws import between, uniform
from hiast.online.processes import gather_over_processes, process_count, process_rank, sum_over_processes


def test_a_generator_is_a_function_of_its_key():
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (2**40, 3), (0, 1, 0)]
    first = [tuple(uniform(generator_at(*key), 4).tolist()) for key in keys]
    again = [tuple(uniform(generator_at(*key), 4).tolist()) for key in keys]
    assert first == again
    assert len(set(first)) == len(keys)


def test_generators_of_neighboring_steps_are_independent():
    numbers = torch.stack([uniform(generator_at(888, step, 0), 64) for step in range(400)])
    assert abs(float(numbers.mean()) - 0.5) < 0.01
    correlation = torch.corrcoef(torch.stack([numbers[:-1].flatten(), numbers[1:].flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.03


def test_numbers_are_moved_into_a_range():
    assert between(torch.tensor([0.0, 0.5, 1.0]), -2.0, 4.0).tolist() == [-2, 1, 4]


def test_the_teacher_begins_as_a_copy_and_then_averages():
    weights = [3.0, 5.0, 10.0, 2.0]
    teacher = 100.0
    for step, student in enumerate(weights):
        decay = ema_decay_at(step, 0.999)
        teacher = decay * teacher + (1 - decay) * student
        assert teacher == pytest.approx(sum(weights[: step + 1]) / (step + 1))
    assert ema_decay_at(998, 0.999) < 0.999
    assert ema_decay_at(10**9, 0.999) == 0.999
    assert ema_decay_at(0, 0.0) == 0
    with pytest.raises(InputError, match="step"):
        ema_decay_at(-1)
    with pytest.raises(InputError, match="decay"):
        ema_decay_at(0, 1.1)


def test_one_process_is_alone():
    values = torch.arange(3)
    assert (process_count(), process_rank()) == (1, 0)
    assert sum_over_processes(values) is values
    assert torch.equal(gather_over_processes(values), values[None])


@pytest.mark.parametrize("module", [draws, ema, margins], ids=lambda module: module.__name__)
def test_examples_hold(module):
    import numpy as np

    found = doctest.testmod(module, extraglobs={"np": np, "torch": torch})
    assert found.attempted
    assert not found.failed
