"""Scores against pixel loops, hand-made cases, and the sum over processes."""

from __future__ import annotations

import copy
import math
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from hiast.classes import CITYSCAPES_19, IGNORED, ROBOTCAR_9, SYNTHIA_19, LabelSpace
from hiast.errors import InputError
from hiast.evaluation import SegmentationMetrics, confusion_matrix, iou
from hiast.evaluation.metrics import scores

TWO = LabelSpace(("a", "b"), ((1, 2, 3), (4, 5, 6)))


def random_pair(
    seed: int, classes: int = 19, shape: tuple[int, ...] = (2, 9, 13)
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, shape).astype(np.uint8)
    prediction = np.where(rng.random(shape) < 0.6, label, rng.integers(0, classes, shape))
    label[rng.random(shape) < 0.1] = IGNORED
    return torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(label)


def naive_matrix(prediction: torch.Tensor, label: torch.Tensor, classes: int) -> np.ndarray:
    matrix = np.zeros((classes, classes), np.int64)
    for p, t in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True):
        if t != IGNORED:
            matrix[t, p] += 1
    return matrix


@pytest.mark.parametrize("classes", [1, 2, 9, 19, 127, 128, 254, 255])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_counts_equal_a_loop_over_pixels(classes: int, dtype: torch.dtype) -> None:
    prediction, label = random_pair(classes, classes)
    matrix = confusion_matrix(prediction.to(dtype), label, classes)
    assert matrix.dtype == torch.int64
    np.testing.assert_array_equal(matrix.numpy(), naive_matrix(prediction, label, classes))


def test_the_prediction_under_ignored_pixels_does_not_matter() -> None:
    prediction = torch.tensor([0, 1, 255, -1])
    label = torch.tensor([0, 1, IGNORED, IGNORED], dtype=torch.uint8)
    assert confusion_matrix(prediction, label, 2).tolist() == [[1, 0], [0, 1]]


def test_iou_of_a_matrix_counted_by_hand() -> None:
    # a: 3 hit, 1 missed, 2 wrongly found; b: 4 hit, 2 missed, 1 wrongly found; c: nowhere.
    matrix = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    np.testing.assert_array_equal(iou(matrix), [3 / 6, 4 / 7, np.nan])


def test_a_class_that_is_only_predicted_or_only_labeled_counts_as_zero_not_as_absent() -> None:
    np.testing.assert_array_equal(iou(np.array([[5, 2], [0, 0]])), [5 / 7, 0.0])
    np.testing.assert_array_equal(iou(np.array([[5, 0], [2, 0]])), [5 / 7, 0.0])


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [
        (CITYSCAPES_19, {"mIoU-19": 19}),
        (SYNTHIA_19, {"mIoU-16": 16, "mIoU-13": 13}),
        (ROBOTCAR_9, {"mIoU-9": 9}),
    ],
)
def test_each_mean_averages_the_classes_it_names(classes: LabelSpace, sizes: dict[str, int]) -> None:
    prediction, label = random_pair(1, len(classes), (4, 40, 40))
    metrics = SegmentationMetrics(classes)
    metrics.update(prediction, label)
    found = metrics.compute()
    assert list(found.means) == list(sizes)
    left_out = {
        "mIoU-16": {"terrain", "truck", "train"},
        "mIoU-13": {"terrain", "truck", "train", "wall", "fence", "pole"},
    }
    for title, size in sizes.items():
        names = [name for name in classes.names if name not in left_out.get(title, set())]
        assert len(names) == size
        expected = math.fsum(found.iou[name] for name in names) / size
        assert found.means[title] == pytest.approx(expected, abs=1e-15)
        assert found.published_means[title] == found.means[title]
    assert found.absent == ()
    assert found.pixel_accuracy == (prediction == label)[label != IGNORED].double().mean().item()


def test_an_absent_class_is_named_and_left_out_of_the_mean_but_not_of_the_published_one() -> None:
    matrix = np.diag([8, 6, 4, 0]) + np.eye(4, k=1, dtype=np.int64) * [0, 2, 0, 0]
    matrix[:, 3] = 0
    space = LabelSpace(
        ("a", "b", "c", "d"), ((0, 0, 0),) * 4, {"all": ("a", "b", "c", "d"), "cd": ("c", "d")}
    )
    found = scores(matrix, space)
    assert found.absent == ("d",)
    assert math.isnan(found.iou["d"])
    total = sum(found.iou[name] for name in "abc")
    assert found.means == {"all": total / 3, "cd": found.iou["c"]}
    assert found.published_means == {"all": total / 4, "cd": found.iou["c"] / 2}


def test_synthia_is_not_scaled_from_nineteen_when_a_left_out_class_is_predicted() -> None:
    prediction, label = random_pair(2, 19, (4, 30, 30))
    found = scores(confusion_matrix(prediction, label, 19).numpy(), SYNTHIA_19)
    scaled = sum(found.iou.values()) / 16
    assert found.iou["truck"] > 0
    assert found.means["mIoU-16"] < scaled


