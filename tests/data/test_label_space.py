"""Label spaces: what they refuse, and that they serve as keys."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from hiast.classes import CITYSCAPES_19, SYNTHIA_19, LabelSpace

BLACK = (0, 0, 0)


@pytest.mark.parametrize("color", [(0, 0, 300), (0, -1, 0), (0, 0), (0, 0, 0, 255), "#ffffff"])
def test_what_is_no_color_is_refused(color: Any) -> None:
    with pytest.raises(ValueError, match="is no color: give its red, green and blue"):
        LabelSpace(("a", "b"), (BLACK, color))


def test_a_mean_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="mIoU-0 names no class"):
        LabelSpace(("a", "b"), (BLACK, BLACK), {"mIoU-0": ()})


def test_colors_may_be_an_array() -> None:
    space = LabelSpace(("a", "b"), np.array([[1, 2, 3], [4, 5, 255]], np.uint8))  # type: ignore[arg-type]
    assert space.colors == ((1, 2, 3), (4, 5, 255))


def test_a_label_space_is_a_key() -> None:
    found = {CITYSCAPES_19: 1, SYNTHIA_19: 2}
    assert found[pickle.loads(pickle.dumps(SYNTHIA_19))] == 2
    assert hash(LabelSpace(**CITYSCAPES_19.to_dict())) == hash(CITYSCAPES_19)  # type: ignore[arg-type]
