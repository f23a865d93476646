"""Selection against the list-based rule, and the properties that every policy has."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from list_rule import class_balanced, instance_adaptive, statistics

from hiast.errors import InputError
from hiast.pseudo_labels import Argmax, ClassBalanced, Constant, InstanceAdaptive, RoundStatistics, select


def draw_groups(seed, num_classes, groups=3, shape=(2, 6, 8), sharpness=4.0, shown=None):
    """Groups of top-1 probabilities; ``shown``: the only classes that are predicted."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(groups):
        logits = rng.standard_normal((num_classes, *shape)) * sharpness * rng.random()
        if shown is not None:
            logits[[k for k in range(num_classes) if k not in shown]] -= 100
        probabilities = torch.from_numpy(logits).float().softmax(0)
        confidence, prediction = probabilities.max(0)
        drawn.append((confidence.numpy(), prediction.numpy()))
    return drawn


def tensors(groups):
    return [(torch.from_numpy(confidence), torch.from_numpy(prediction)) for confidence, prediction in groups]


def assert_equal(selections, expected):
    for selection, (labels, thresholds) in zip(selections, expected, strict=True):
        np.testing.assert_array_equal(selection.thresholds, thresholds)
        np.testing.assert_array_equal(selection.labels.numpy(), labels)


seeds = st.integers(0, 2**32 - 1)
class_counts = st.integers(2, 32)
adaptive = st.fixed_dictionaries(
    {"alpha": st.floats(0.01, 1), "beta": st.floats(0, 1), "gamma": st.floats(0, 16)}
)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, num_classes=class_counts, parameters=adaptive)
def test_instance_adaptive_is_the_list_rule_bit_for_bit(seed, num_classes, parameters):
    groups = draw_groups(seed, num_classes)
    selections = select(tensors(groups), InstanceAdaptive(num_classes, **parameters))
    assert_equal(selections, instance_adaptive(groups, num_classes, **parameters))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, num_classes=class_counts, proportion=st.floats(0.01, 1), every=st.integers(1, 5))
@pytest.mark.filterwarnings("ignore:Never predicted")
def test_class_balanced_is_the_list_rule_bit_for_bit(seed, num_classes, proportion, every):
    groups = draw_groups(seed, num_classes)
    selections = select(tensors(groups), ClassBalanced(num_classes, proportion, every))
    assert_equal(selections, class_balanced(groups, num_classes, proportion, every))


@pytest.mark.parametrize("num_classes", [33, 100, 255])
def test_more_classes_than_float16_codes_were_counted_for(num_classes):
    groups = draw_groups(0, num_classes, sharpness=0.5)
    policy = InstanceAdaptive(num_classes)
    assert_equal(select(tensors(groups), policy), instance_adaptive(groups, num_classes, 0.5, 0.9, 8.0))


def test_confidences_that_are_not_top_1_probabilities():
    rng = np.random.default_rng(0)
    confidence = rng.random((4, 1, 40, 40), np.float32)
    confidence[0, 0, 0, :3] = (0, 1e-9, 6e-8)
    groups = [(c, rng.integers(0, 3, c.shape)) for c in confidence]
    assert_equal(select(tensors(groups), InstanceAdaptive(3)), instance_adaptive(groups, 3, 0.5, 0.9, 8.0))
    assert_equal(select(tensors(groups), ClassBalanced(3, 0.9)), class_balanced(groups, 3, 0.9, 1))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floating_types_are_used_as_float32(kind):
    groups = [(c.to(kind), p) for c, p in tensors(draw_groups(3, 5))]
    same = [(c.float(), p) for c, p in groups]
    for one, other in zip(
        select(groups, InstanceAdaptive(5)), select(same, InstanceAdaptive(5)), strict=True
    ):
        np.testing.assert_array_equal(one.thresholds, other.thresholds)
        assert torch.equal(one.labels, other.labels)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, num_classes=class_counts, parameters=adaptive)
def test_thresholds_stay_between_0_and_1(seed, num_classes, parameters):
    groups = tensors(draw_groups(seed, num_classes, groups=6, sharpness=30))
    for selection in select(groups, InstanceAdaptive(num_classes, **parameters)):
        assert ((selection.thresholds > 0) & (selection.thresholds < 1)).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, num_classes=class_counts, data=st.data())
