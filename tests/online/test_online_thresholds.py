"""Moving thresholds against lists of confidences, the published arrays, and several processes against one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import online_ranks
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_online import class_balanced_threshold, instance_adaptive, predictions

from hiast.errors import InputError
from hiast.online import ClassBalanced, InstanceAdaptive
from hiast.online.confidences import at_least, count_confidences, quantile_with

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("select_ias_*.npz"))
levels = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
sixteenths = st.floats(0, 1, width=16)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(sixteenths, max_size=40), level=levels, extra=sixteenths | st.floats(0, 1))
def test_quantile_with_one_more_element_is_numpys_bit_for_bit(values, level, extra):
    confidence = torch.tensor([[[0.5, *values]]])  # of class 1, but for the first one
    prediction = torch.ones(confidence.shape, dtype=torch.int64)
    prediction[0, 0, 0] = 0
    counts = count_confidences(confidence, prediction, 2)[0]
    both = [torch.full((2,), number, dtype=torch.float64) for number in (level, extra)]
    found = quantile_with(counts, *both).tolist()
    assert found[0] == np.quantile(np.array([extra, 0.5]), level)
    assert found[1] == np.quantile(np.array([extra, *values], np.float64), level)


@settings(max_examples=200, deadline=None)
@given(confidence=st.floats(0, 1, width=32), threshold=st.floats(0, 1) | st.just(None))
def test_thresholds_are_compared_exactly(confidence, threshold):
    for limit in [confidence] if threshold is None else [threshold]:
        for near in (limit, np.nextafter(limit, 2), np.nextafter(limit, -1)):
            near = min(max(float(near), 0.0), 1.0)
            found = at_least(
                torch.full((1, 1, 1), confidence),
                torch.zeros(1, 1, 1, dtype=torch.int64),
                torch.tensor([near], dtype=torch.float64),
            )
            assert bool(found) == (float(np.float32(confidence)) >= near)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("integer", [torch.uint8, torch.int64], ids=str)
def test_instance_adaptive_equals_the_published_selection(path, integer):
    golden = np.load(path)
    parameters = json.loads(str(golden["parameters_json"]))
    size = parameters["batch_size"]
    trust = InstanceAdaptive(
        len(golden["class_pixels"]), parameters["alpha"], parameters["beta"], parameters["gamma"]
    )
    confidence = torch.from_numpy(golden["confidence"])
    prediction = torch.from_numpy(golden["prediction"]).to(integer)
    labels, thresholds = [], []
    for group in zip(confidence.split(size), prediction.split(size), strict=True):
        chosen = trust(*group)
        labels.append(chosen.labels.numpy())
        thresholds.append(trust.thresholds.tolist())
        assert torch.equal(chosen.weights, (chosen.labels != 255).float())
    np.testing.assert_array_equal(np.concatenate(labels), golden["pseudo_labels"])
    np.testing.assert_allclose(thresholds, golden["thresholds_per_group"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("classes", [1, 2, 19])
@pytest.mark.parametrize("per", ["batch", "image"])
@pytest.mark.parametrize("with_valid", [False, True])
def test_instance_adaptive_equals_lists(classes, per, with_valid):
    trust = InstanceAdaptive(classes, 0.4, 0.8, 2.0, start=0.7, per=per)
    batches, masks, labels = [], [], []
    for step in range(6):
        confidence, prediction = predictions(step, classes, (3, 6, 7))
        if step == 2:
            prediction = prediction.clamp(max=classes // 2)
        valid = torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(step)) < (
            0.6 if with_valid else 2
        )
        batches.append((confidence, prediction))
        masks.append(valid)
        labels.append(trust(confidence, prediction, valid if with_valid else None).labels)
    size = 3 if per == "batch" else 1
    groups = [
        (c.numpy(), p.numpy())
        for batch in batches
        for c, p in zip(batch[0].split(size), batch[1].split(size), strict=True)
    ]
    valid = [part.numpy() for mask in masks for part in mask.split(size)]
    start = np.full(classes, 0.7)
    expected = list(instance_adaptive(groups, start, 0.4, 0.8, 2.0, valid))
    np.testing.assert_array_equal(torch.cat(labels).numpy(), np.concatenate([found for found, _ in expected]))
    np.testing.assert_allclose(trust.thresholds.numpy(), expected[-1][1], rtol=0, atol=1e-12)


def test_instance_adaptive_equals_the_policy_of_the_rounds():
    from hiast.pseudo_labels import InstanceAdaptive as Policy
    from hiast.pseudo_labels import select

    groups = [predictions(step, 19, (2, 40, 50)) for step in range(30)]
    trust = InstanceAdaptive(19)
    for group, selection in zip(groups, select(groups, Policy(19)), strict=True):
        assert torch.equal(trust(*group).labels, selection.labels)
        np.testing.assert_allclose(trust.thresholds.numpy(), selection.thresholds, rtol=0, atol=1e-12)


def test_certainty_keeps_thresholds_below_1_and_absent_classes_keep_theirs():
    trust = InstanceAdaptive(3, alpha=0.01, beta=0.0)
    trust(torch.ones(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.int64))
    assert trust.thresholds.tolist() == [0.9, 0.999, 0.9]
    trust(torch.ones(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.bool))
    assert trust.thresholds.tolist() == [0.9, 0.999, 0.9]


@pytest.mark.parametrize(("proportion", "decay"), [(0.2, 0.0), (0.5, 0.9), (1.0, 0.5)])
def test_class_balanced_equals_lists(proportion, decay):
    trust = ClassBalanced(4, proportion, decay)
    batches = []
    for step in range(5):
        confidence, prediction = predictions(step, 3, (2, 5, 6))
        batches.append((confidence.numpy(), prediction.numpy()))
        labels, weights = trust(confidence, prediction)
        expected = [class_balanced_threshold(batches, k, proportion, decay) for k in range(4)]
        assert trust.current().tolist() == expected
        kept = confidence.half().double() >= torch.tensor(expected, dtype=torch.float64)[prediction]
        assert torch.equal(labels, prediction.to(torch.uint8).masked_fill(~kept, 255))
        assert torch.equal(weights, kept.float())
    if proportion == 0.5 and decay == 0.9:
        assert 0 < kept.float().mean() < 1


def test_class_balanced_keeps_a_share_of_every_class():
    trust = ClassBalanced(2, proportion=0.25, decay=0.0)
    prediction = torch.tensor([0] * 80 + [1] * 20).view(1, 10, 10)
    confidence = torch.linspace(0.5, 0.6, 100).view(1, 10, 10) + (prediction == 0) * 0.39
    labels = trust(confidence, prediction).labels
    # Confidences that are one float16 tie.
    assert 20 <= int((labels == 0).sum()) <= 22
    assert 5 <= int((labels == 1).sum()) <= 6


def test_class_balanced_keeps_its_share_of_a_class_that_is_nearly_certain():
    """In float16 these confidences are 1, which none of them reaches in float32."""
    trust = ClassBalanced(1, proportion=0.5)
    confidence = torch.full((1, 4, 4), 0.9999)
    assert (trust(confidence, torch.zeros(1, 4, 4, dtype=torch.int64)).labels == 0).all()


def test_a_class_that_was_never_predicted_has_the_threshold_1():
    assert ClassBalanced(3).current().tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("make", [lambda: InstanceAdaptive(5, per="image"), lambda: ClassBalanced(5)])
def test_a_state_dict_resumes_exactly(make):
    steps = [predictions(step, 5, (2, 8, 8)) for step in range(6)]
    straight = make()
    expected = [straight(*step) for step in steps]
    first = make()
    for step in steps[:3]:
        first(*step)
    second = make()
    second.load_state_dict(first.state_dict())
    for step, wanted in zip(steps[3:], expected[3:], strict=True):
        assert torch.equal(second(*step).labels, wanted.labels)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


@pytest.mark.parametrize("make", [lambda: InstanceAdaptive(5), lambda: ClassBalanced(5)])
def test_select_moves_nothing(make):
    trust = make()
    confidence, prediction = predictions(0, 5, (2, 8, 8))
    wanted = trust(confidence, prediction)
    before = {name: value.clone() for name, value in trust.state_dict().items()}
    found = trust.select(confidence, prediction)
    assert torch.equal(found.labels, wanted.labels)
    trust.select(*predictions(1, 5, (2, 8, 8)))
    assert all(torch.equal(value, trust.state_dict()[name]) for name, value in before.items())


def test_a_confidence_of_nan_is_never_out_of_bounds():
    confidence = torch.tensor([[[torch.nan, -torch.nan, torch.inf, -1.0]]])
    counts = count_confidences(confidence, torch.zeros(1, 1, 4, dtype=torch.int64), 1)
    assert int(counts.sum()) == 4


@pytest.mark.parametrize("per", ["batch", "image"])
def test_images_without_pixels_move_nothing(per):
    trust = InstanceAdaptive(3, per=per)
    labels, weights = trust(torch.zeros(2, 0, 4), torch.zeros(2, 0, 4, dtype=torch.int64))
    assert labels.shape == weights.shape == (2, 0, 4)
    assert trust.thresholds.tolist() == [0.9] * 3


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InputError, match="num_classes"):
        InstanceAdaptive(0)
    with pytest.raises(InputError, match="alpha"):
        InstanceAdaptive(3, alpha=0)
    with pytest.raises(InputError, match="gamma"):
        InstanceAdaptive(3, gamma=-1)
    with pytest.raises(InputError, match="per"):
        InstanceAdaptive(3, per="pixel")
    with pytest.raises(InputError, match="decay"):
        ClassBalanced(3, decay=1)
    with pytest.raises(InputError, match="proportion"):
        ClassBalanced(3, proportion=0)
    with pytest.raises(InputError, match="class indices"):
        ClassBalanced(3)(*predictions(0, 9, (1, 9, 9)))


@pytest.mark.slow
def test_two_processes_move_the_same_state_as_one(tmp_path):
    store, script = str(tmp_path / "store"), str(Path(__file__).with_name("online_ranks.py"))
    started = [subprocess.Popen([sys.executable, script, str(rank), store]) for rank in (0, 1)]
    labels, states = online_ranks.walk(slice(None))
    assert [process.wait(120) for process in started] == [0, 0]
    found = [torch.load(f"{store}.{rank}", weights_only=True) for rank in (0, 1)]
    for name, wanted in labels.items():
        assert torch.equal(torch.cat([part[name] for part, _ in found]), wanted), name
    for _, other in found:
        for name, state in states.items():
            for key, value in state.items():
                # Means of floats are averaged in another order; everything else is counted.
                tolerance = 1e-12 if name == "aligned" else 0
                torch.testing.assert_close(other[name][key], value, rtol=tolerance, atol=0, equal_nan=True)
