from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hiast.classes import LabelSpace
from hiast.selection import (
    Candidate,
    PredictionStore,
    class_shares,
    measure_source,
    measure_target,
    with_ensemble,
)

CLASSES = LabelSpace(("road", "sky", "car"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), {"mIoU-2": ("road", "sky")})


def network(offset: float = 0.0):
    """Looks at each pixel: dark is road, middle is car, bright is sky."""

    def predict(images: Tensor) -> Tensor:
        value = images.float().mean(1) / 255 + offset
        logits = torch.stack([-((value - center) ** 2) * 40 for center in (0.1, 0.9, 0.5)], 1)
        return logits.softmax(1)

    return predict


def pictures(count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 32, 64), generator=generator, dtype=torch.uint8) // 2 * 2


def batches(images: Tensor, size: int) -> list[tuple[list[int], Tensor]]:
    return [
        (list(range(first, min(first + size, len(images)))), images[first : first + size])
        for first in range(0, len(images), size)
    ]


def test_batches_make_no_difference(tmp_path: Path) -> None:
    found = []
    for size in (1, 2, 5):
        store = PredictionStore(tmp_path / str(size), 3)
        store.begin("a", "w")
        found.append(
            measure_target(
                network(),
                batches(pictures(), size),
                CLASSES,
                teacher=network(0.05),
                store=store,
                candidate="a",
            )
        )
    for other in found[1:]:
        for name in ("entropy", "infomax", "snd"):
            assert getattr(other, name) == pytest.approx(getattr(found[0], name), abs=1e-6)
        for name in ("views", "predicted", "teacher_miou", "consistency"):
            assert getattr(other, name) == getattr(found[0], name)
    files = [[p.read_bytes() for p in sorted((tmp_path / str(s)).rglob("*.npz"))] for s in (1, 2, 5)]
    assert files[0] == files[1] == files[2]
    assert len(files[0]) == 5
    assert found[0].consistency == pytest.approx(np.mean(list(found[0].views.values())))
    assert set(found[0].predicted) == set(CLASSES.names)
    assert 0 < found[0].teacher_miou < 1


def test_what_is_not_asked_for_is_not_known() -> None:
    found = measure_target(network(), batches(pictures(1), 1), CLASSES, views=())
    assert math.isnan(found.consistency)
    assert math.isnan(found.teacher_miou)
    assert math.isnan(found.ensemble_miou)
    assert found.views == {}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_images_nothing_is_known() -> None:
    found = measure_target(network(), [], CLASSES)
    assert math.isnan(found.entropy)
    assert found.predicted == {}


def test_source_miou_counts_the_reported_classes() -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    images[..., 2:] = 230
    label = torch.zeros(1, 4, 4, dtype=torch.uint8)
    label[..., 2:] = 1
    assert measure_source(network(), [(images, label)], CLASSES)[0] == 1
    label[..., 0, 0] = 255
    label[..., 1, 0] = 2
    # Road: 6 of 7 predicted pixels; the wrong one is labeled as a class that is not reported.
    miou, shares = measure_source(network(), [(images, label)], CLASSES)
    assert miou == pytest.approx((6 / 7 + 1) / 2)
    assert list(shares.values()) == pytest.approx([6 / 15, 8 / 15, 1 / 15])
    _, none = measure_source(network(), [], CLASSES)
    assert list(none.values()) == [0, 0, 0]


def test_source_predictions_are_resized_to_the_label() -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert measure_source(network(), [(images, torch.zeros(1, 9, 7, dtype=torch.uint8))], CLASSES)[0] == 1


def test_ensemble_scores_are_added(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, 3)
    candidates = []
    for name, offset in {"a": 0.0, "b": 0.02, "c": 0.3}.items():
        store.begin(name, name)
        scores = measure_target(network(offset), batches(pictures(), 2), CLASSES, store=store, candidate=name)
        candidates.append(Candidate(name, f"{name}.ckpt", 1, scores))
    look = Candidate("look", "", 2)
    *found, last = with_ensemble([*candidates, look], store, CLASSES)
    assert last == look
    assert min(found, key=lambda candidate: candidate.scores.ensemble_miou).name == "c"
    assert math.isnan(found[0].scores.previous_miou)
    assert found[1].scores.previous_miou > found[2].scores.previous_miou
    assert set(found[1].scores.previous_iou) == set(CLASSES.names)


def test_shares_of_counts() -> None:
    assert class_shares(CLASSES, np.array([5, 0, 15]), 40) == {"road": 0.125, "sky": 0, "car": 0.375}
    assert class_shares(CLASSES, np.zeros(3, np.int64), 0) == {"road": 0, "sky": 0, "car": 0}
