"""Color augmentation: determinism, frequencies and each operation against a few lines of numpy."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import Counter

import cv2
import numpy as np
import pytest

from hiast.data.augmentation.strong import (
    GaussianBlur,
    Seeded,
    SimpleStrong,
    StrongAugmentation,
    checked_view,
    published_operations,
)
from hiast.errors import InputError

JITTER, BLUR, CONTRAST, BRIGHTNESS, POSTERIZE, EQUALIZE, SOLARIZE, GRAY = range(8)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (128, 64), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def operations():
    return published_operations()


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_generator_gives_the_same_view_in_any_order_and_after_pickling(image):
    strong = StrongAugmentation()
    first = [strong(generator(seed), image) for seed in range(30)]
    copy = pickle.loads(pickle.dumps(strong))
    for seed in reversed(range(30)):
        np.testing.assert_array_equal(copy(generator(seed), image), first[seed])
    assert len({view.tobytes() for view in first}) > 15


def test_views_keep_shape_and_dtype_and_leave_the_image_alone(image, operations):
    before = image.copy()
    for operation in operations:
        for seed in range(5):
            view = operation(generator(seed), image)
            assert view.shape == image.shape
            assert view.dtype == np.uint8
            assert not np.shares_memory(view, image)
    np.testing.assert_array_equal(image, before)


def test_three_of_eight_are_drawn_without_replacement_and_half_of_them_applied(image):
    applied: list[list[int]] = []

    def recorder(index: int):
        def record(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
            applied[-1].append(index)
            return pixels

        return record

    strong = StrongAugmentation(operations=[recorder(index) for index in range(8)])
    rng = generator()
    draws = 8000
    for _ in range(draws):
        applied.append([])
        strong(rng, image)
    assert all(len(set(indices)) == len(indices) for indices in applied)
    lengths = Counter(len(indices) for indices in applied)
    for length, share in {0: 1 / 8, 1: 3 / 8, 2: 3 / 8, 3: 1 / 8}.items():
        assert lengths[length] / draws == pytest.approx(share, abs=0.025)
    counts = np.bincount([index for indices in applied for index in indices], minlength=8)
    expected = draws * 3 / 16
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # 7 degrees of freedom, p = 0.001


def test_contrast_multiplies_by_a_gain_of_one_to_four(image, operations):
    dark = (image // 8).astype(np.uint8)
    gains = []
    for seed in range(60):
        view = operations[CONTRAST](generator(seed), dark)
        gains.append(view.sum() / dark.sum())
    assert 0.97 < min(gains) < 1.4
    assert 3.6 < max(gains) < 4.05


def test_brightness_adds_up_to_half_the_range(operations):
    gray = np.full((8, 8, 3), 128, np.uint8)
    shifts = [int(operations[BRIGHTNESS](generator(seed), gray)[0, 0, 0]) - 128 for seed in range(80)]
    assert -128 <= min(shifts) < -110
    assert 110 < max(shifts) <= 127


def test_posterize_solarize_gray(image, operations):
    np.testing.assert_array_equal(operations[POSTERIZE](generator(), image), image & 0xF0)
    np.testing.assert_array_equal(
        operations[SOLARIZE](generator(), image), np.where(image >= 128, 255 - image, image)
    )
    gray = operations[GRAY](generator(), image)
    luminance = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray - luminance[..., None]).max() <= 1


def test_equalize_spreads_each_channel(image, operations):
    flat = (image // 4 + 60).astype(np.uint8)
    view = operations[EQUALIZE](generator(), flat)
    assert (view.reshape(-1, 3).min(0) == 0).all()
    assert (view.reshape(-1, 3).max(0) == 255).all()
    for channel in range(3):
        order = np.argsort(flat[..., channel], axis=None)
        assert (np.diff(view[..., channel].ravel()[order].astype(int)) >= 0).all()


def test_blur_draws_odd_kernels_from_3_to_41(monkeypatch, image):
    sizes = Counter()
    blur = cv2.GaussianBlur

    def recorded(pixels, size, sigma):
        sizes[size] += 1
        return blur(pixels, size, sigma)

    monkeypatch.setattr(cv2, "GaussianBlur", recorded)
    rng = generator()
    for _ in range(600):
        GaussianBlur()(rng, image[:8, :8])
    assert set(sizes) == {(size, size) for size in range(3, 42, 2)}


def test_jitter_of_strength_zero_changes_nothing_and_hue_rotates_colors(image):
    still = StrongAugmentation(1, 1, 0, 0, 0, 0, operations=published_operations(0, 0, 0, 0)[:1])
    np.testing.assert_array_equal(still(generator(), image), image)
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    hues = [published_operations(0, 0, 0, 0.5)[0](generator(seed), red)[0, 0] for seed in range(20)]
    assert {int(np.argmax(pixel)) for pixel in hues} == {0, 1, 2}


def test_simple_strong_applies_each_with_half_probability(image):
    simple = SimpleStrong()
    simple.operations = (lambda _, pixels: pixels | 1, lambda _, pixels: pixels | 2)
    zero = np.zeros((1, 1, 3), np.uint8)
    rng = generator()
    kinds = Counter(int(simple(rng, zero)[0, 0, 0]) for _ in range(2000))
    assert all(420 < kinds[kind] < 580 for kind in range(4))
    np.testing.assert_array_equal(SimpleStrong()(generator(3), image), SimpleStrong()(generator(3), image))


def test_any_albumentations_transform_is_a_step(image):
    import albumentations

    step = Seeded(albumentations.GaussNoise(p=1))
    np.testing.assert_array_equal(step(generator(1), image), step(generator(1), image))
    assert not np.array_equal(step(generator(1), image), step(generator(2), image))


@pytest.mark.parametrize(
    "make",
    [
        lambda: StrongAugmentation(count=9),
        lambda: StrongAugmentation(probability=2),
        lambda: StrongAugmentation(brightness=2),
        lambda: StrongAugmentation(hue=0.7),
        lambda: SimpleStrong(probability=-1),
        lambda: GaussianBlur(4, 41),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_importing_albumentations_asks_nobody_for_a_newer_version():
    code = (
        "import socket, urllib.request\n"
        "def refuse(*a, **k): raise SystemExit('network used')\n"
        "urllib.request.urlopen = refuse; socket.create_connection = refuse\n"
        "from hiast.data.augmentation.albumentations_steps import import_albumentations\n"
        "print(import_albumentations().__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.strip() == "albumentations", done.stderr


@pytest.mark.parametrize(
    ("view", "what"),
    [
        (np.zeros((8, 9, 3), np.float32), r"float32 \[8, 9, 3\]"),
        (np.zeros((8, 9, 1), np.uint8), r"uint8 \[8, 9, 1\]"),
        (np.zeros((8, 9), np.uint8), r"uint8 \[8, 9\]"),
        (np.zeros((4, 9, 3), np.uint8), r"uint8 \[4, 9, 3\]"),
        ("an image", "str"),
    ],
)
def test_a_view_of_another_type_or_size_is_refused(view: object, what: str) -> None:
    image = np.zeros((8, 9, 3), np.uint8)
    with pytest.raises(
        InputError, match=rf"gives {what} for an image uint8 \[8, 9, 3\]: it has to give uint8"
    ):
        checked_view(image, view)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"gives {what}"):
        StrongAugmentation(1, 1.0, operations=[lambda rng, image: view])(generator(0), image)
    assert checked_view(image, image + np.uint8(1)).max() == 1
