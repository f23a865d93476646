"""Selection and statistics against the arrays of the published implementation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hiast.pseudo_labels import Argmax, ClassBalanced, Constant, InstanceAdaptive, RoundStatistics, select

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("select_*.npz"))


def policy_of(parameters, num_classes):
    return {
        "IAS": InstanceAdaptive(num_classes, parameters["alpha"], parameters["beta"], parameters["gamma"]),
        "CBST": ClassBalanced(num_classes, parameters["p"], parameters["interval"]),
        "CT": Constant(num_classes, parameters["threshold"]),
        "NT": Argmax(num_classes),
    }[parameters["policy"]]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("integer", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_selection_equals_the_published_one(path, integer):
    golden = np.load(path)
    parameters = json.loads(str(golden["parameters_json"]))
    num_classes = len(golden["class_pixels"])
    size = parameters["batch_size"]
    confidence = torch.from_numpy(golden["confidence"])
    prediction = torch.from_numpy(golden["prediction"]).to(integer)
    groups = list(zip(confidence.split(size), prediction.split(size), strict=True))
    statistics = RoundStatistics(num_classes, parameters["mean_gamma"])
    labels, thresholds = [], []
    for (group, _), selection in zip(groups, select(groups, policy_of(parameters, num_classes)), strict=True):
        statistics.update(group, selection.labels)
        labels.append(selection.labels.numpy())
        thresholds.append(selection.thresholds)
    chosen = np.concatenate(labels)
    assert chosen.dtype == np.uint8

    if parameters["policy"] == "NT":
        assert all(t is None for t in thresholds)
    else:
        tolerance = 5e-4 if parameters["policy"] == "CBST" else 1e-7
        np.testing.assert_allclose(
            np.array(thresholds), golden["thresholds_per_group"], rtol=0, atol=tolerance
        )
    if parameters["policy"] == "CBST":
        # The published threshold is interpolated in float16: pixels within its error may differ.
        limit = golden["thresholds_per_group"][0][golden["prediction"]]
        clear = np.abs(golden["confidence"] - limit) > 5e-4
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(chosen[clear], golden["pseudo_labels"][clear])
        return
    np.testing.assert_array_equal(chosen, golden["pseudo_labels"])
    np.testing.assert_array_equal(statistics.class_pixels, golden["class_pixels"])
    mean = statistics.class_mean_confidence
    np.testing.assert_array_equal(np.isnan(mean), golden["class_pixels"] == 0)
    np.testing.assert_allclose(np.nan_to_num(mean), golden["class_mean_confidence"], rtol=0, atol=1e-6)
    pixels = {
        str(k): [
            [str(name), int(row[k])]
            for name, row in zip(golden["image_names"], statistics.image_pixels, strict=True)
            if row[k]
        ]
        for k in range(num_classes)
    }
    published = json.loads(str(golden["image_pixels_json"]))
    assert {k: v for k, v in pixels.items() if v} == {
        k: [list(e) for e in v] for k, v in published.items() if v
    }
