"""Style transfer against numpy and OpenCV."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from hiast.data.augmentation.fourier import fourier_adapt
from hiast.errors import InputError
from hiast.online import AmplitudeMixing, ColorTransfer, HistogramMatching, OneStyle, generator_at
from hiast.online.lab import lab_to_rgb, rgb_to_lab
from hiast.online.style import match_histograms, match_lab, mix_amplitudes

KINDS = [HistogramMatching, ColorTransfer, AmplitudeMixing]


def images(seed, batch=2, height=20, width=30, low=0, high=256):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (batch, 3, height, width), generator=generator).float() / 255


def naive_match(own, other):
    """Ranks of values that occur, as scikit-image's match_histograms has it; arrays of levels."""
    _, place, counts = np.unique(own.ravel(), return_inverse=True, return_counts=True)
    values, other_counts = np.unique(other.ravel(), return_counts=True)
    ranks = np.cumsum(counts) / own.size
    found = np.interp(ranks, np.cumsum(other_counts) / other.size, values)
    return found[place].reshape(own.shape)


@pytest.mark.parametrize("seed", range(4))
def test_histograms_match_as_by_sorted_values(seed):
    own = images(seed, low=0, high=60 + 60 * seed)
    other = images(seed + 50, height=11, width=17, low=100, high=130 + 40 * seed)
    found = match_histograms(own, other)
    for b in range(2):
        for c in range(3):
            wanted = naive_match((own[b, c] * 255).round().numpy(), (other[b, c] * 255).round().numpy())
            np.testing.assert_allclose(found[b, c].numpy() * 255, wanted, rtol=0, atol=1e-3)


def test_histograms_of_constant_images():
    own, other = images(0), torch.full((2, 3, 4, 4), 40 / 255)
    assert (match_histograms(own, other) * 255).round().eq(40).all()
    flat = match_histograms(other, own)
    assert flat.isfinite().all()
    assert (flat == own.amax((2, 3), keepdim=True)).all(), "the only value has the highest rank"
    same = match_histograms(own, own)
    torch.testing.assert_close(same, own, rtol=0, atol=1e-6)


