"""HPLA: the golden arrays of the published code, naive pasting, and the distribution of the draws."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import chisquare

from hiast.data.augmentation.copy_paste import HardClassAugmentation, hard_class_paste
from hiast.errors import InputError

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(params=["copy_paste_1_hard.npz", "copy_paste_14_hard.npz"])
def golden(request):
    return np.load(GOLDEN / request.param)


def counts(labels: np.ndarray, classes: int = 19) -> np.ndarray:
    return np.stack([np.bincount(one[one != 255], minlength=classes) for one in labels]).astype(np.int64)


def hard_classes_of(golden):
    names = [f"im_{index:02d}" for index in range(len(golden["labels"]))]
    augmentation = HardClassAugmentation(count=int(golden["selected_num_classes"]))
    return augmentation.hard_classes(golden["class_values"], counts(golden["labels"]), names)


def test_hard_classes_and_probabilities_equal_the_golden_ones(golden):
    hard = hard_classes_of(golden)
    assert hard.hard_classes == tuple(golden["hard_classes"])
    published = golden["class_probs"][golden["hard_classes"]]
    np.testing.assert_allclose(
        hard.probabilities[golden["hard_classes"]], published / published.sum(), rtol=1e-12
    )
    others = np.setdiff1d(np.arange(19), golden["hard_classes"])
    assert (hard.probabilities[others] == 0).all()
    assert hard.probabilities.sum() == pytest.approx(1)


def test_donor_lists_equal_the_golden_ones(golden):
    hard = hard_classes_of(golden)
    published = json.loads(str(golden["samples_with_class_json"]))
    for class_index in hard.hard_classes:
        names = {f"im_{donor:02d}.png" for donor in hard.donors(class_index)}
        assert names == set(published[str(class_index)])


def test_pasting_equals_the_golden_arrays(golden):
    for index, (image, labels) in enumerate(zip(golden["images"], golden["labels"], strict=True)):
        donor = int(str(golden["drawn_file"][index])[3:5])
        result = hard_class_paste(
            image, labels, golden["images"][donor], golden["labels"][donor], golden["hard_classes"]
        )
        for ours, key in zip(result, ("out_images", "out_labels", "out_masks"), strict=True):
            np.testing.assert_array_equal(ours, golden[key][index])


def scene(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 20, (height, width), dtype=np.uint8)
    labels[labels == 19] = 255
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), labels


def test_pasting_equals_a_loop_over_pixels_and_leaves_its_inputs_alone():
    image, labels = scene(12, 20, 0)
    donor_image, donor_labels = scene(12, 20, 1)
    before = [array.copy() for array in (image, labels, donor_image, donor_labels)]
    hard = {3, 5, 18}
    new_image, new_labels, mask = hard_class_paste(image, labels, donor_image, donor_labels, hard)
    for y in range(12):
        for x in range(20):
            taken = int(donor_labels[y, x]) in hard
            assert mask[y, x] == (donor_labels[y, x] if taken else 255)
            assert new_labels[y, x] == (donor_labels if taken else labels)[y, x]
            assert (new_image[y, x] == (donor_image if taken else image)[y, x]).all()
    for array, old in zip((image, labels, donor_image, donor_labels), before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert not np.shares_memory(new_image, image)


def test_no_hard_class_means_no_change():
    image, labels = scene(6, 8, 0)
    new_image, new_labels, mask = hard_class_paste(image, labels, *scene(6, 8, 1), [])
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_labels, labels)
    assert (mask == 255).all()


def test_a_donor_of_another_size_is_resized():
    image, labels = scene(24, 40, 0)
    donor_image, donor_labels = scene(17, 50, 1)
    resized = cv2.resize(donor_image, (40, 24), interpolation=cv2.INTER_LINEAR)
    resized_labels = cv2.resize(donor_labels, (40, 24), interpolation=cv2.INTER_NEAREST)
    for ours, expected in zip(
        hard_class_paste(image, labels, donor_image, donor_labels, [1, 2, 3]),
        hard_class_paste(image, labels, resized, resized_labels, [1, 2, 3]),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, expected)


def test_labels_of_another_size_than_their_image_are_refused():
    image, labels = scene(6, 8, 0)
    with pytest.raises(InputError, match="image size"):
        hard_class_paste(image, labels[:5], image, labels, [1])


def statistics(images: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 50, (images, 19)) * (rng.random((images, 19)) < 0.7)
    return rng.uniform(0.3, 0.99, 19), pixels.astype(np.int64), [f"city/{i:03d}" for i in range(images)]


def test_draws_have_the_published_distribution():
    values, pixels, names = statistics()
    hard = HardClassAugmentation().hard_classes(values, pixels, names)
    rng = np.random.default_rng(7)
    draws = [hard.draw(rng) for _ in range(20000)]
    classes = np.bincount([draw[0] for draw in draws], minlength=19)
    chosen = np.argsort(values)[:14]
    weights = (1 - values[chosen]) ** 2
    assert classes.sum() == classes[chosen].sum()
    assert chisquare(classes[chosen], len(draws) * weights / weights.sum()).pvalue > 1e-3
    most = int(chosen[0])
    donors = np.array([draw[1] for draw in draws if draw[0] == most])
    _, per_donor = np.unique(donors, return_counts=True)
    assert len(per_donor) == len(hard.donors(most))
    assert chisquare(per_donor).pvalue > 1e-3


@pytest.mark.parametrize(
    ("holding", "dropped"), [(1, 0), (4, 0), (5, 0), (6, 1), (15, 2), (24, 2), (25, 2), (26, 3)]
)
def test_the_smallest_tenth_is_dropped_rounding_half_to_even(holding: int, dropped: int):
    pixels = np.zeros((holding + 2, 2), np.int64)
    pixels[:holding, 0] = np.arange(holding, 0, -1)
    names = [f"{i:02d}" for i in range(holding + 2)]
    hard = HardClassAugmentation().hard_classes(np.array([0.5, np.nan]), pixels, names)
    assert set(hard.donors(0)) == set(range(holding - dropped))


def test_ties_of_the_dropped_go_by_name():
    names = ["d", "a", "c", "b", "f", "e"]
    hard = HardClassAugmentation().hard_classes(np.array([0.5]), np.full((6, 1), 9), names)
    assert {names[donor] for donor in hard.donors(0)} == set("bcdef")


def test_classes_without_pixels_or_outside_the_source_are_never_hard():
    values, pixels, names = statistics()
    values[3] = np.nan
    pixels[:, 3] = 0
    values[4] = 0.01
    pixels[:, 4] = 0
    values[9] = 0.0
    hard = HardClassAugmentation(count=None).hard_classes(values, pixels, names, excluded={9, 14, 16})
    assert set(hard.hard_classes) == set(range(19)) - {3, 4, 9, 14, 16}
    assert hard.hard_classes == tuple(sorted(hard.hard_classes, key=lambda k: values[k]))
    rng = np.random.default_rng(0)
    assert {hard.draw(rng)[0] for _ in range(3000)} <= set(hard.hard_classes)
    assert len(hard.donors(9)) == 0


def test_nothing_hard_gives_no_draw_and_full_certainty_does_not_crash():
    nothing = HardClassAugmentation().hard_classes(
        np.full(4, np.nan), np.zeros((3, 4), np.int64), list("abc")
    )
    assert nothing.draw(np.random.default_rng(0)) is None
    certain = HardClassAugmentation().hard_classes(np.ones(2), np.ones((3, 2), np.int64), list("abc"))
    assert certain.draw(np.random.default_rng(0)) is not None


def test_nine_classes_are_all_hard():
    values, pixels, names = statistics()
    hard = HardClassAugmentation().hard_classes(values[:9], pixels[:, :9], names)
    assert len(hard.hard_classes) == 9


def test_power_zero_draws_evenly_and_pickles():
    values, pixels, names = statistics()
    hard = pickle.loads(pickle.dumps(HardClassAugmentation(power=0).hard_classes(values, pixels, names)))
    np.testing.assert_allclose(hard.probabilities[list(hard.hard_classes)], 1 / 14)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"donors": 0}, {"drop": 1.0}, {"power": -1}])
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(InputError):
        HardClassAugmentation(**wrong)


def test_statistics_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="label the images again"):
        HardClassAugmentation().hard_classes(np.ones(3), np.ones((2, 4), np.int64), ["a", "b"])


@pytest.mark.parametrize("drop", [0.5, 0.6, 0.99])
def test_one_donor_always_stays(drop: float):
    """A class that a single image holds, and a large ``drop``: its only donor must not be dropped."""
    pixels = np.array([[0, 10], [5, 10], [0, 3]])
    hard = HardClassAugmentation(2, drop=drop).hard_classes(np.array([0.5, 0.6]), pixels, list("abc"))
    assert hard.hard_classes == (0, 1)
    assert hard.donors(0).tolist() == [1]
    assert 1 <= len(hard.donors(1)) <= 2
    rng = np.random.default_rng(0)
    assert {hard.draw(rng)[0] for _ in range(100)} == {0, 1}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": np.zeros((4, 6), np.int64)}, "labels have to be arrays of uint8, not int64"),
        ({"donor_labels": np.zeros((4, 6), np.int32)}, "labels have to be arrays of uint8, not int32"),
        ({"image": np.zeros((4, 6, 3))}, "images have to be arrays of uint8, not float64"),
        ({"donor_image": [[0]]}, "images have to be arrays of uint8, not list"),
        ({"hard_classes": [-1]}, "Hard classes are class indices from 0 to 254"),
        ({"hard_classes": [255]}, "Hard classes are class indices from 0 to 254"),
        ({"hard_classes": [300]}, "Hard classes are class indices from 0 to 254"),
    ],
)
def test_what_cannot_be_pasted_is_refused(change, sentence):
    image, labels = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)
    given = {
        "image": image,
        "labels": labels,
        "donor_image": image,
        "donor_labels": labels,
        "hard_classes": [0],
    }
    with pytest.raises(InputError, match=sentence):
        hard_class_paste(**given | change)
