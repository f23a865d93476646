from __future__ import annotations

import numpy as np
import pytest
import torch
from small_network import CLASSES, TinyNetwork
from torch.nn import functional

from hiast.errors import InputError
from hiast.evaluation import predict_probabilities
from hiast.evaluation.inference import starts
from hiast.models.network import IMAGENET_MEAN, IMAGENET_STD
from hiast.prediction import InferenceSettings, predict_arrays
from hiast.prediction.windows import Windows, profile


def image(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network() -> TinyNetwork:
    return TinyNetwork(seed=1).eval()


def reference(network, images: torch.Tensor, window, weights: torch.Tensor) -> torch.Tensor:
    """The weighted mean, window by window over the whole picture."""
    height, width, stride = window
    rows, columns = images.shape[-2:]
    padded = functional.pad(images, (0, max(width - columns, 0), 0, max(height - rows, 0)))
    total = torch.zeros(1, len(CLASSES), *padded.shape[-2:])
    count = torch.zeros(padded.shape[-2:])
    tops = [*range(0, padded.shape[-2] - height, stride), padded.shape[-2] - height]
    lefts = [*range(0, padded.shape[-1] - width, stride), padded.shape[-1] - width]
    for top in tops:
        for left in lefts:
            place = (..., slice(top, top + height), slice(left, left + width))
            total[place] += network(padded[place]) * weights
            count[place[1:]] += weights
    return (total / count)[..., :rows, :columns]


@pytest.mark.parametrize("window", [(32, 32, 16), (32, 48, 20), (64, 64, 64), (16, 32, 5)])
@pytest.mark.parametrize("size", [(50, 70), (32, 32), (20, 90), (33, 47)])
def test_bands_are_the_weighted_mean_over_windows(network, window, size):
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    y, x = (torch.arange(n) - (n - 1) / 2 for n in window[:2])
    gauss = torch.exp(-0.5 * (y / (window[0] / 8)) ** 2)[:, None] * torch.exp(
        -0.5 * (x / (window[1] / 8)) ** 2
    )
    with torch.no_grad():
        for blend, weights in (("gaussian", gauss), ("mean", torch.ones(window[:2]))):
            found = Windows(network, window, blend)(images)
            torch.testing.assert_close(
                found, reference(network, images, window, weights), atol=2e-5, rtol=1e-4
            )


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("sizes", [None, ((40, 64),)])
def test_windows_equal_those_of_evaluation(network, flip, sizes):
    images = image(50, 70)
    settings = InferenceSettings(sizes=sizes, flip=flip, window=(32, 32, 16), blend="mean")
    (found,) = predict_arrays(network, images, settings, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    wanted = predict_probabilities(
        network,
        torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        sizes=sizes,
        flip=flip,
        window=(32, 32, 16),
        output_size=(50, 70),
    )[0]
    np.testing.assert_allclose(found.confidence, wanted.max(0).values, atol=1e-5)
    assert (found.labels == wanted.argmax(0).numpy()).mean() > 0.999


def test_a_window_that_holds_the_image_changes_nothing(network):
    images = image(32, 48, 2)
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    whole = predict_arrays(network, images, InferenceSettings(), **options)
    through = predict_arrays(network, images, InferenceSettings(window=(32, 48, 8)), **options)
    for one, other in zip(whole, through, strict=True):
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-6)
    assert all(one.confidence.min() > 0 and one.confidence.max() <= 1 for one in whole)


def test_scales_are_sizes():
    settings = InferenceSettings(sizes=((100, 200),), scales=(0.5, 1.0))
    assert settings.sizes_of((7, 9)) == [(50, 100), (100, 200)]
    assert InferenceSettings(scales=(0.01,)).sizes_of((7, 90)) == [(1, 1)]
    assert InferenceSettings().plain and not settings.plain


def test_profile_and_starts():
    assert starts(32, 32, 5) == [0] and starts(33, 32, 32) == [0, 1]
    weights = profile(9, "gaussian")
    assert weights.argmax() == 4 and torch.equal(weights, weights.flip(0)) and weights.min() > 0
    assert profile(1, "gaussian").tolist() == [1.0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sizes": ()}, "sizes is empty"),
        ({"sizes": ((3,),)}, "height, width"),
        ({"sizes": ((3, 0),)}, "above 0"),
        ({"scales": ()}, "scales is"),
        ({"scales": (-1.0,)}, "positive"),
        ({"window": (8, 8, 9)}, "stride"),
        ({"window": (8, 8)}, "stride"),
        ({"blend": "median"}, "gaussian or mean"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        InferenceSettings(**wrong)