def naive_lab(*rgb):
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
    matrix = [(0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227)]
    ratios = [sum(m * v for m, v in zip(row, linear, strict=True)) / sum(row) for row in matrix]
    x, y, z = (t ** (1 / 3) if t > (6 / 29) ** 3 else t * (29 / 6) ** 2 / 3 + 4 / 29 for t in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_lab_is_that_of_the_definition_and_goes_back():
    own = images(1)
    own[0, :, 0] = torch.linspace(0, 0.05, 30)  # the linear parts of both curves
    lab = rgb_to_lab(own)
    for image, found in zip(own, lab, strict=True):
        pixels = image.permute(1, 2, 0).reshape(-1, 3)
        wanted = [naive_lab(*pixel) for pixel in pixels.tolist()]
        np.testing.assert_allclose(found.permute(1, 2, 0).reshape(-1, 3).numpy(), wanted, rtol=0, atol=2e-3)
        opencv = cv2.cvtColor(pixels.view(1, -1, 3).numpy(), cv2.COLOR_RGB2LAB)
        # It looks its curves up in tables.
        np.testing.assert_allclose(found.permute(1, 2, 0).reshape(1, -1, 3).numpy(), opencv, rtol=0, atol=0.5)
    torch.testing.assert_close(lab_to_rgb(lab), own, rtol=0, atol=1e-4)


def test_white_is_100_and_has_no_color():
    white = rgb_to_lab(torch.ones(1, 3, 1, 1)).flatten().tolist()
    assert white == pytest.approx([100, 0, 0], abs=2e-3)


def test_lab_statistics_become_the_references():
    own, other = images(2, low=90, high=150), images(3, height=9, width=9, low=80, high=200)
    found = rgb_to_lab(match_lab(own, other))
    wanted = rgb_to_lab(other)
    torch.testing.assert_close(found.mean((2, 3)), wanted.mean((2, 3)), rtol=0, atol=1.5)
    torch.testing.assert_close(
        found.std((2, 3), correction=0), wanted.std((2, 3), correction=0), rtol=0.1, atol=0
    )
    source, reference = rgb_to_lab(own)[0, 0], rgb_to_lab(other)[0, 0]
    moved = (source - source.mean()) / source.std(correction=0) * reference.std(
        correction=0
    ) + reference.mean()
    inside = (found[0, 0] - moved).abs() < 0.01
    assert inside.float().mean() > 0.7  # the rest left the range of colors and was clipped


def test_a_flat_image_is_moved_and_not_blown_up():
    own, other = torch.full((1, 3, 4, 4), 0.5), images(3, batch=1)
    found = rgb_to_lab(match_lab(own, other))
    wanted = rgb_to_lab(other).mean((2, 3))
    torch.testing.assert_close(found, wanted.view(1, 3, 1, 1).expand_as(found), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("height", "width", "beta"), [(20, 30, 0.1), (21, 33, 0.2), (20, 20, 0.0), (16, 18, 0.45)]
)
def test_amplitudes_are_mixed_as_in_the_full_spectrum(height, width, beta):
    own, other = images(4, height=height, width=width), images(5, height=height, width=width)
    border = int(min(height, width) * beta)
    first, second = np.fft.fft2(own.numpy()), np.fft.fft2(other.numpy())
    rows, columns = np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width
    low = (np.abs(rows)[:, None] <= border + 1e-9) & (np.abs(columns)[None] <= border + 1e-9)
    mixed = np.where(low, np.abs(second) * np.exp(1j * np.angle(first)), first)
    wanted = np.clip(np.fft.ifft2(mixed).real, 0, 1)
    np.testing.assert_allclose(mix_amplitudes(own, other, beta).numpy(), wanted, rtol=0, atol=1e-5)


def test_amplitudes_are_mixed_as_in_the_loaders():
    own, other = images(6, batch=1), images(7, batch=1)
    arrays = [(x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy() for x in (own, other)]
    wanted = fourier_adapt(*arrays, beta=0.1)
    found = (mix_amplitudes(own, other, 0.1)[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(found - wanted).max() <= 1


def test_references_of_another_size_are_resized():
    found = mix_amplitudes(images(0), images(1, height=40, width=15), 0.0)
    assert found.shape == (2, 3, 20, 30)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_each_image_takes_its_own_reference(kind, dtype):
    batch = (images(0, batch=1).repeat(6, 1, 1, 1) * 255).round().to(dtype)
    references = torch.stack([torch.full((3, 5, 5), level) for level in (30, 120, 220)]).to(dtype)
    found = kind(probability=1)(batch, references, generator_at(2))
    assert found.dtype == dtype
    assert found.shape == batch.shape
    levels = {round(float(image.float().mean()) / 25) for image in found}
    assert len(levels) == 3
    again = kind(probability=1)(batch, references, generator_at(2))
    assert torch.equal(found, again)


@pytest.mark.parametrize("kind", KINDS)
def test_probability_and_strength(kind):
    batch = images(0, batch=8) * 255
    references = images(1, low=200) * 255
    assert torch.equal(kind(probability=0)(batch, references, generator_at(0)), batch)
    torch.testing.assert_close(kind(probability=1.0, strength=0)(batch, references, generator_at(0)), batch)
    half = kind(probability=0.5)(batch, references, generator_at(0))
    changed = (half != batch).flatten(1).any(1)
    assert changed.any()
    assert not changed.all()
    full = kind(probability=1.0)(batch, references, generator_at(0))
    blended = kind(probability=1.0, strength=0.25)(batch, references, generator_at(0))
    torch.testing.assert_close(blended, 0.75 * batch + 0.25 * full, rtol=0, atol=1e-3)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InputError, match="beta"):
        AmplitudeMixing(beta=0.5)
    with pytest.raises(InputError, match="beta"):
        mix_amplitudes(images(0), images(1), -0.1)
    with pytest.raises(InputError, match="strength"):
        ColorTransfer(strength=2)
    with pytest.raises(InputError, match="at least one"):
        ColorTransfer()(images(0), images(0)[:0], generator_at(0))
    with pytest.raises(InputError, match="references"):
        ColorTransfer()(images(0), images(0)[0], generator_at(0))


def test_one_style_changes_each_image_by_one_of_its_styles():
    own, references = images(1, batch=6) * 255, images(2, batch=3) * 255
    styles = (ColorTransfer(), HistogramMatching())
    moved = OneStyle(styles=styles, probability=1.0)(own, references, generator_at(0))
    generator = generator_at(0)
    drawn = (torch.rand(6, generator=generator) * 2).long()
    state = generator.get_state()
    both = []
    for style in styles:
        generator.set_state(state)
        both.append(replace(style, probability=1.0)(own, references, generator))
    assert set(drawn.tolist()) == {0, 1}
    for image, number in enumerate(drawn.tolist()):
        assert torch.equal(moved[image], both[number][image])


def test_one_style_needs_a_style():
    with pytest.raises(InputError, match="at least one style"):
        OneStyle()
