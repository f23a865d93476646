"""Color changes against torchvision's, image by image, and the law of the coins."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from hiast.errors import InputError
from hiast.online import ChannelMixing, ColorChain, ColorJitter, Gamma, GaussianBlur, Grayscale, generator_at
from hiast.online.blur import gaussian_blur
from hiast.online.color import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation

STEPS = [ColorJitter(), Grayscale(), Gamma(), ChannelMixing(), GaussianBlur()]


def images(seed=0, batch=4, height=24, width=36):
    drawn = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    drawn[0, :, :4] = drawn[0, :1, :4]  # gray pixels
    drawn[0, :, 4] = 0
    drawn[0, :, 5] = 1
    return drawn


def to_bytes(unit):
    return (unit * 255).round().to(torch.uint8)


@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (adjust_brightness, tv.adjust_brightness, [0.0, 0.6, 1.0, 1.7]),
        (adjust_contrast, tv.adjust_contrast, [0.0, 0.6, 1.0, 1.7]),
        (adjust_saturation, tv.adjust_saturation, [0.0, 0.6, 1.0, 1.7]),
        (adjust_hue, tv.adjust_hue, [-0.5, -0.1, 0.0, 0.37]),
    ],
)
def test_operations_equal_torchvisions_for_each_image(ours, theirs, values):
    batch = images()
    found = ours(batch, torch.tensor(values))
    for image, one, value in zip(batch, found, values, strict=True):
        torch.testing.assert_close(one, theirs(image, value), rtol=0, atol=2e-6)


def test_blur_equals_torchvisions_for_each_image():
    batch, sigmas = images(), torch.tensor([0.15, 0.5, 1.15, 3.0])
    found = gaussian_blur(batch, sigmas, (2, 4))
    for image, one, sigma in zip(batch, found, sigmas.tolist(), strict=True):
        wanted = tv.gaussian_blur(image, [9, 5], [sigma, sigma])
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "size"), [(512, 51), (510, 51), (64, 7), (60, 5), (1024, 103), (10, 1)])
def test_the_kernel_is_about_a_tenth_of_the_side(side, size):
    published = math.floor(math.ceil(0.1 * side) - 0.5 + math.ceil(0.1 * side) % 2)
    assert size == published
    assert 2 * GaussianBlur().radius(side) + 1 == size


def test_the_kernel_is_not_widened_by_a_rounding_error():
    assert math.ceil(0.14 * 100) == 15
    assert GaussianBlur(kernel=0.14).radius(100) == 6


def test_weights_that_are_left_out_change_nothing():
    batch = images(batch=1, height=200, width=220)
    sigma = torch.tensor([1.15])
    torch.testing.assert_close(
        gaussian_blur(batch, sigma, (7, 7)), gaussian_blur(batch, sigma, (10, 11)), rtol=0, atol=5e-7
    )


def test_an_image_too_small_to_blur_stays_as_it_is():
    batch = images(height=8, width=9)
    assert torch.equal(GaussianBlur().apply(batch, generator_at(0)), batch)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16], ids=str)
def test_type_shape_and_range_stay(step, kind):
    batch = to_bytes(images()).to(kind)
    before = batch.clone()
    found = step(batch, generator_at(3))
    assert found.dtype == kind
    assert found.shape == batch.shape
    assert torch.equal(batch, before)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 255
    assert not torch.equal(found, batch)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_generator_decides_the_draw(step):
    batch = images().repeat(2, 1, 1, 1)
    found = [step.apply(batch, generator_at(0, n)) for n in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    if step.draws:
        assert not torch.equal(found[0], found[2])
        assert not torch.equal(found[0][:4], found[0][4:]), "each image has its own amounts"


@pytest.mark.parametrize("shared", [False, True])
def test_images_are_changed_with_the_probability_and_else_left_alone(shared):
    batch = torch.rand(4, 3, 2, 2)
    step = Grayscale(probability=0.3, shared=shared)
    changed = torch.stack(
        [(step.apply(batch, generator_at(n)) != batch).flatten(1).any(1) for n in range(1000)]
    )
    deviation = math.sqrt(0.3 * 0.7 / (1000 if shared else 4000))
    assert abs(float(changed.float().mean()) - 0.3) < 5 * deviation
    together = (changed.all(1) | ~changed.any(1)).float().mean()
    assert together == 1 if shared else together < 0.5


def test_steps_do_not_move_each_others_draws():
    """Whether the jitter's coin falls or not, the blur after it draws the same numbers."""
    batch = images()
    never, always = (ColorChain([ColorJitter(0, 0, 0, 0, probability=p), GaussianBlur()]) for p in (0.0, 1.0))
    assert torch.equal(never(batch * 255, generator_at(1)), always(batch * 255, generator_at(1)))


