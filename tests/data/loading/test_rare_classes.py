"""Rare class sampling against the formula, and crops against counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hiast.data.geometry import Window
from hiast.data.loading.rare_classes import (
    RareClassOrder,
    RareClassSampling,
    choose_crop,
    plan_rare_classes,
    rare_class_probabilities,
)
from hiast.errors import InputError

PIXELS = np.array(
    [[9000, 500, 0, 0], [7000, 4000, 0, 2], [1000, 3000, 0, 3500], [8000, 3001, 0, 0]], np.int64
)


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
def test_probabilities_are_the_softmax_of_rarity(temperature):
    totals = PIXELS.sum(0)
    rarity = [(1 - int(n) / int(totals.sum())) / temperature for n in totals]
    weights = [math.exp(r - max(rarity)) if n else 0.0 for r, n in zip(rarity, totals, strict=True)]
    wanted = [w / math.fsum(weights) for w in weights]
    np.testing.assert_allclose(rare_class_probabilities(PIXELS, temperature), wanted, rtol=1e-12)
    np.testing.assert_allclose(rare_class_probabilities(totals, temperature), wanted, rtol=1e-12)


def test_classes_without_enough_pixels_in_any_image_are_dropped_in_words():
    plan = plan_rare_classes(PIXELS, 1.0, 3500, names=["road", "car", "train", "bike"])
    assert [found.tolist() for found in plan.images] == [[0, 1, 3], [1], [], []]
    assert plan.probabilities[2:].tolist() == [0, 0]
    assert plan.probabilities.sum() == pytest.approx(1)
    assert "train (at most 0), bike (at most 3500)" in plan.warning
    assert "more than 3500 pixels" in plan.warning
    unnamed = plan_rare_classes(PIXELS, 1.0, 3500)
    assert "2 (at most 0)" in unnamed.warning
    assert plan_rare_classes(PIXELS[:, [0, 1, 3]], 1.0, 0).warning == ""


def test_draws_follow_the_probabilities_and_take_images_that_hold_the_class():
    plan = plan_rare_classes(PIXELS, 0.5, 2999)
    rng = np.random.default_rng(0)
    draws = [plan.draw(rng) for _ in range(4000)]
    for k in range(4):
        share = np.mean([chosen == k for chosen, _ in draws])
        assert abs(share - plan.probabilities[k]) < 0.04
        images = {image for chosen, image in draws if chosen == k}
        assert images == set(plan.images[k].tolist())
    assert plan.draw(np.random.default_rng(7)) == plan.draw(np.random.default_rng(7))


def drawn_labels():
    labels = np.random.default_rng(1).integers(0, 4, (30, 40)).astype(np.uint8)
    labels[:, 30:] = 255
    labels[:10, :10] = 2
    return labels


@pytest.mark.parametrize("largest_share", [1.0, 0.4])
def test_the_first_crop_that_will_do_is_chosen(largest_share):
    labels, rng = drawn_labels(), np.random.default_rng(2)
    outcomes = set()
    for trial in range(60):
        tries = 1 + trial % 5
        drawn = [Window(int(rng.integers(0, 20)), int(rng.integers(0, 30)), 10, 10) for _ in range(tries + 2)]
        wanted = None
        for place, (top, left, height, width) in enumerate(drawn[:tries]):
            crop = [int(labels[top + i, left + j]) for i in range(height) for j in range(width)]
            known = [k for k in crop if k != 255]
            largest = max((known.count(k) for k in set(known)), default=0)
            varied = largest_share >= 1 or largest < largest_share * len(known)
            if wanted is None and crop.count(2) > 28 and varied:
                wanted = place
        outcomes.add("found" if wanted is not None else "not")
        wanted = tries - 1 if wanted is None else wanted
        windows = iter(drawn)
        assert choose_crop(labels, windows, 2, 28, tries=tries, largest_share=largest_share) == drawn[wanted]
        assert list(windows) == drawn[wanted + 1 :], "no more crops are looked at than are needed"
    assert outcomes == {"found", "not"}


def test_a_crop_needs_more_than_the_number_and_less_than_the_share():
    labels = np.array([[1, 1, 0, 0, 255, 255]], np.uint8)
    narrow, whole = Window(0, 0, 1, 4), Window(0, 0, 1, 6)

    def chosen(windows: list[Window], min_pixels: float, largest_share: float = 1.0) -> Window:
        return choose_crop(
            labels, iter(windows), 1, min_pixels, tries=len(windows), largest_share=largest_share
        )

    assert chosen([narrow, whole], 1.9) == narrow
    assert chosen([narrow, whole], 2) == whole, "no crop will do, so the last"
    assert chosen([narrow, whole], 1, 0.5) == whole
    assert chosen([narrow, whole], 1, 0.51) == narrow
    assert chosen([whole, narrow], 1, 0.5) == narrow, "ignored pixels do not make a crop varied"


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InputError, match="temperature"):
        rare_class_probabilities(PIXELS, 0)
    with pytest.raises(InputError, match="no class"):
        rare_class_probabilities(np.zeros((2, 3), np.int64))
    with pytest.raises(InputError, match="min_pixels"):
        plan_rare_classes(PIXELS, min_pixels=10_000)
    with pytest.raises(InputError, match="min_pixels"):
        plan_rare_classes(PIXELS, min_pixels=-1)
    with pytest.raises(InputError, match="names"):
        plan_rare_classes(PIXELS, names=["road"])
    with pytest.raises(InputError, match="largest_share"):
        RareClassSampling(largest_share=-1)
    with pytest.raises(InputError, match="share_tries"):
        RareClassSampling(share_tries=-1)


COUNTS = np.array([[900, 100, 0, 0], [950, 0, 50, 0], [1000, 0, 0, 0], [700, 290, 10, 0]])


def test_the_class_of_an_image_has_the_distribution_of_the_plan() -> None:
    plan = plan_rare_classes(COUNTS, 0.5, min_pixels=9)
    rng = np.random.default_rng(0)
    pairs = [plan.draw(rng) for _ in range(20_000)]
    again = [(plan.class_given_image(image, rng), image) for _, image in pairs]
    wanted, found = np.zeros((4, 4)), np.zeros((4, 4))
    np.add.at(wanted, tuple(np.array(pairs).T), 1 / len(pairs))
    np.add.at(found, tuple(np.array(again).T), 1 / len(pairs))
    np.testing.assert_allclose(found, wanted, atol=0.015)


def test_crops_show_the_class_that_the_image_was_drawn_for() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[30:, 30:] = 1
    settings = RareClassSampling(min_pixels=20, tries=50)
    plan, least = settings.plan(np.array([[1500, 100]]), 1600, ("road", "sign"))
    order = RareClassOrder(plan, settings, least)
    rng = np.random.default_rng(1)

    def windows():
        while True:
            yield Window(int(rng.integers(31)), int(rng.integers(31)), 10, 10)

    # Class 1 is far rarer, so nearly every draw asks for it.
    shown = [(order.choose_window(0, labels, windows(), rng).of(labels) == 1).sum() for _ in range(50)]
    assert np.mean([pixels > 10 for pixels in shown]) > 0.9
    assert least == 20


@pytest.mark.parametrize("pixels", [20, 25, 30])
def test_a_crop_is_varied_first_and_shows_its_class_then(pixels):
    """As DAFormer's dataset over mmsegmentation's random crop: redraws within redraws."""
    labels = drawn_labels()
    labels[15:, :20] = 1
    share, tries, share_tries = 0.4, 3, 2
    settings = RareClassSampling(
        min_pixels=pixels, crop_ratio=1, tries=tries, largest_share=share, share_tries=share_tries
    )
    order = RareClassOrder(plan_rare_classes(np.array([[0, 0, 1, 0]]), min_pixels=0), settings, pixels)
    ends = set()
    for seed in range(40):
        draws = np.random.default_rng(seed).integers(0, (21, 31), (500, 2)).tolist()
        crops = (labels[top : top + 10, left : left + 10] for top, left in draws)
        for _try in range(tries):
            for _redraw in range(share_tries):
                crop = next(crops)
                known = [int((crop == k).sum()) for k in range(4)]
                if max(known) < share * sum(known):
                    break
            if (crop == 2).sum() > pixels:
                break
        ends.add((max(known) < share * sum(known), bool((crop == 2).sum() > pixels)))
        windows = (Window(top, left, 10, 10) for top, left in draws)
        chosen = order.choose_window(0, labels, windows, np.random.default_rng(0))
        np.testing.assert_array_equal(chosen.of(labels), crop)
    assert len(ends) > 1, "the test sees crops that will do and crops that will not"


def test_the_least_pixels_follow_the_size_of_the_images() -> None:
    assert RareClassSampling().plan(np.array([[9000, 9000]]), 1280 * 720, ("a", "b"))[1] == 3000
    assert RareClassSampling().plan(np.array([[900, 900]]), 128 * 72, ("a", "b"))[1] == 30
