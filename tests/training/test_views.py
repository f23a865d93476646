"""Views of the online stage: which images are changed, and that pasted pixels come from the changed ones."""

from __future__ import annotations

import pytest
import torch

from hiast import online
from hiast.errors import InputError
from hiast.training.views import StepKey, Views

IMAGES = torch.randint(256, (400, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
ALWAYS = online.ColorJitter(probability=1.0)


def key(batch: int = 0) -> StepKey:
    return StepKey(seed=3, round_number=1, batch=batch, rank=0)


@pytest.mark.parametrize("plain", [0.0, 0.3, 1.0])
def test_a_share_of_the_source_images_stays_as_it_is(plain: float) -> None:
    views = Views(source=(ALWAYS,), plain=plain)
    diversified = views.diversified(IMAGES, IMAGES[:4], key())
    seen = views.source_view(IMAGES, diversified, key())
    kept = (seen == IMAGES).flatten(1).all(1)
    changed = (seen == diversified).flatten(1).all(1)
    assert (kept | changed).all()
    assert float(kept.float().mean()) == pytest.approx(plain, abs=0.08)
    again = views.source_view(IMAGES, diversified, key())
    assert torch.equal(seen, again)
    if plain == 0.3:
        assert not torch.equal(seen, views.source_view(IMAGES, diversified, key(1)))


def test_style_comes_before_the_color_augmentation() -> None:
    style = online.ColorTransfer(probability=1.0)
    both = Views(style=style, source=(ALWAYS,)).diversified(IMAGES, IMAGES[:4], key())
    styled = style(IMAGES, IMAGES[:4], key().generator("style"))
    assert torch.equal(both, ALWAYS(styled, key().generator("source")))
    assert Views().diversified(IMAGES, IMAGES[:4], key()) is IMAGES


@pytest.mark.parametrize("plain", [-0.1, 1.5, float("nan")])
def test_a_share_outside_of_0_to_1_is_refused(plain: float) -> None:
    with pytest.raises(InputError, match="Views: plain is"):
        Views(plain=plain)
