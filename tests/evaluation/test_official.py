"""The official Cityscapes evaluation finds the same numbers in the same files."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, lookup_table
from hiast.evaluation import Scores, SegmentationMetrics

IDS = np.array(list(CITYSCAPES_IDS), np.uint8)
CLASS_OF_ID = lookup_table(CITYSCAPES_IDS, 256)


@pytest.fixture(scope="module")
def official() -> ModuleType:
    module = import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    module.args.quiet = True
    module.args.JSONOutput = False
    module.args.evalInstLevelScore = False
    return module


def blunder(labels: np.ndarray, seed: int) -> np.ndarray:
    """A prediction with shifted edges and patches of wrong classes, also under ignored pixels."""
    rng = np.random.default_rng(seed)
    prediction = np.roll(labels, (2, -3), (0, 1))
    for _ in range(12):
        top, left = rng.integers(0, labels.shape[0]), rng.integers(0, labels.shape[1])
        prediction[top : top + 15, left : left + 25] = rng.integers(0, 19)
    prediction[prediction == 255] = rng.integers(0, 19)
    return prediction


def both(official: ModuleType, pairs: list[tuple[np.ndarray, Path]], folder: Path) -> tuple[Scores, dict]:
    """Ours and theirs, of predictions (classes) for labelIds files."""
    metrics = SegmentationMetrics(CITYSCAPES_19)
    files = []
    for number, (prediction, path) in enumerate(pairs):
        label = CLASS_OF_ID[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)]
        metrics.update(torch.from_numpy(prediction)[None].long(), torch.from_numpy(label)[None])
        files.append(folder / f"{number}.png")
        cv2.imwrite(str(files[-1]), IDS[prediction])
    theirs = official.evaluateImgLists(
        [str(f) for f in files], [str(path) for _, path in pairs], official.args
    )
    return metrics.compute(), theirs


def check(ours: Scores, theirs: dict) -> None:
    counts = np.asarray(theirs["confMatrix"], dtype=np.int64)
    np.testing.assert_array_equal(ours.matrix, counts[np.ix_(IDS, IDS)])
    for name, value in ours.iou.items():
        expected = theirs["classScores"][name]
        assert (math.isnan(value) and math.isnan(expected)) or abs(value - expected) <= 1e-12, name
    assert abs(ours.means["mIoU-19"] - theirs["averageScoreClasses"]) <= 1e-12


def test_counts_iou_and_mean_on_drawn_scenes(official: ModuleType, drawn_data: Path, tmp_path: Path) -> None:
    paths = sorted((drawn_data / "cityscapes/gtFine").glob("*/*/*_gtFine_labelIds.png"))
    assert len(paths) == 10
    pairs = [
        (blunder(CLASS_OF_ID[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)], seed), path)
        for seed, path in enumerate(paths)
    ]
    ours, theirs = both(official, pairs, tmp_path)
    assert 0.1 < ours.means["mIoU-19"] < 0.95
    check(ours, theirs)


def test_absent_classes_are_left_out_as_officially(official: ModuleType, tmp_path: Path) -> None:
    ids = np.full((20, 30), 7, np.uint8)
    ids[:5] = 11
    ids[-3:] = 4  # an id without a class
    path = tmp_path / "city_000000_000000_gtFine_labelIds.png"
    cv2.imwrite(str(path), ids)
    prediction = np.zeros((20, 30), np.uint8)
    prediction[:6] = 2
    prediction[:, 20:] = 18
    ours, theirs = both(official, [(prediction, path)], tmp_path)
    assert len(ours.absent) == 16
    check(ours, theirs)
