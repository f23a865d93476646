"""Windows, nearest-neighbor reading and the weak view, against naive code."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from hiast.data.augmentation.weak import FixedScaleCrop, RandomSizedCrop, WeakAugmentation
from hiast.data.geometry import Window, nearest_indices, resize_labels, take_grid
from hiast.errors import InputError

CITYSCAPES = RandomSizedCrop(512, 1024, 341, 1000)


def picture(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        rng.integers(0, 19, (height, width), dtype=np.uint8),
    )


def test_crop_heights_are_uniform_over_the_published_range_and_the_aspect_holds():
    rng = np.random.default_rng(0)
    windows = [CITYSCAPES.draw(rng, 1024, 2048) for _ in range(6000)]
    heights = np.array([window.height for window in windows])
    assert heights.min() == 341
    assert heights.max() == 1000
    counts = np.bincount(heights - 341, minlength=660).reshape(66, 10).sum(1)
    expected = len(windows) / 66
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 112  # 65 degrees of freedom, p = 0.0003
    assert all(window.width == 2 * window.height for window in windows)


def test_crop_places_are_uniform_over_all_that_fit():
    crop = RandomSizedCrop(4, 8, 5, 5)
    rng = np.random.default_rng(1)
    places = {crop.draw(rng, 7, 12)[:2] for _ in range(500)}
    assert places == {(top, left) for top in range(3) for left in range(3)}


@pytest.mark.parametrize(
    "size", [(1024, 2048), (1052, 1914), (760, 1280), (341, 682), (64, 128), (100, 90), (1, 1)]
)
@pytest.mark.parametrize("aspect", [(512, 1024), (768, 1024), (512, 512)])
def test_windows_lie_inside_images_of_any_size(size: tuple[int, int], aspect: tuple[int, int]):
    crop = RandomSizedCrop(*aspect, 341, 1000)
    rng = np.random.default_rng(2)
    for _ in range(50):
        top, left, height, width = crop.draw(rng, *size)
        assert 0 <= top < top + height <= size[0]
        assert 0 <= left < left + width <= size[1]
        if min(size) > 8:
            assert width / height == pytest.approx(aspect[1] / aspect[0], abs=1 / height)


def test_robotcar_windows_are_four_to_three():
    crop = RandomSizedCrop(768, 1024, 341, 900)
    for seed in range(20):
        window = crop.draw(np.random.default_rng(seed), 960, 1280)
        assert window.width == int(window.height * 4 / 3)


def test_fixed_scale_crop_keeps_the_scale_and_fits():
    crop = FixedScaleCrop(512, 512, 512, 1024)
    for seed in range(20):
        window = crop.draw(np.random.default_rng(seed), 1024, 2048)
        assert window[2:] == (1024, 1024)
        assert window.top == 0
        assert 0 <= window.left <= 1024


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomSizedCrop(512, 1024, 500, 400),
        lambda: RandomSizedCrop(0, 1024),
        lambda: FixedScaleCrop(600, 512, 512, 1024),
        lambda: WeakAugmentation(CITYSCAPES, 1.5),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_nearest_rule_equals_opencv_on_many_sizes():
    rng = np.random.default_rng(3)
    for _ in range(300):
        source, wanted = (int(n) for n in rng.integers(1, 2100, 2))
        line = np.arange(source, dtype=np.float32)[None]
        expected = cv2.resize(line, (wanted, 1), interpolation=cv2.INTER_NEAREST)[0]
        np.testing.assert_array_equal(nearest_indices(source, wanted), expected)


def test_reading_a_window_by_nearest_equals_resizing_everything_and_cropping():
    rng = np.random.default_rng(4)
    for _ in range(60):
        stored = rng.integers(0, 19, rng.integers(1, 80, 2), dtype=np.uint8)
        height, width = (int(n) for n in rng.integers(4, 150, 2))
        window = RandomSizedCrop(4, 8, 2, 60).draw(rng, height, width)
        whole = resize_labels(stored, height, width)
        rows = nearest_indices(stored.shape[0], height)[window.top : window.top + window.height]
        columns = nearest_indices(stored.shape[1], width)[window.left : window.left + window.width]
        part = take_grid(stored, rows, columns)
        np.testing.assert_array_equal(part, window.of(whole))
        assert part.flags.c_contiguous


def test_weak_view_of_a_window_equals_that_of_the_whole_image():
    image, label = picture(150, 300)
    weak = WeakAugmentation(RandomSizedCrop(64, 128, 30, 140))
    for seed in range(10):
        seen_image, seen_label = weak(np.random.default_rng(seed), image, label)
        window, flip = weak.draw(np.random.default_rng(seed), 150, 300)
        top, left, height, width = window
        part = np.ascontiguousarray(image[top : top + height, left : left + width])
        expected = cv2.resize(part, (128, 64), interpolation=cv2.INTER_LINEAR)
        expected = expected[:, ::-1] if flip else expected
        np.testing.assert_array_equal(seen_image, expected)
        for y in range(0, 64, 9):
            for x in range(0, 128, 11):
                column = 127 - x if flip else x
                assert seen_label[y, x] == label[top + y * height // 64, left + column * width // 128]


def test_flips_have_the_given_probability_and_labels_flip_with_images():
    weak = WeakAugmentation(CITYSCAPES, 0.25)
    rng = np.random.default_rng(5)
    flips = sum(weak.draw(rng, 1024, 2048).flip for _ in range(2000))
    assert 430 < flips < 570
    assert not any(WeakAugmentation(CITYSCAPES, 0).draw(rng, 1024, 2048).flip for _ in range(50))
    image, label = picture(64, 128, 6)
    always = WeakAugmentation(RandomSizedCrop(64, 128, 64, 64), 1)
    flipped_image, flipped_label = always(rng, image, label)
    np.testing.assert_array_equal(flipped_image, image[:, ::-1])
    np.testing.assert_array_equal(flipped_label, label[:, ::-1])


def test_weak_view_leaves_its_inputs_alone_and_can_be_pickled():
    image, label = picture(64, 128)
    before = image.copy(), label.copy()
    weak = pickle.loads(pickle.dumps(WeakAugmentation(RandomSizedCrop(64, 128, 64, 64), 1)))
    weak(np.random.default_rng(0), image, label)[0][:] = 0
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])


def test_window_is_a_view():
    array = np.zeros((10, 10), np.uint8)
    Window(1, 2, 3, 4).of(array)[:] = 1
    assert array.sum() == 12
