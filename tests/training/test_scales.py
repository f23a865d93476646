"""The loss of a network that looks at two scales, against the sum written out by hand."""

from __future__ import annotations

import pytest
import torch
from small_network import CLASSES, bare_trainer, draw, settings
from torch.nn import functional as F

from hiast import online
from hiast.errors import InputError
from hiast.models import HRDA
from hiast.training import OnlineModule, SourceOnlyModule, Views, WarmupModule

SIZE = (64, 80)
"""Padded to 64 x 128: the window hangs over the border."""
WINDOW = (32, 56, 32, 64)


def network(share: float = 0.1) -> HRDA:
    torch.manual_seed(0)
    made = HRDA(
        encoder="mit_b0",
        weights=None,
        num_classes=len(CLASSES),
        channels=8,
        detail=[32, 64],
        dropout=0.0,
        detail_share=share,
    )
    with torch.no_grad():  # Logits that matter: those of a new head are almost 0.
        for head in (made.decode_head.head, made.decode_head.scale_attention):
            head.conv_seg.weight.mul_(100)
    made._draw_window = lambda height, width: WINDOW  # type: ignore[method-assign]
    made.backbone.eval()  # Drop path draws anew in every pass.
    made.backbone.train = lambda mode=True: made.backbone  # type: ignore[method-assign]
    return made


def batch() -> dict:
    made = {}
    for seed, domain in enumerate(("source", "target")):
        sample = draw(seed, ignored=0.2)
        generator = torch.Generator().manual_seed(seed)
        sample["image"] = torch.randint(256, (2, 3, *SIZE), generator=generator).byte()
        label = torch.randint(len(CLASSES), (2, *SIZE), generator=generator).byte()
        label[:, :9, :7] = 255
        sample["label"] = label
        made[domain] = sample
    return made


def by_hand(
    made: HRDA, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None, share: float
) -> torch.Tensor:
    """(1 - share) * CE(fused) + share * CE(detail); sums over all pixels, or over labeled ones without weights."""
    scales = made.two_scales(images, WINDOW)
    fused = F.interpolate(scales.fused, (64, 128), mode="bilinear", align_corners=False)[
        ..., : SIZE[0], : SIZE[1]
    ]
    detail = F.interpolate(scales.detail, WINDOW[2:], mode="bilinear", align_corners=False)
    top, left, height, width = WINDOW
    around = (0, 128 - SIZE[1], 0, 64 - SIZE[0])
    cut = F.pad(labels, around, value=255)[:, top : top + height, left : left + width]
    total = torch.zeros(())
    for part, logits, target in ((1 - share, fused, labels), (share, detail, cut)):
        values = F.cross_entropy(logits, target.long(), ignore_index=255, reduction="none")
        if weights is None:
            total = total + part * values.sum() / target.ne(255).sum()
        else:
            inside = (
                weights
                if target is labels
                else F.pad(weights, around)[:, top : top + height, left : left + width]
            )
            total = total + part * (values * inside).sum() / target.numel()
    return total


def connected(module):
    module._trainer = bare_trainer()
    module.trainer.strategy.connect(module)
    return module.train()


@pytest.mark.parametrize("kind", [SourceOnlyModule, WarmupModule])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_source_loss_is_that_of_both_scales(kind, share):
    module = connected(kind(network(share), CLASSES, optimizer=settings(), max_steps=3, freeze_bn="full"))
    given = batch()
    source = given["source"]
    term = module.losses(given)["total" if kind is SourceOnlyModule else "source_cross_entropy"]
    expected = by_hand(module.network, module.normalize(source["image"]), source["label"], None, share)
    torch.testing.assert_close(term, expected)
    one_scale = by_hand(module.network, module.normalize(source["image"]), source["label"], None, 0.0)
    assert (abs(expected - one_scale) > 0.01) == bool(share)


@pytest.mark.parametrize("labels", ["hard", "soft"])
@pytest.mark.parametrize("joint", [True, False])
def test_online_losses_are_those_of_both_scales(labels, joint):
    options = {"labels": labels, "joint_batch": joint, "trust": online.PixelConfidence(0.0, soft=True)}
    module = OnlineModule(
        network(),
        CLASSES,
        optimizer=settings(),
        max_steps=3,
        freeze_bn="full",  # One image of a batch says nothing about the others.
        mixing=online.NoMixing(),
        views=Views(masking=online.BlockMasking(0.0, 8)),
        **options,
    )
    connected(module).teacher.eval()
    given = batch()
    terms = module.losses(given)
    source, images = given["source"], module.normalize(given["target"]["image"])
    expected = by_hand(module.network, module.normalize(source["image"]), source["label"], None, 0.1)
    torch.testing.assert_close(terms["source_cross_entropy"], expected)
    confidence, prediction = module.teacher.network(images).softmax(1).max(1)
    if labels == "hard":
        weights = confidence.detach()
        expected = by_hand(module.network, images, prediction.byte(), weights, 0.1)
        torch.testing.assert_close(terms["mixed"], expected)
        # Nothing is masked, so that the masked images are the mixed ones.
        torch.testing.assert_close(terms["masked"], expected)
    else:
        torch.testing.assert_close(terms["masked"], terms["mixed"])
    terms["total"].backward()
    learned = [value for value in module.network.decode_head.parameters() if value.requires_grad]
    assert learned and all(value.grad is not None for value in learned)


def test_the_share_is_checked_and_kept():
    assert network(0.25).recipe["detail_share"] == 0.25
    with pytest.raises(InputError, match=r"detail_share is 1.5"):
        network(1.5)
