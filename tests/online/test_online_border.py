"""Margins found without labels on drawn borders, and not found where it only looks like one."""

from __future__ import annotations

import numpy as np
import pytest

from hiast.errors import InputError
from hiast.online import find_margins

HEIGHT, WIDTH = 60, 90


def scenes(count=40, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, HEIGHT // 6, WIDTH // 6, 3))
    return [np.kron(one, np.ones((6, 6, 1), int)).astype(np.uint8) for one in coarse]


def noisy(rng, gray, rows, deviation=1.0):
    return np.clip(gray + rng.normal(0, deviation, (rows, WIDTH, 3)), 0, 255).astype(np.uint8)


def as_tuple(found):
    margins = found.margins
    assert margins.unit == "pixels"
    return margins.top, margins.bottom, margins.left, margins.right


def test_scenes_without_a_border():
    found = find_margins(scenes())
    assert not found.margins
    assert found.images == 40
    assert found.explanation == "No side stands still."


@pytest.mark.parametrize("side", range(4))
def test_a_black_border_on_one_side(side):
    images = scenes()
    for image in images:
        view = [image, image[::-1], image.transpose(1, 0, 2), image.transpose(1, 0, 2)[::-1]][side]
        view[:5] = 0
    found = find_margins(images)
    assert as_tuple(found) == tuple(5 if n == side else 0 for n in range(4))
    assert "5" in found.explanation


def test_a_frame_on_all_sides():
    images = scenes()
    for image in images:
        image[:3] = image[-4:] = 0
        image[:, :2] = image[:, -6:] = 17
    assert as_tuple(find_margins(images)) == (3, 4, 2, 6)


def test_a_bonnet_with_noise_and_a_round_edge():
    rng = np.random.default_rng(1)
    images = scenes()
    columns = np.arange(WIDTH)
    edge = HEIGHT - 9 - (2 * np.sin(np.pi * columns / WIDTH)).astype(int)
    bonnet = np.arange(HEIGHT)[:, None] >= edge
    paint = rng.integers(20, 90, (HEIGHT, WIDTH, 3))
    for image in images:
        image[bonnet] = np.clip(paint + rng.normal(0, 2, paint.shape), 0, 255).astype(np.uint8)[bonnet]
    top, bottom, left, right = as_tuple(find_margins(images))
    assert (top, left, right) == (0, 0, 0)
    assert bottom == 9


def test_white_sky_is_not_a_margin():
    rng = np.random.default_rng(2)
    images = scenes()
    for image in images:
        image[:10] = noisy(rng, 254, 10)
    found = find_margins(images)
    assert not found.margins
    assert "white" in found.explanation


def test_a_dark_sky_that_ends_elsewhere_in_each_image_is_not_a_margin():
    rng = np.random.default_rng(3)
    images = scenes(80)
    for image in images:
        image[: rng.integers(8, 30)] = 3
    found = find_margins(images)
    assert as_tuple(found) == (0, 0, 0, 0)
    assert "edge" in found.explanation


def test_images_that_hardly_change_tell_nothing():
    rng = np.random.default_rng(4)
    images = []
    for _ in range(40):  # dark field with a few cells
        image = noisy(rng, 10, HEIGHT)
        row, column = rng.integers(0, HEIGHT - 8), rng.integers(0, WIDTH - 8)
        image[row : row + 8, column : column + 8] = 200
        images.append(image)
    still = [images[0].copy() for _ in range(40)]
    assert not find_margins(images).margins
    found = find_margins(still)
    assert not found.margins
    assert "middle" in found.explanation


def test_a_border_that_takes_most_of_the_image_is_not_believed():
    images = scenes()
    for image in images:
        image[:, :40] = 0
    found = find_margins(images, most=0.35)
    assert not found.margins
    assert "44%" in found.explanation


def test_few_images_and_images_of_two_sizes_tell_nothing():
    images = scenes()
    for image in images:
        image[:5] = 0
    assert not find_margins(images[:29]).margins
    assert "30 are needed" in find_margins(images[:29]).explanation
    assert find_margins(images[:29], at_least=29).margins.top == 5
    assert "differ in size" in find_margins([*images, images[0][1:]]).explanation
    assert not find_margins([]).margins


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="still"):
        find_margins([], still=0)
    with pytest.raises(InputError, match="most"):
        find_margins([], most=0.6)
    with pytest.raises(InputError, match="uint8"):
        find_margins([np.zeros((3, 4), np.uint8)])
