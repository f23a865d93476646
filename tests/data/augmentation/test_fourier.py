"""Fourier adaptation against full transforms."""

from __future__ import annotations

import numpy as np
import pytest

from hiast.data.augmentation.fourier import FourierAdaptation, FourierTowardsSource, fourier_adapt
from hiast.errors import InputError


def picture(seed: int, height: int = 40, width: int = 72) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (height, width, 3), dtype=np.uint8)


def by_full_transform(image: np.ndarray, reference: np.ndarray, beta: float) -> np.ndarray:
    own = np.fft.fftshift(np.fft.fft2(image.astype(float), axes=(0, 1)), axes=(0, 1))
    other = np.fft.fftshift(np.fft.fft2(reference.astype(float), axes=(0, 1)), axes=(0, 1))
    height, width = image.shape[:2]
    border = int(np.floor(min(height, width) * beta))
    rows = slice(height // 2 - border, height // 2 + border + 1)
    columns = slice(width // 2 - border, width // 2 + border + 1)
    amplitude = np.abs(own)
    amplitude[rows, columns] = np.abs(other)[rows, columns]
    changed = np.fft.ifftshift(amplitude * np.exp(1j * np.angle(own)), axes=(0, 1))
    return np.clip(np.fft.ifft2(changed, axes=(0, 1)).real, 0, 255)


@pytest.mark.parametrize("beta", [0.001, 0.03, 0.1])
@pytest.mark.parametrize("size", [(40, 72), (41, 33)])
def test_low_frequencies_alone_give_what_full_transforms_give(beta: float, size: tuple[int, int]):
    image, reference = picture(0, *size), picture(1, *size) // 2
    ours = fourier_adapt(image, reference, beta)
    assert np.abs(ours - by_full_transform(image, reference, beta)).max() <= 0.51


def test_at_the_published_beta_the_mean_color_is_taken_over():
    image, reference = picture(0) // 2, picture(1, 33, 70)
    adapted = fourier_adapt(image, reference)
    np.testing.assert_allclose(adapted.mean((0, 1)), reference.mean((0, 1)), atol=2)
    assert np.abs(np.diff(adapted.astype(int) - image, axis=0)).max() <= 1


def test_an_image_adapted_to_itself_stays():
    np.testing.assert_array_equal(fourier_adapt(picture(0), picture(0), 0.1), picture(0))


class Pictures:
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read_image(self, index: int) -> np.ndarray:
        return np.full((10, 10, 3), 10 * index, np.uint8)


def test_the_reference_is_drawn_from_the_generator_alone():
    adapt = FourierAdaptation(Pictures(10))
    image = picture(0)
    first = [adapt(np.random.default_rng(seed), image) for seed in range(40)]
    assert len({int(view.mean()) // 5 for view in first}) > 6
    for seed, view in enumerate(first):
        np.testing.assert_array_equal(adapt(np.random.default_rng(seed), image), view)


def test_impossible_parameters_are_refused():
    with pytest.raises(InputError):
        FourierAdaptation(Pictures(0))
    with pytest.raises(InputError):
        FourierAdaptation(Pictures(1), beta=0.5)
    with pytest.raises(InputError, match=r"beta.*-1"):
        FourierTowardsSource(beta=-1)
