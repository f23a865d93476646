"""Labeling a whole set in one process: equal to selection alone, overlapped, continued, refused."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labeling_job import (
    BROKEN,
    CLASSES,
    NAMES,
    POLICIES,
    SIZE,
    contents,
    label,
    predict,
    read_image,
    some_are_broken,
)

from hiast.data.geometry import resize_labels
from hiast.errors import InputError
from hiast.evaluation.signals import overlap
from hiast.pseudo_labels import Constant, RoundStatistics, select
from hiast.pseudo_labels.round_reader import RoundReader, read_signals


def groups_of(order, size):
    for start in range(0, len(order), size):
        batch = []
        for index in order[start : start + size]:
            image = read_image(index)
            if image.shape[:2] != SIZE:
                image = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
            batch.append(image)
        yield predict(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("group_size", [1, 2, 4])
@pytest.mark.parametrize("policy", POLICIES)
def test_equals_selection_in_the_seeded_order(tmp_path, policy, group_size):
    reader = label(tmp_path, policy, group_size=group_size)
    order = np.random.default_rng(888).permutation(len(NAMES))
    assert reader.manifest["identity"]["order"] == order.tolist()
    groups = list(groups_of(order, group_size))
    statistics, thresholds = RoundStatistics(CLASSES), []
    names = iter(order)
    for (confidence, _), selection in zip(groups, select(groups, POLICIES[policy]), strict=True):
        statistics.update(confidence, selection.labels)
        thresholds.append(selection.thresholds)
        for expected in selection.labels.numpy():
            np.testing.assert_array_equal(reader.label(NAMES[next(names)]), expected)
    assert reader.names == tuple(NAMES)
    np.testing.assert_array_equal(reader.image_pixels[order], statistics.image_pixels)
    np.testing.assert_array_equal(reader.class_mean_confidence, statistics.class_mean_confidence)
    if policy == "argmax":
        assert reader.thresholds is None
    else:
        np.testing.assert_array_equal(reader.thresholds, thresholds)


def test_the_same_call_gives_the_same_bytes_with_any_number_of_threads(tmp_path):
    label(tmp_path / "a", readers=1, writers=1)
    label(tmp_path / "b", readers=7, writers=5)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_order_is_seeded_and_matters(tmp_path):
    thresholds = [label(tmp_path / str(seed), seed=seed).thresholds for seed in (1, 2, None, (1, 2))]
    assert len({t.tobytes() for t in thresholds}) == 4
    assert RoundReader(tmp_path / "None").manifest["identity"]["order"] == list(range(len(NAMES)))


class Stop(BaseException):
    """As abrupt as an interrupt."""


@pytest.mark.parametrize("policy", ["adaptive", "balanced", "argmax"])
@pytest.mark.parametrize("error", [Stop, RuntimeError])
@pytest.mark.parametrize("seed", range(4))
def test_stopped_anywhere_and_continued_it_ends_with_the_same_bytes(tmp_path, policy, error, seed):
    label(tmp_path / "whole", policy)
    rng = np.random.default_rng(seed)
    for _ in range(2):
        left = int(rng.integers(0, 8 if policy != "balanced" else 14))

        def failing(images):
            nonlocal left
            if left == 0:
                raise error("stopped")
            left -= 1
            return predict(images)

        try:
            label(tmp_path / "1", policy, predict=failing)
        except error:
            continue
    reader = label(tmp_path / "1", policy)
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")
    assert reader.thresholds is None or len(reader.thresholds) == 6


class DeadAt:
    """From its n-th write on the process does nothing to the disk any more, not even tidy up, as after SIGKILL."""

    def __init__(self, monkeypatch, write):
        self.left, self.fsync, self.unlink = write, os.fsync, Path.unlink
        monkeypatch.setattr(os, "fsync", self.dying_fsync)
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: self.dying_unlink(path))

    def dying_fsync(self, file):
        self.left -= 1
        if self.left <= 0:
            raise Stop
        self.fsync(file)

    def dying_unlink(self, path):
        if self.left > 0:
            self.unlink(path, missing_ok=True)


@pytest.mark.parametrize("policy", ["adaptive", "balanced"])
def test_dead_at_any_write_and_continued_it_ends_with_the_same_bytes(tmp_path, monkeypatch, policy):
    label(tmp_path / "whole", policy, names=NAMES[:5])
    for write in range(1, 100):
        directory = tmp_path / str(write)
        with monkeypatch.context() as patch:
            dying = DeadAt(patch, write)
            try:
                label(directory, policy, names=NAMES[:5])
            except Stop:
                assert dying.left <= 0
        label(directory, policy, names=NAMES[:5])
        assert contents(directory) == contents(tmp_path / "whole")
        if dying.left > 0:
            break
    # Five labels, three groups, and at least the start, the thresholds, the statistics and the manifest.
    assert 5 + 3 + 4 < write < 99


def test_finished_groups_are_not_labeled_again(tmp_path):
    seen = []

    def failing(images):
        if len(seen) == 5:
            raise RuntimeError("stopped")
        seen.append(1)
        return predict(images)

    with pytest.raises(RuntimeError, match="stopped"):
        label(tmp_path, predict=failing, writers=1)
    journalled = len((tmp_path / "journal.jsonl").read_text().splitlines())
    assert journalled >= 2
    again = []
    label(tmp_path, predict=lambda images: (again.append(1), predict(images))[1])
    assert len(again) == 6 - journalled


def test_a_finished_survey_is_not_made_again(tmp_path):
    calls = []

    def failing(images):
        calls.append(1)
        if len(calls) > 6:
            raise RuntimeError("stopped")
        return predict(images)

    with pytest.raises(RuntimeError, match="stopped"):
        label(tmp_path, "balanced", predict=failing)
    again = []
    label(tmp_path, "balanced", predict=lambda images: (again.append(1), predict(images))[1])
    assert len(again) == 6


def test_the_caller_can_stop_in_both_passes(tmp_path):
    """And what has been counted is kept."""
    calls, reported = [], []

    def counted(images):
        calls.append(len(images))
        return predict(images)

    def stop(done, total):
        reported.append((done, total))
        if len(reported) == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        label(tmp_path, "balanced", predict=counted, progress=stop)
    assert reported == [(2, 2 * len(NAMES))]
    calls.clear()
    label(tmp_path, "balanced", predict=counted, progress=stop)
    assert sum(calls) == 2 * len(NAMES) - 2
    assert reported[-1] == (2 * len(NAMES), 2 * len(NAMES))


def test_a_complete_round_is_returned_without_the_network(tmp_path):
    label(tmp_path)
    before = contents(tmp_path)

    def never(*_):
        raise AssertionError

    assert label(tmp_path, predict=never, read_image=never).names == tuple(NAMES)
    assert contents(tmp_path) == before


def test_a_complete_round_that_is_damaged_is_refused(tmp_path):
    label(tmp_path)
    path = tmp_path / f"labels/{NAMES[3]}.png"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="frame_03"):
        label(tmp_path)


def test_another_checkpoint_is_refused_or_starts_anew(tmp_path):
    label(tmp_path / "a")
    with pytest.raises(InputError, match="differs in checkpoint, config"):
        label(tmp_path / "a", identity={"checkpoint": "cd34"})
    label(tmp_path / "a", identity={"checkpoint": "cd34"}, overwrite=True)
    label(tmp_path / "b", identity={"checkpoint": "cd34"})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_readers_error_reaches_the_caller(tmp_path):
    def broken(index):
        if index == 4:
            raise InputError("frame_04.png cannot be read.")
        return read_image(index)

    with pytest.raises(InputError, match="frame_04"):
        label(tmp_path, read_image=broken)
    label(tmp_path)


def test_a_full_disk_ends_in_the_systems_error_and_resumes_later(tmp_path, monkeypatch):
    label(tmp_path / "whole")
    real, calls = os.fsync, []

    def full(file):
        calls.append(1)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        label(tmp_path / "1")
    monkeypatch.undo()
    assert not (tmp_path / "1/manifest.json").exists()
    assert not list((tmp_path / "1").rglob("*.part"))
    label(tmp_path / "1")
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


def test_reading_network_and_writing_overlap_within_bounds(tmp_path):
    reading, lead = [], []
    labeled = 0
    events = {"read": threading.Event(), "write": threading.Event()}

    def slow_network(images):
        nonlocal labeled
        if labeled == 2:
            # Passes only if images of later groups are read and labels of earlier ones written meanwhile.
            assert events["read"].wait(10)
            assert events["write"].wait(10)
        time.sleep(0.01)
        labeled += 1
        return predict(images)

    def reader(index):
        reading.append(index)
        lead.append(len(reading) - 2 * labeled)
        if len(reading) > 6:
            events["read"].set()
        return read_image(index)

    def progress(done, total):
        assert total == len(NAMES)
        events["write"].set()

    label(tmp_path, read_image=reader, predict=slow_network, progress=progress, writers=1, names=NAMES)
    assert max(lead) <= 2 * 4


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (lambda x: (predict(x)[0][:, 1:], predict(x)[1][:, 1:]), "must have the shape"),
        (lambda x: (predict(x)[0] * float("nan"), predict(x)[1]), "between 0 and 1"),
        (lambda x: (predict(x)[0], predict(x)[1] + 2), "number of classes"),
        (lambda x: (predict(x)[0] * 0.1, predict(x)[1]), "largest of the 4"),
    ],
)
def test_a_networks_strange_output_is_refused(tmp_path, predict, words):
    with pytest.raises(InputError, match=words):
        label(tmp_path, predict=predict)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": []}, "nothing to label"),
        ({"group_size": 0}, "nothing to label"),
        ({"identity": {"seed": 3}}, "must not hold seed"),
        ({"names": ["a", "../b"]}, "leads out"),
        ({"read_image": lambda _: np.zeros((4, 4), np.uint8)}, "must be uint8"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        label(tmp_path, **change)


def test_gradients_are_off(tmp_path):
    weight = torch.ones((), requires_grad=True)

    def network(images):
        confidence, prediction = predict(images)
        assert not (confidence * weight).requires_grad
        return confidence, prediction

    label(tmp_path, predict=network)


def test_overlap_with_an_earlier_round(tmp_path):
    flipped = lambda images: predict(images.flip(1))  # noqa: E731
    one = label(tmp_path / "1", Constant(CLASSES, 0.7), predict=flipped)
    two = label(tmp_path / "2", Constant(CLASSES, 0.6), previous=tmp_path / "1")
    shares = [overlap(two.label(name), one.label(name)) for name in NAMES]
    assert 0 <= min(shares) < max(shares) < 1
    # A share of all pixels, as the coverage is, not a mean of the images.
    both = (np.concatenate([each.label(name).ravel() for name in NAMES]) for each in (two, one))
    assert two.overlap == overlap(*both)
    assert read_signals(tmp_path / "2") == {
        "labels/coverage": two.coverage,
        "labels/overlap": two.overlap,
    }
    assert one.overlap is None


def test_overlap_survives_an_interruption(tmp_path):
    label(tmp_path / "1", "argmax")
    label(tmp_path / "whole", previous=tmp_path / "1")
    with pytest.raises(RuntimeError, match="stopped"):
        label(tmp_path / "2", previous=tmp_path / "1", predict=failing_after(4), writers=1)
    label(tmp_path / "2", previous=tmp_path / "1")
    assert contents(tmp_path / "2") == contents(tmp_path / "whole")


def test_rounds_without_labels_have_no_overlap(tmp_path):
    label(tmp_path / "1", policy=Constant(CLASSES, 1.0))
    reader = label(tmp_path / "2", policy=Constant(CLASSES, 1.0), previous=tmp_path / "1")
    assert reader.overlap is None
    assert "NaN" not in (tmp_path / "2/statistics.json").read_text()
    other = label(tmp_path / "3", previous=tmp_path / "1", size=(6, 8), policy=Constant(CLASSES, 0.0))
    assert other.overlap is None


def failing_after(groups, error=RuntimeError):
    """The network, which fails after some groups."""
    left = groups

    def network(images):
        nonlocal left
        if left == 0:
            raise error("stopped")
        left -= 1
        return predict(images)

    return network


def test_labels_at_the_size_of_each_image(tmp_path):
    plain, reader = label(tmp_path / "network"), label(tmp_path / "image", label_size="image")
    assert reader.label_size is None
    np.testing.assert_array_equal(reader.image_pixels, plain.image_pixels)
    np.testing.assert_array_equal(reader.class_mean_confidence, plain.class_mean_confidence)
    assert reader.coverage == plain.coverage
    sizes = set()
    for index, name in enumerate(NAMES):
        height, width = read_image(index).shape[:2]
        sizes.add((height, width))
        np.testing.assert_array_equal(reader.label(name), resize_labels(plain.label(name), height, width))
    assert len(sizes) == 2


def test_images_that_keep_their_size(tmp_path):
    reader = label(tmp_path / "1", "argmax", size=None, group_size=1)
    for index, name in enumerate(NAMES):
        image = torch.from_numpy(read_image(index)).permute(2, 0, 1)
        np.testing.assert_array_equal(reader.label(name), predict(image[None])[1][0].numpy())
    assert reader.coverage == 1
    with pytest.raises(InputError, match=r"differ in size \(16 x 12, 21 x 24\).*group_size=1"):
        label(tmp_path / "2", size=None, seed=None)


@pytest.mark.parametrize("policy", ["adaptive", "balanced", "argmax"])
def test_images_that_cannot_be_read_are_left_out(tmp_path, policy):
    reader = label(tmp_path, policy, read_image=some_are_broken, unreadable="skip", group_size=2)
    rest = [name for index, name in enumerate(NAMES) if index not in BROKEN]
    assert reader.names == tuple(rest)
    assert reader.manifest["skipped"] == {
        NAMES[index]: f"frame_{index:02d}.png cannot be read." for index in BROKEN
    }
    order = np.random.default_rng(888).permutation(len(NAMES)).tolist()
    groups = [[i for i in order[g : g + 2] if i not in BROKEN] for g in range(0, len(order), 2)]
    outputs = [next(groups_of(group, 2)) for group in groups if group]
    selections = iter(select(outputs, POLICIES[policy]))
    for group in filter(None, groups):
        for index, expected in zip(group, next(selections).labels.numpy(), strict=True):
            np.testing.assert_array_equal(reader.label(NAMES[index]), expected)


def test_a_labeling_that_met_a_broken_image_continues_without_it(tmp_path):
    broken = int(np.random.default_rng(888).permutation(len(NAMES))[8])

    def read(index):
        if index == broken:
            raise InputError(f"{NAMES[index]} cannot be read.")
        return read_image(index)

    label(tmp_path / "whole", read_image=read, unreadable="skip")
    with pytest.raises(InputError, match="cannot be read"):
        label(tmp_path / "1", read_image=read, writers=1)
    finished = (tmp_path / "1/journal.jsonl").read_bytes().count(b'"sha256"')
    seen = []
    label(
        tmp_path / "1", read_image=read, unreadable="skip",
        predict=lambda images: (seen.append(len(images)), predict(images))[1],
    )  # fmt: skip
    assert finished >= 4
    assert sum(seen) == len(NAMES) - 1 - finished
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


def test_every_image_may_be_broken(tmp_path):
    def broken(index):
        raise InputError("no image")

    reader = label(tmp_path, read_image=broken, unreadable="skip")
    assert reader.names == () and reader.coverage == 0
    assert np.isnan(reader.class_mean_confidence).all()


def without(names, *gone):
    return [name for name in names if name not in gone]


def read_of(names):
    return lambda index: read_image(NAMES.index(names[index]))


@pytest.mark.parametrize("policy", ["adaptive", "balanced", "argmax"])
def test_a_round_resumes_after_images_were_removed(tmp_path, policy):
    passes = 6 if policy == "balanced" else 0
    with pytest.raises(RuntimeError, match="stopped"):
        label(tmp_path, policy, predict=failing_after(passes + 4), writers=1)
    order = [NAMES[i] for i in np.random.default_rng(888).permutation(len(NAMES))]
    records = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    finished = order[: 2 * len(records)]
    assert len(records) >= 2
    before = {name: (tmp_path / f"labels/{name}.png").read_bytes() for name in finished}
    # One image is gone whose label is there, one that is still to come, and there is a new one.
    names = [*without(NAMES, finished[0], order[-2]), "new/one"]
    read = lambda index: read_image(NAMES.index(names[index]) if names[index] in NAMES else 20)  # noqa: E731
    with pytest.raises(InputError, match="differs in names, order"):
        label(tmp_path, policy, names=names, read_image=read)
    seen = []
    reader = label(
        tmp_path, policy, names=names, read_image=read, keep_finished=True,
        predict=lambda images: (seen.append(len(images)), predict(images))[1],
    )  # fmt: skip
    assert set(reader.names) == {*names, finished[0]}
    assert sum(seen) == len(names) + 1 - len(finished)
    assert {name: (tmp_path / f"labels/{name}.png").read_bytes() for name in finished} == before
    identity = reader.manifest["identity"]
    sequence = [identity["names"][place] for place in identity["order"]]
    assert sequence == [*finished, *without(order[len(finished) :], order[-2]), "new/one"]
    assert label(tmp_path, policy, names=names, predict=None, keep_finished=True).names == reader.names


def test_a_complete_round_is_kept_when_images_were_removed_but_not_when_some_came(tmp_path):
    label(tmp_path)
    names = without(NAMES, NAMES[4])
    assert label(tmp_path, names=names, predict=None, keep_finished=True).names == tuple(NAMES)
    with pytest.raises(InputError, match="differs in names"):
        label(tmp_path, names=names, predict=None)
    with pytest.raises(InputError, match="differs in names"):
        label(tmp_path, names=[*NAMES, "new"], predict=None, keep_finished=True)
    with pytest.raises(InputError, match="differs in checkpoint"):
        label(tmp_path, names=names, predict=None, keep_finished=True, identity={"checkpoint": "other"})


def test_a_round_without_a_finished_group_starts_with_the_images_that_are_there(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        label(tmp_path / "1", "balanced", predict=failing_after(6))
    assert (tmp_path / "1/survey.npz").exists()
    names = without(NAMES, NAMES[4])
    label(tmp_path / "1", "balanced", names=names, read_image=read_of(names), keep_finished=True)
    label(tmp_path / "whole", "balanced", names=names, read_image=read_of(names))
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")