def test_an_absent_class_keeps_its_threshold(seed, num_classes, data):
    absent = data.draw(st.integers(0, num_classes - 1))
    shown = [k for k in range(num_classes) if k != absent]
    groups = draw_groups(seed, num_classes, 2) + draw_groups(seed, num_classes, 3, shown=shown)
    results = [s.thresholds for s in select(tensors(groups), InstanceAdaptive(num_classes))]
    assert {float(t[absent]) for t in results[1:]} == {float(results[1][absent])}
    if any((prediction == k).any() for _, prediction in groups[2:] for k in shown):
        assert any((results[1] != results[-1]).tolist())


POLICIES = [InstanceAdaptive(5), ClassBalanced(5), ClassBalanced(5, 0.3, 4), Constant(5), Argmax(5)]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_selecting_twice_is_the_same_and_changes_nothing(policy):
    groups = tensors(draw_groups(7, 5, groups=5))
    before, untouched = copy.deepcopy(policy), copy.deepcopy(groups)
    first, second = list(select(groups, policy)), list(select(groups, policy))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.thresholds, other.thresholds)
        assert torch.equal(one.labels, other.labels)
    assert policy == before
    for group, same in zip(groups, untouched, strict=True):
        assert torch.equal(group[0], same[0])
        assert torch.equal(group[1], same[1])


@pytest.mark.parametrize("integer", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_inputs_are_left_alone(policy, integer):
    groups = [(c, p.to(integer)) for c, p in tensors(draw_groups(7, 5))]
    untouched = copy.deepcopy(groups)
    for selection in select(groups, policy):
        selection.labels.zero_()
    for group, same in zip(groups, untouched, strict=True):
        assert torch.equal(group[0], same[0])
        assert torch.equal(group[1], same[1])


@settings(max_examples=30, deadline=None)
@given(seed=seeds, permutation=st.permutations(range(4)))
@pytest.mark.parametrize("policy", [ClassBalanced(5), Constant(5), Argmax(5)], ids=str)
@pytest.mark.filterwarnings("ignore:Never predicted")
def test_order_does_not_matter_without_adaptation(policy, seed, permutation):
    groups = tensors(draw_groups(seed, 5, groups=4))
    straight = list(select(groups, policy))
    for index, selection in zip(permutation, select([groups[i] for i in permutation], policy), strict=True):
        assert torch.equal(selection.labels, straight[index].labels)
        np.testing.assert_array_equal(selection.thresholds, straight[index].thresholds)


def test_order_matters_to_instance_adaptive():
    groups = tensors(draw_groups(1, 5, groups=4))
    last = [list(select(order, InstanceAdaptive(5)))[-1].thresholds for order in (groups, groups[::-1])]
    assert (last[0] != last[1]).any()


def test_ties_are_kept_and_compared_in_float64():
    below, exact = np.nextafter(np.float32(0.9), np.float32(0)), np.float32(0.9)
    groups = tensors([(np.array([[[below, exact]]]), np.array([[[1, 1]]]))])
    assert float(below) < 0.9
    (selection,) = select(groups, Constant(2, 0.9))
    assert selection.labels.tolist() == [[[255, 1 if float(exact) >= 0.9 else 255]]]
    (selection,) = select(groups, Constant(2, float(exact)))
    assert selection.labels.tolist() == [[[255, 1]]]


def test_class_balanced_warns_of_a_class_that_is_never_predicted():
    groups = tensors(draw_groups(0, 4, shown=[0, 1, 3]))
    with pytest.warns(UserWarning, match="class 2"):
        selections = list(select(groups, ClassBalanced(4)))
    assert selections[0].thresholds[2] == 1


def test_class_balanced_needs_groups_it_can_go_through_twice():
    with pytest.raises(InputError, match="twice"):
        list(select(iter(tensors(draw_groups(0, 4))), ClassBalanced(4)))


def one(confidence, prediction):
    return [(torch.tensor([[confidence]]), torch.tensor([[prediction]]))]


@pytest.mark.parametrize("policy", [InstanceAdaptive(3), Constant(3), Argmax(3)], ids=str)
@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (one([0.5, float("nan")], [0, 1]), "between 0 and 1"),
        (one([0.5, float("inf")], [0, 1]), "between 0 and 1"),
        (one([0.5, 1.1], [0, 1]), "between 0 and 1"),
        (one([0.5, -0.1], [0, 1]), "between 0 and 1"),
        (one([0.5, 0.6], [0, 3]), "0 to 2"),
        (one([0.5, 0.6], [0, -1]), "0 to 2"),
        (one([0.5, 0.6], [0.0, 1.0]), "integer"),
        (one([0.5, 0.6], [True, False]), "integer"),
        (one([0.5, 0.6], [1]), "of that shape"),
        (one([1, 0], [1, 0]), "float tensor"),
    ],
)
def test_input_that_does_not_fit_is_refused(policy, groups, words):
    with pytest.raises(InputError, match=words):
        list(select(groups, policy))


