"""Nothing on the way waits for the device: on the meta device, which has no values, looking at one is an error."""

from __future__ import annotations

import pytest
import torch

from hiast import online
from hiast.online import Labeled, generator_at
from hiast.upsampling import sum_dtype

B, C, H, W = 2, 5, 32, 48


def meta(kind, *shape):
    return torch.empty(shape, dtype=kind, device="meta")


def labeled():
    return Labeled(meta(torch.uint8, B, 3, H, W), meta(torch.uint8, B, H, W), meta(torch.float32, B, H, W))


def teacher():
    return online.confidence_and_prediction(meta(torch.float16, B, C, H, W))


def trusted(trust):
    found = trust.to("meta")(*teacher(), meta(torch.bool, B, H, W))
    return [found.labels, found.weights]


def confidence():
    running = online.RunningConfidence(C).to("meta")
    running.update(teacher()[0], meta(torch.uint8, B, H, W))
    return running.mean


CLASSES = torch.ones(C, dtype=torch.bool)
CALLS = {
    "ClassMix of an image": lambda: online.ClassMix()(labeled(), labeled(), generator_at(0)),
    "ClassMix of a batch": lambda: online.ClassMix("batch", False)(
        labeled(), labeled(), generator_at(0), CLASSES
    ),
    "HardClassPaste": lambda: online.HardClassPaste()(labeled(), labeled(), generator_at(0), CLASSES),
    "NoMixing": lambda: online.NoMixing()(labeled(), labeled(), generator_at(0)),
    "QualityWeight": lambda: trusted(online.QualityWeight()),
    "QualityWeight per image": lambda: trusted(online.QualityWeight(per="image")),
    "PixelConfidence": lambda: trusted(online.PixelConfidence(soft=True)),
    "InstanceAdaptive": lambda: trusted(online.InstanceAdaptive(C)),
    "InstanceAdaptive per image": lambda: trusted(online.InstanceAdaptive(C, per="image")),
    "ClassBalanced": lambda: trusted(online.ClassBalanced(C)),
    "DistributionAlignment": lambda: [
        online.DistributionAlignment(torch.ones(C)).to("meta")(meta(torch.float32, B, C, H, W))
    ],
    "class_ratio_floor": lambda: [
        online.class_ratio_floor(meta(torch.float16, B, C, H, W), meta(torch.float32, C))
    ],
    "RunningConfidence": lambda: [confidence()],
    "hard_classes": lambda: online.hard_classes(confidence(), 3, CLASSES),
    "draw_donors": lambda: [
        online.draw_donors(
            meta(torch.uint8, B, H, W), meta(sum_dtype(torch.device("meta")), C), generator_at(0)
        )
    ],
    "BlockMasking": lambda: online.BlockMasking(block=8)(meta(torch.float32, B, 3, H, W), generator_at(0)),
    "Margins": lambda: [
        online.Margins(bottom=0.2, unit="share").weights(
            (H, W), meta(torch.int64, B, 4), meta(torch.int64, B, 2), meta(torch.bool, B)
        )
    ],
    "ThingFeatureDistance": lambda: [
        online.ThingFeatureDistance((1, 2))(
            meta(torch.float16, B, 7, 4, 6), meta(torch.float32, B, 7, 4, 6), meta(torch.uint8, B, H, W)
        )
    ],
    "ProjectedFeatureDistance": lambda: [
        online.ProjectedFeatureDistance(7, 9).to("meta")(
            meta(torch.float32, B, 7, 4, 6), meta(torch.float32, B, 9, 5, 5)
        )
    ],
    "ColorChain": lambda: [
        online.ColorChain(
            [
                online.ColorJitter(),
                online.Grayscale(),
                online.Gamma(),
                online.ChannelMixing(),
                online.GaussianBlur(),
            ]
        )(meta(torch.uint8, B, 3, H, W), generator_at(0))
    ],
    **{
        kind.__name__: lambda kind=kind: [
            kind()(meta(torch.uint8, B, 3, H, W), meta(torch.uint8, 3, 3, 20, 20), generator_at(0))
        ]
        for kind in (online.HistogramMatching, online.ColorTransfer, online.AmplitudeMixing)
    },
    "weighted_cross_entropy": lambda: [
        online.weighted_cross_entropy(
            meta(torch.float16, B, C, H, W), meta(torch.uint8, B, H, W), meta(torch.float32, B, H, W)
        )
    ],
}


@pytest.mark.parametrize("name", CALLS)
def test_no_value_is_looked_at(name):
    for tensor in CALLS[name]():
        assert tensor.device.type == "meta"


def test_the_meta_device_notices():
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(meta(torch.float32, 1) > 0)
