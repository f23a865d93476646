from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hiast.selection.views import VIEWS, ViewConsistency, recolored, smaller

NAMES = {view.name: view for view in VIEWS}


def drawn(size: tuple[int, int] = (64, 96), batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    small = torch.randint(0, 256, (batch, 3, 4, 6), generator=generator, dtype=torch.uint8)
    return small.repeat_interleave(size[0] // 4, 2).repeat_interleave(size[1] // 6, 3)


def by_brightness(images: Tensor) -> Tensor:
    """A network that sees one pixel at a time: bright or dark, with a wide margin for recolored pixels."""
    bright = (images.float().mean(1) > 128).float() * 0.9 + 0.05
    return torch.stack([1 - bright, bright], 1)


def constant(images: Tensor) -> Tensor:
    maps = torch.zeros(len(images), 2, *images.shape[-2:])
    maps[:, 1] = 1
    return maps


def left_half(images: Tensor) -> Tensor:
    """A network that goes by the place alone, so that it contradicts itself on every mirror image."""
    maps = torch.zeros(len(images), 2, *images.shape[-2:])
    half = images.shape[-1] // 2
    maps[:, 0, :, :half] = 1
    maps[:, 1, :, half:] = 1
    return maps


def consistency(predict, images: Tensor) -> dict[str, float]:
    counter = ViewConsistency(2)
    counter.update(predict, images, predict(images).argmax(1))
    return {name: scores.miou for name, scores in counter.compute().items()}


def test_a_network_that_goes_by_pixels_is_consistent_in_the_mirror() -> None:
    assert consistency(by_brightness, drawn())["flip"] == 1


def test_a_network_that_goes_by_places_is_not() -> None:
    found = consistency(left_half, drawn())
    assert found["flip"] == 0
    assert found["color"] == 1
    assert found["scale"] > 0.95


def test_a_constant_prediction_is_perfectly_consistent() -> None:
    assert consistency(constant, drawn()) == {"flip": 1, "scale": 1, "color": 1}


def test_views_are_what_they_say() -> None:
    images = drawn()
    assert (NAMES["flip"].apply(images)[..., 0] == images[..., -1]).all()
    changed = recolored(images)
    assert changed.dtype == torch.uint8
    gray = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)
    red, green, blue = recolored(gray).flatten().tolist()
    assert red > green > blue
    expected = [round(255 * (100 / 255) ** 0.8 * factor) for factor in (1.06, 1.0, 0.94)]
    assert [red, green, blue] == expected
    assert recolored(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8))[0, 0].item() == 255


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 1024), (384, 768)), ((96, 160), (64, 96)), ((32, 32), (32, 32)), ((20, 60), (32, 32))],
)
def test_scaled_sides_are_multiples_of_32(size: tuple[int, int], expected: tuple[int, int]) -> None:
    images = torch.full((1, 3, *size), 77, dtype=torch.uint8)
    assert smaller(images).shape[-2:] == expected
    assert (smaller(images) == 77).all()


def test_undoing_gives_back_the_size_and_place() -> None:
    images = drawn()
    for view in VIEWS:
        maps = view.undo(by_brightness(view.apply(images)), (64, 96))
        assert maps.shape == (2, 2, 64, 96)
        if view.name != "color":
            assert (maps.argmax(1) == by_brightness(images).argmax(1)).float().mean() > 0.9


def test_coarse_predictions_are_compared_at_their_own_size() -> None:
    def coarse(images: Tensor) -> Tensor:
        return by_brightness(images)[..., ::8, ::8]

    found = consistency(coarse, drawn())
    assert set(found) == {"flip", "scale", "color"}
    assert all(0 < value <= 1 for value in found.values())