def test_a_confidence_that_rounding_lifts_above_1_counts_as_1():
    groups = one([1.0000001, 0.7], [0, 1])
    (selection,) = select(groups, InstanceAdaptive(2))
    (clipped,) = select(one([1.0, 0.7], [0, 1]), InstanceAdaptive(2))
    np.testing.assert_array_equal(selection.thresholds, clipped.thresholds)


def test_empty_groups():
    for policy in (InstanceAdaptive(3), Constant(3), Argmax(3)):
        (selection,) = select([(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4, dtype=torch.int64))], policy)
        assert selection.labels.shape == (0, 4, 4)
        assert list(select([], policy)) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: InstanceAdaptive(3, alpha=0),
        lambda: InstanceAdaptive(3, alpha=1.1),
        lambda: InstanceAdaptive(3, beta=-0.1),
        lambda: InstanceAdaptive(3, gamma=-1),
        lambda: InstanceAdaptive(3, gamma=float("nan")),
        lambda: ClassBalanced(3, proportion=0),
        lambda: ClassBalanced(3, every=0),
        lambda: Constant(3, threshold=1.5),
        lambda: Argmax(0),
        lambda: Argmax(256),
    ],
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(InputError, match="must be"):
        make()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, num_classes=class_counts)
def test_statistics_are_those_of_pixel_loops(seed, num_classes):
    groups = draw_groups(seed, num_classes, groups=4)
    gathered = RoundStatistics(num_classes)
    labels = []
    for (confidence, _), selection in zip(
        tensors(groups), select(tensors(groups), InstanceAdaptive(num_classes)), strict=True
    ):
        gathered.update(confidence, selection.labels)
        labels.append(selection.labels.numpy())
    mean, pixels = statistics(groups, labels, num_classes)
    np.testing.assert_allclose(gathered.class_mean_confidence, mean, rtol=1e-14)
    np.testing.assert_array_equal(gathered.image_pixels, pixels)
    np.testing.assert_array_equal(gathered.class_pixels, pixels.sum(0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_gpu_selects_the_same(policy):
    groups = tensors(draw_groups(7, 5, groups=5, shape=(2, 64, 64)))
    device = [(c.cuda(), p.cuda()) for c, p in groups]
    here, there = RoundStatistics(5), RoundStatistics(5)
    for cpu, gpu, group in zip(select(groups, policy), select(device, policy), groups, strict=True):
        np.testing.assert_array_equal(cpu.thresholds, gpu.thresholds)
        assert torch.equal(cpu.labels, gpu.labels.cpu())
        here.update(group[0], cpu.labels)
        there.update(group[0].cuda(), gpu.labels)
    np.testing.assert_array_equal(here.class_mean_confidence, there.class_mean_confidence)


@pytest.mark.parametrize("policy", [Constant(2), InstanceAdaptive(2), ClassBalanced(2), Argmax(2)])
def test_arrays_are_refused_in_a_sentence(policy):
    with pytest.raises(InputError, match="have to be tensors, not ndarray and ndarray"):
        list(select([(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.int64))], policy))
