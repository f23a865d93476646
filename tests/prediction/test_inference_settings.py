"""What ``predict`` takes as sizes, scales and windows, and what it refuses in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_network import CLASSES, TinyNetwork

from hiast import SegmentationModel
from hiast.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"scales": 1.5}, "scales is 1.5: give positive numbers"),
        ({"scales": ["a"]}, "scales is .'a'.: give positive numbers"),
        ({"scales": "12"}, "scales is 12: give positive numbers"),
        ({"window": 32}, "window: 32 is not .height, width, stride."),
        ({"window": "abc"}, "window: abc is not .height, width, stride."),
        ({"sizes": 32}, "sizes is 32: give a list"),
        ({"batch_size": "2"}, "batch_size is 2: give a whole number"),
        ({"batch_size": 1.5}, "batch_size is 1.5: give a whole number"),
    ],
)
def test_settings_of_another_form_are_refused(setting: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SegmentationModel(TinyNetwork(), CLASSES).predict([IMAGE], **setting)


def test_settings_may_be_arrays() -> None:
    model = SegmentationModel(TinyNetwork(), CLASSES)
    one = model.predict(IMAGE, sizes=[[16, 24]], scales=[0.5, 1], window=(8, 8, 4))
    sizes, window = np.array([[16, 24]]), np.array([8, 8, 4])
    other = model.predict(IMAGE, sizes=sizes, scales=np.array([0.5, 1]), window=window)  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.confidence, other.confidence)