def test_nothing_labeled_gives_nan_everywhere() -> None:
    metrics = SegmentationMetrics(TWO)
    metrics.update(torch.zeros(1, 3, 3, dtype=torch.int64), torch.full((1, 3, 3), IGNORED, dtype=torch.uint8))
    found = metrics.compute()
    assert found.absent == ("a", "b")
    assert math.isnan(found.means["mIoU-2"])
    assert math.isnan(found.pixel_accuracy)
    assert found.published_means == {"mIoU-2": 0.0}


def test_counts_stay_exact_beyond_what_floats_hold() -> None:
    metrics = SegmentationMetrics(TWO)
    metrics.matrix += 2**53
    metrics.update(torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert metrics.compute().matrix.tolist() == [[2**53 + 1, 2**53], [2**53, 2**53]]
    metrics.half()
    assert metrics.matrix.dtype == torch.int64


@pytest.mark.parametrize(
    ("prediction", "label"), [([0, 2], [0, 1]), ([0, -1], [0, 1]), ([0, 1], [0, 2]), ([0, 1], [254, 1])]
)
def test_a_value_that_is_not_a_class_is_refused(prediction: list[int], label: list[int]) -> None:
    with pytest.raises(InputError, match="not classes"):
        confusion_matrix(torch.tensor(prediction), torch.tensor(label, dtype=torch.uint8), 2)


@pytest.mark.parametrize("classes", [2, 127, 128, 254, 255])
def test_no_wrong_value_passes_for_another(classes: int) -> None:
    nothing = torch.zeros(1, dtype=torch.int64)
    for value in (-300, -1, *range(classes, 255), 256, 511, 2**40):
        with pytest.raises(InputError, match="1 labels and 0 predictions"):
            confusion_matrix(nothing, torch.tensor([value]), classes)
        if 0 <= value <= 255:
            with pytest.raises(InputError, match="1 labels and 0 predictions"):
                confusion_matrix(nothing, torch.tensor([value], dtype=torch.uint8), classes)
    for value in (-300, -1, *range(classes, 256), 256, 511, 2**40):
        with pytest.raises(InputError, match="0 labels and 1 predictions"):
            confusion_matrix(torch.tensor([value]), nothing, classes)


def test_without_pixels_nothing_is_counted() -> None:
    empty = torch.zeros(0, 4, dtype=torch.uint8)
    assert confusion_matrix(empty, empty, 3).tolist() == [[0] * 3] * 3


def test_different_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        confusion_matrix(torch.zeros(1, 2, 3, dtype=torch.uint8), torch.zeros(1, 3, 2, dtype=torch.uint8), 2)


def test_copies_count_for_themselves() -> None:
    metrics = SegmentationMetrics(TWO)
    copied = copy.deepcopy(metrics)
    copied.update(torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert int(metrics.matrix.sum()) == 0
    assert int(copied.matrix.sum()) == 1


def count_in_a_process(rank: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=120))
    try:
        metrics = SegmentationMetrics(CITYSCAPES_19)
        for images in ([0, 2, 3, 4], [1]), ([0, 1, 2, 3, 4], []):
            for seed in images[rank]:
                metrics.update(*random_pair(seed))
            np.save(f"{folder}/{rank}_{len(images[1])}.npy", metrics.compute().matrix)
            metrics.reset()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_with_unequal_shares_count_each_image_once(tmp_path: Path) -> None:
    other = get_context("spawn").Process(target=count_in_a_process, args=(1, str(tmp_path)))
    other.start()
    count_in_a_process(0, str(tmp_path))
    other.join()
    expected = sum(naive_matrix(*random_pair(seed), 19) for seed in range(5))
    for path in (tmp_path / f"{rank}_{share}.npy" for rank in (0, 1) for share in (0, 1)):
        found = np.load(path)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)


def test_scores_do_not_move_when_the_counting_goes_on():
    metrics = SegmentationMetrics(CITYSCAPES_19)
    label = torch.zeros(2, 3, dtype=torch.uint8)
    metrics.update(label, label)
    before = metrics.compute()
    metrics.update(label, label)
    assert before.matrix.sum() == 6 and metrics.compute().matrix.sum() == 12
    before.matrix[:] = 0
    metrics.update(label, label)
    assert metrics.compute().matrix.sum() == 18


@pytest.mark.parametrize(
    ("prediction", "label", "sentence"),
    [
        (np.zeros((2, 3), np.uint8), torch.zeros(2, 3, dtype=torch.uint8), "Predictions are ndarray"),
        (torch.zeros(2, 3, dtype=torch.uint8), np.zeros((2, 3), np.uint8), "labels are ndarray"),
        (torch.full((2, 3), 0.9), torch.zeros(2, 3, dtype=torch.uint8), r"Predictions are torch\.float32"),
        (torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(2, 3), r"labels are torch\.float32"),
    ],
)
def test_what_is_no_tensor_of_integers_is_refused(prediction, label, sentence):
    with pytest.raises(InputError, match=sentence + r": give class indices as a tensor of integers"):
        SegmentationMetrics(TWO).update(prediction, label)
