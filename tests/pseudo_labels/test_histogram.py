"""Quantiles from counts against numpy's quantiles of the list."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hiast.pseudo_labels.histogram import Histogram, count, lowest_code

sixteenths = st.floats(2**-5, 1, width=16)
levels = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


@settings(max_examples=400, deadline=None)
@given(values=st.lists(sixteenths, min_size=1, max_size=60), level=levels)
def test_quantile_is_numpys_bit_for_bit(values, level):
    array = np.array(values, np.float32)
    histogram = count(
        torch.from_numpy(array).view(1, 1, -1), torch.ones(1, 1, len(values), dtype=torch.int64), 2
    )
    assert histogram.quantile(1, level) == np.quantile(np.array(values, np.float64), level)


@settings(max_examples=400, deadline=None)
@given(values=st.lists(sixteenths, max_size=60), level=levels, extra=sixteenths | st.floats(0.0001, 0.9999))
def test_quantile_with_one_more_element(values, level, extra):
    histogram = Histogram.empty(2)
    if values:
        confidence = torch.tensor([[values]])
        histogram = count(confidence, torch.zeros(1, 1, len(values), dtype=torch.int64), 2)
    assert histogram.quantile(0, level, extra) == np.quantile(np.array([extra, *values], np.float64), level)


def test_many_random_lists_of_all_float16_values():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 10, 1000, 100_000):
        for _ in range(20):
            confidence = rng.random(size, np.float32) ** rng.choice([0.1, 1, 4])
            confidence = np.maximum(confidence, np.float32(2**-5))
            extra, level = rng.random(2)
            histogram = count(
                torch.from_numpy(confidence).view(1, 1, -1), torch.zeros(1, 1, size, dtype=torch.int64), 19
            )
            values = np.append(confidence.astype(np.float16).astype(np.float64), extra)
            assert histogram.quantile(0, level, extra) == np.quantile(values, level)


def test_two_to_32_classes_need_at_most_5121_codes():
    assert {Histogram.empty(c).counts.shape for c in (17, 32)} == {(17, 5121), (32, 5121)}
    assert max(Histogram.empty(c).counts.shape[1] for c in range(2, 33)) == 5121
    for num_classes in range(1, 256):
        smallest = np.array(lowest_code(num_classes), np.uint16).view(np.float16)
        assert 0.5 / num_classes < smallest <= 1 / num_classes


def test_histograms_add_up_even_if_one_is_wider():
    narrow = count(torch.tensor([[[0.5, 0.75]]]), torch.tensor([[[0, 1]]]), 2)
    wide = count(torch.tensor([[[0.0, 0.75]]]), torch.tensor([[[0, 1]]]), 2)
    for total in (narrow + wide, wide + narrow):
        assert total.pixels.tolist() == [2, 2]
        assert total.quantile(0, 0) == 0
        assert total.quantile(0, 1) == 0.5
        assert total.quantile(1, 0) == total.quantile(1, 1) == 0.75
    assert narrow.pixels.tolist() == [1, 1]


def test_every_nth_pixel_of_each_class_is_counted_over_the_group():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, (2, 9, 7)).astype(np.float32)
    prediction = rng.integers(0, 3, (2, 9, 7))
    histogram = count(torch.from_numpy(confidence), torch.from_numpy(prediction), 4, every=4)
    for k in range(4):
        codes = confidence[prediction == k][::4].astype(np.float16).view(np.uint16).astype(int)
        expected = np.bincount(codes - histogram.lowest, minlength=histogram.counts.shape[1])
        np.testing.assert_array_equal(histogram.counts[k], expected)