def test_a_chain_rounds_once():
    batch = to_bytes(images())
    chain = ColorChain([Gamma(), ColorJitter(), GaussianBlur(probability=0.5)])
    exact = chain(batch.float(), generator_at(5))
    assert torch.equal(chain(batch, generator_at(5)), exact.round().to(torch.uint8))
    assert torch.equal(ColorChain([])(batch, generator_at(0)), batch)


def test_jitter_stays_within_its_strength_and_draws_its_order():
    half = torch.full((500, 3, 1, 1), 0.5)
    gray = ColorJitter(brightness=0.4, contrast=0, saturation=0, hue=0).apply(half, generator_at(0))
    assert 0.29 < float(gray.min()) < 0.31
    assert 0.69 < float(gray.max()) < 0.71
    batch = images(batch=1)
    one = torch.tensor([0.5])
    orders = {0: adjust_saturation(adjust_brightness(batch, one * 4), one)}
    orders[1] = adjust_brightness(adjust_saturation(batch, one), one * 4)
    assert not torch.allclose(orders[0], orders[1]), "so the order matters"
    results = set()
    step = ColorJitter(brightness=3.0, contrast=0, saturation=1.0, hue=0)
    for n in range(30):
        numbers = torch.rand(1, 9, generator=generator_at(n))[:, 1:]
        b, s = numbers[:, 0] * 4, numbers[:, 2] * 2
        found = step.apply(batch, generator_at(n))
        first = torch.allclose(found, adjust_saturation(adjust_brightness(batch, b), s), atol=1e-6)
        last = torch.allclose(found, adjust_brightness(adjust_saturation(batch, s), b), atol=1e-6)
        assert first or last
        assert first == last or first == bool(numbers[0, 4] < numbers[0, 6]), (
            "the amounts do not decide the order"
        )
        results.add((first, last))
    assert {(True, False), (False, True)} <= results


def test_gamma_and_channel_mixing_follow_their_formulas():
    batch = images(batch=2)
    numbers = torch.rand(2, 1, generator=generator_at(7))
    gamma = 1.5 ** (2 * numbers[:, 0] - 1)
    torch.testing.assert_close(Gamma(0.5).change(batch, numbers), batch ** gamma.view(2, 1, 1, 1))
    assert Gamma(strength=0).change(batch, numbers).equal(batch)
    mixing = ChannelMixing(strength=0.6)
    numbers = torch.rand(2, 9, generator=generator_at(8))
    found = mixing.change(batch, numbers)
    for b in range(2):
        weights = -torch.log(1 - numbers[b].view(3, 3))
        matrix = 0.4 * torch.eye(3) + 0.6 * weights / weights.sum(1, keepdim=True)
        torch.testing.assert_close(found[b], torch.einsum("ij,jhw->ihw", matrix, batch[b]), rtol=0, atol=1e-6)
    gray = batch[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(mixing.change(gray, numbers), gray, rtol=0, atol=1e-6)


def test_gray_images_stay_gray_under_a_shift_of_hue():
    gray = torch.rand(1, 1, 5, 5).expand(-1, 3, -1, -1)
    torch.testing.assert_close(adjust_hue(gray, torch.tensor([0.3])), gray, rtol=0, atol=1e-7)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InputError, match="probability"):
        Grayscale(probability=1.1)
    with pytest.raises(InputError, match="hue"):
        ColorJitter(hue=0.6)
    with pytest.raises(InputError, match="contrast"):
        ColorJitter(contrast=-0.1)
    with pytest.raises(InputError, match="sigmas"):
        GaussianBlur(smallest=0)
    with pytest.raises(InputError, match="strength"):
        ChannelMixing(strength=2)
    with pytest.raises(InputError, match="strength"):
        Gamma(strength=-1)
    with pytest.raises(InputError, match=r"\[B, 3, H, W\]"):
        Grayscale()(torch.zeros(3, 4, 4), generator_at(0))
    with pytest.raises(InputError, match="int64"):
        Grayscale()(torch.zeros(1, 3, 4, 4, dtype=torch.int64), generator_at(0))
