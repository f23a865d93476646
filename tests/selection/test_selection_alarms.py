from __future__ import annotations

import math

import pytest

from hiast.selection import AlarmLimits, Candidate, CandidateScores, raised
from hiast.selection.alarms import (
    ALARMS,
    classes_vanish,
    coverage_falls,
    histogram_far,
    no_labels_of_class,
    sure_and_wrong,
    teacher_and_student_part,
)

SOURCE = {"road": 0.7, "car": 0.29, "bicycle": 0.01, "train": 0.00001}
LIMITS = AlarmLimits()


def looks(*scores: dict[str, object]) -> list[Candidate]:
    return [Candidate(f"round-{i}", "", i, CandidateScores(**values)) for i, values in enumerate(scores)]


def test_a_healthy_history_raises_nothing() -> None:
    predicted = {"road": 0.7, "car": 0.29, "bicycle": 0.01, "train": 0.0}
    labels = {"road": 0.5, "car": 0.2, "bicycle": 0.005, "train": 0.0}
    healthy = {
        "entropy": 0.2, "consistency": 0.8, "teacher_miou": 0.9, "predicted": predicted, "labels": labels,
    }  # fmt: skip
    assert raised(looks(healthy, healthy | {"entropy": 0.1, "consistency": 0.85}), SOURCE) == ()


def test_nothing_measured_raises_nothing() -> None:
    assert raised([]) == ()
    assert raised(looks({}), SOURCE) == ()
    assert raised(looks({}, {}, {})) == ()


def test_vanished_classes_are_named() -> None:
    history = looks({"predicted": {"road": 0.99995, "car": 0.001, "bicycle": 0.00005, "train": 0.0}})
    assert classes_vanish(history, SOURCE, LIMITS) == (
        "round-0: these classes have nearly vanished from the predictions: car (0.1 %, 29 % in the source labels), "
        "bicycle (0.005 %, 1 % in the source labels)."
    )
    assert classes_vanish(history, {}, LIMITS) is None
    edge = looks({"predicted": {"road": 0.9, "car": 0.0029, "bicycle": 0.0001}})
    assert classes_vanish(edge, SOURCE, LIMITS) is None


@pytest.mark.parametrize(("miou", "alarms"), [(0.49, True), (0.5, False), (0.9, False), (math.nan, False)])
def test_teacher_and_student(miou: float, alarms: bool) -> None:
    found = teacher_and_student_part(looks({"teacher_miou": miou}), {}, LIMITS)
    assert (found is not None) is alarms
    if alarms:
        assert found == (
            "round-0: teacher and student have parted: the mIoU between their predictions is 49.0, under 50."
        )


def test_pseudo_labels_that_dry_up() -> None:
    history = looks(
        {},
        {"labels": {"road": 0.5, "car": 0.2, "bicycle": 0.01}},
        {"labels": {"road": 0.6, "car": 0.019, "bicycle": 0}},
    )
    assert coverage_falls(history, SOURCE, LIMITS) == (
        "round-2: pseudo-labels of these classes dry up: car (1.9 % of the pixels, 20 % in round-1)."
    )
    assert coverage_falls(history[:2], SOURCE, LIMITS) is None
    assert coverage_falls([*history, *looks({})], SOURCE, LIMITS) is None


def test_sure_and_wrong_against_the_most_consistent_look() -> None:
    slow = [{"entropy": 0.30 - 0.008 * i, "consistency": 0.80 - 0.015 * i} for i in range(5)]
    history = looks(*slow)
    assert sure_and_wrong(history[:2], {}, LIMITS) is None
    found = sure_and_wrong(history, {}, LIMITS)
    assert found == (
        "round-4: the network becomes surer and contradicts itself more: since round-0 the entropy fell from 0.300 to "
        "0.268, and the mIoU between views of an image from 80.0 to 74.0."
    )
    assert sure_and_wrong(looks(*slow, {}), {}, LIMITS) is None


@pytest.mark.parametrize(
    "now", [{"entropy": 0.1, "consistency": 0.8}, {"entropy": 0.4, "consistency": 0.5}, {"entropy": 0.1}]
)
def test_surer_alone_or_less_consistent_alone_is_not_an_alarm(now: dict[str, float]) -> None:
    assert sure_and_wrong(looks({"entropy": 0.3, "consistency": 0.8}, now), {}, LIMITS) is None


def test_histogram_far_from_the_start() -> None:
    history = looks({"predicted": {"road": 0.5, "car": 0.5}}, {}, {"predicted": {"road": 0.99, "car": 0.01}})
    found = histogram_far(history, {}, LIMITS)
    assert found == (
        "round-2: the histogram of predicted classes has moved by 0.64 nats from round-0 and source labels, more "
        "than 0.5."
    )
    assert histogram_far(history, {}, AlarmLimits(divergence=1)) is None
    assert histogram_far(history[:2], {}, LIMITS) is None
    assert histogram_far(history, {"road": 0.9, "car": 0.1}, LIMITS) is None


def test_classes_without_pseudo_labels_and_since_when() -> None:
    history = looks(
        {},
        {"labels": {"road": 0.5, "car": 0.2, "bicycle": 0.0, "train": 0.0, "bus": 0.1}},
        {"labels": {"road": 0.5, "car": 0.0, "bicycle": 0.0, "train": 0.0, "bus": 0.1}},
        {"labels": {"road": 0.5, "car": 0.0, "bicycle": 0.0, "train": 0.0, "bus": 0.0}},
    )
    # No source image has a train worth the name, and a bus had labels before.
    assert no_labels_of_class(history, SOURCE, LIMITS) == (
        "round-3: there is no pseudo-label of these classes: car since round-2, bicycle since round-1, bus since "
        "round-3."
    )
    assert no_labels_of_class(history[:1], SOURCE, LIMITS) is None


def test_a_class_whose_labels_came_back_is_not_an_alarm() -> None:
    history = looks({"labels": {"car": 0.1}}, {"labels": {"car": 0.0}}, {"labels": {"car": 0.1}})
    assert no_labels_of_class(history, SOURCE, LIMITS) is None


def test_a_collapse_raises_several_alarms_at_once() -> None:
    labels = {"road": 0.5, "car": 0.2, "bicycle": 0.01}
    history = looks(
        {
            "entropy": 0.3,
            "consistency": 0.8,
            "predicted": {"road": 0.5, "car": 0.3, "bicycle": 0.2},
            "labels": labels,
        },
        {
            "entropy": 0.0,
            "consistency": 0.5,
            "teacher_miou": 0.2,
            "predicted": {"road": 1.0, "car": 0.0, "bicycle": 0.0},
            "labels": {"road": 0.9, "car": 0.01, "bicycle": 0.0},
        },
    )
    alarms = raised(history, SOURCE)
    assert len(alarms) == len(ALARMS)
    assert all(sentence.startswith("round-1: ") and sentence.endswith(".") for sentence in alarms)
    assert raised(history, SOURCE) == alarms
    assert len(raised(history, SOURCE, alarms=(histogram_far,))) == 1


def test_source_shares_come_from_the_look_itself() -> None:
    scores = CandidateScores(predicted={"road": 1.0, "car": 0.0}, source_labels={"road": 0.8, "car": 0.2})
    (alarms,) = raised([Candidate("a", "a.ckpt", 1, scores)])
    assert "car (0 %, 20 % in the source labels)" in alarms
