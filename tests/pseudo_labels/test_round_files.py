"""The files of a pseudo-label round."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle

import cv2
import numpy as np
import pytest

from hiast.errors import InputError
from hiast.pseudo_labels.journal import GroupRecord, LabelRecord
from hiast.pseudo_labels.round_files import label_path, write_label
from hiast.pseudo_labels.round_reader import RoundReader, read_signals
from hiast.pseudo_labels.round_writer import RoundWriter

NAMES = ["b/two", "a/one", "three", "über/vier"]
GROUPS = [[1, 0], [3, 2]]
IDENTITY = {
    "names": NAMES,
    "label_size": [6, 8],
    "num_classes": 3,
    "seed": 5,
    "order": [1, 0, 3, 2],
    "checkpoint": "ab12",
}


def label_of(index):
    return np.random.default_rng(index).choice(np.array([0, 1, 255], np.uint8), (6, 8))


def group_of(directory, group, thresholds=True):
    records = []
    for index in GROUPS[group]:
        label = label_of(index)
        pixels = tuple(int((label == k).sum()) for k in range(3))
        sha256 = write_label(directory, NAMES[index], label)
        records.append(LabelRecord(NAMES[index], sha256, (6, 8), pixels, tuple(0.7 * p for p in pixels)))
    values = (0.9, 0.8 + group / 7, 1 / 3)
    return GroupRecord(values if thresholds else None, tuple(records))


def write_round(directory, thresholds=True, identity=IDENTITY):
    with RoundWriter(directory, identity) as writer:
        for group in range(writer.groups, len(GROUPS)):
            writer.journal.append(group_of(directory, group, thresholds))
        writer.finish()


def contents(directory):
    """Files of a round; the lock file, which is always empty, is none of them."""
    found = {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    found.pop(".lock", None)
    return found


def test_what_is_written_is_read(tmp_path):
    write_round(tmp_path / "1")
    reader = RoundReader(tmp_path / "1", verify=True)
    assert reader.names == tuple(NAMES)
    assert reader.label_size == (6, 8)
    for index, name in enumerate(NAMES):
        np.testing.assert_array_equal(reader.label(name), label_of(index))
        assert reader.image_pixels[index].tolist() == [int((label_of(index) == k).sum()) for k in range(3)]
    np.testing.assert_allclose(reader.class_mean_confidence, [0.7, 0.7, np.nan], rtol=1e-15)
    np.testing.assert_array_equal(reader.thresholds, [[0.9, 0.8, 1 / 3], [0.9, 0.8 + 1 / 7, 1 / 3]])
    assert reader.manifest["identity"] == IDENTITY
    statistics = json.loads((tmp_path / "1/statistics.json").read_text())
    assert statistics["class_pixels"] == reader.image_pixels.sum(0).tolist()
    assert statistics["coverage"] == reader.coverage == reader.image_pixels.sum() / (4 * 48)
    assert reader.pixels == 4 * 48
    assert reader.overlap is None
    assert read_signals(tmp_path / "1") == {"labels/coverage": reader.coverage}
    assert sorted(contents(tmp_path / "1")) == sorted(
        [
            "labels.csv",
            "manifest.json",
            "statistics.json",
            "thresholds.csv",
            *(f"labels/{name}.png" for name in NAMES),
        ]
    )
    picture = cv2.imread(str(tmp_path / "1/labels/three.png"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (6, 8)
    assert picture.dtype == np.uint8


def test_without_thresholds(tmp_path):
    write_round(tmp_path, thresholds=False)
    assert RoundReader(tmp_path).thresholds is None
    assert not (tmp_path / "thresholds.csv").exists()


def test_a_reader_goes_to_loader_workers(tmp_path):
    write_round(tmp_path)
    copy = pickle.loads(pickle.dumps(RoundReader(tmp_path)))
    np.testing.assert_array_equal(copy.label("three"), label_of(2))


def test_an_interrupted_round_resumes_and_ends_with_the_same_bytes(tmp_path):
    write_round(tmp_path / "whole")
    with RoundWriter(tmp_path / "1", IDENTITY) as writer:
        writer.journal.append(group_of(tmp_path / "1", 0))
        group_of(tmp_path / "1", 1)
    (tmp_path / "1/labels/.three.png.0f.part").write_bytes(b"half")
    with pytest.raises(InputError, match="no complete"):
        RoundReader(tmp_path / "1")
    with RoundWriter(tmp_path / "1", IDENTITY) as writer:
        assert writer.groups == 1
        assert [r.labels[0].name for r in writer.journal.records()] == ["a/one"]
    write_round(tmp_path / "1")
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")
    with RoundWriter(tmp_path / "1", IDENTITY) as writer:
        assert writer.complete


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_journal_line_is_labeled_again(tmp_path, cut):
    write_round(tmp_path / "whole")
    with RoundWriter(tmp_path / "1", IDENTITY) as writer:
        writer.journal.append(group_of(tmp_path / "1", 0))
        writer.journal.append(group_of(tmp_path / "1", 1))
    journal = tmp_path / "1/journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    with RoundWriter(tmp_path / "1", IDENTITY) as writer:
        assert writer.groups == 1
    write_round(tmp_path / "1")
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-7])])
def test_a_label_lost_before_completion_is_made_again(tmp_path, harm):
    with RoundWriter(tmp_path, IDENTITY) as writer:
        writer.journal.append(group_of(tmp_path, 0))
        writer.journal.append(group_of(tmp_path, 1))
    harm(tmp_path / "labels/b/two.png")
    with RoundWriter(tmp_path, IDENTITY) as writer:
        assert writer.groups == 0
    write_round(tmp_path)
    RoundReader(tmp_path, verify=True)


def test_stopped_right_after_the_manifest(tmp_path):
    write_round(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(b"")
    (tmp_path / "started.json").write_text(json.dumps({"identity": IDENTITY}))
    with RoundWriter(tmp_path, IDENTITY) as writer:
        assert writer.complete
    assert contents(tmp_path) == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_round_is_refused_or_discarded(tmp_path, finished):
    if finished:
        write_round(tmp_path)
    else:
        with RoundWriter(tmp_path, IDENTITY) as writer:
            writer.journal.append(group_of(tmp_path, 0))
    before = contents(tmp_path)
    other = IDENTITY | {"seed": 6, "checkpoint": "cd34"}
    with pytest.raises(InputError, match="differs in checkpoint, seed"):
        RoundWriter(tmp_path, other)
    assert contents(tmp_path) == before
    with RoundWriter(tmp_path, other, overwrite=True) as writer:
        assert writer.groups == 0
        assert not writer.complete
    write_round(tmp_path, identity=other)
    write_round_elsewhere = tmp_path.parent / f"{tmp_path.name}_other"
    write_round(write_round_elsewhere, identity=other)
    assert contents(tmp_path) == contents(write_round_elsewhere)


def test_a_discarding_cut_short_is_still_a_round(tmp_path, monkeypatch):
    write_round(tmp_path)
    other = IDENTITY | {"seed": 6}
    monkeypatch.setattr("shutil.rmtree", lambda *_: (_ for _ in ()).throw(OSError("stopped")))
    with pytest.raises(OSError, match="stopped"):
        RoundWriter(tmp_path, other, overwrite=True)
    monkeypatch.undo()
    with pytest.raises(InputError, match="differs in seed"):
        RoundWriter(tmp_path, other)
    RoundWriter(tmp_path, other, overwrite=True).close()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_foreign_folder_is_never_touched(tmp_path, overwrite):
    (tmp_path / "holiday.png").write_bytes(b"precious")
    with pytest.raises(InputError, match="not a pseudo-label round"):
        RoundWriter(tmp_path, IDENTITY, overwrite=overwrite)
    assert contents(tmp_path) == {"holiday.png": b"precious"}


def test_two_writers_keep_out_of_each_others_way(tmp_path):
    with (
        RoundWriter(tmp_path, IDENTITY),
        pytest.raises(InputError, match="Another process"),
    ):
        RoundWriter(tmp_path, IDENTITY)
    RoundWriter(tmp_path, IDENTITY).close()


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "..", "a/..", "a\\..\\x", "C:\\x", "a\0b"]
)
def test_names_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="leads out"):
        label_path(tmp_path, name)
    with pytest.raises(InputError, match="leads out"):
        RoundWriter(tmp_path / "1", IDENTITY | {"names": [name]})
    assert not (tmp_path / "1").exists()


def test_links_cannot_lead_out_of_the_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(b"secret")
    labels = tmp_path / "1/labels"
    labels.mkdir(parents=True)
    (labels / "a").symlink_to(outside)
    (labels / "x.png").symlink_to(outside / "x.png")
    for name in ("a/x", "x"):
        with pytest.raises(InputError, match="leads out"):
            write_label(tmp_path / "1", name, label_of(0))
    assert contents(outside) == {"x.png": b"secret"}


def rename_in_tables(directory, old, new):
    """Forge a round: another name for an image, with right hashes."""
    table, manifest = directory / "labels.csv", directory / "manifest.json"
    before = hashlib.sha256(table.read_bytes()).hexdigest()
    table.write_text(table.read_text().replace(old, new))
    text = manifest.read_text().replace(f'"{old}"', f'"{new}"')
    manifest.write_text(text.replace(before, hashlib.sha256(table.read_bytes()).hexdigest()))


def test_a_manifest_cannot_lead_out_of_the_folder(tmp_path):
    write_round(tmp_path / "1")
    secret = tmp_path / "secret.png"
    secret.write_bytes((tmp_path / "1/labels/three.png").read_bytes())
    rename_in_tables(tmp_path / "1", "three", "../../secret")
    with pytest.raises(InputError, match="leads out"):
        RoundReader(tmp_path / "1").label("../../secret")
    with pytest.raises(InputError, match="leads out"):
        RoundReader(tmp_path / "1", verify=True)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-9])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [truncated, flipped, lambda p: p.unlink(), lambda p: p.write_bytes(b"")])
def test_a_damaged_label_is_named(tmp_path, harm):
    write_round(tmp_path)
    harm(tmp_path / "labels/a/one.png")
    with pytest.raises(InputError, match=r"a/one\.png"):
        RoundReader(tmp_path, verify=True)
    reader = RoundReader(tmp_path)
    with pytest.raises(InputError, match=r"a/one\.png"):
        reader.label("a/one")
    np.testing.assert_array_equal(reader.label("three"), label_of(2))


@pytest.mark.parametrize("wrong", [np.zeros((6, 9), np.uint8), np.zeros((6, 8, 3), np.uint8), None])
def test_a_label_of_another_kind_is_named_even_if_the_manifest_agrees(tmp_path, wrong):
    write_round(tmp_path)
    content = b"no picture" if wrong is None else cv2.imencode(".png", wrong)[1].tobytes()
    path = tmp_path / "labels/three.png"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(content)
    rename_in_tables(tmp_path, old, hashlib.sha256(content).hexdigest())
    with pytest.raises(InputError, match=r"three.png is not an 8-bit gray picture of 6x8"):
        RoundReader(tmp_path).label("three")


@pytest.mark.parametrize("file", ["manifest.json", "labels.csv", "statistics.json", "thresholds.csv"])
@pytest.mark.parametrize("harm", [truncated, lambda p: p.unlink(), lambda p: p.write_bytes(b"[1]")])
def test_damaged_books_are_refused(tmp_path, file, harm):
    write_round(tmp_path)
    harm(tmp_path / file)
    with pytest.raises(InputError, match=file):
        RoundReader(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("identity"),
        lambda m: m["identity"]["names"].remove("three"),
        lambda m: m["identity"]["names"].append("four"),
        lambda m: m["identity"].update(label_size=[6, 9]),
        lambda m: m["identity"].update(label_size=6),
        lambda m: m["identity"].update(num_classes=4),
        lambda m: m.update(format=99),
        lambda m: m.update(files=None),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, change):
    write_round(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json"):
        RoundReader(tmp_path)


def test_an_unknown_image_is_named(tmp_path):
    write_round(tmp_path)
    with pytest.raises(InputError, match="'four'"):
        RoundReader(tmp_path).label("four")


def test_the_same_name_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="same name"):
        RoundWriter(tmp_path, IDENTITY | {"names": ["a", "b", "a"]})


def test_a_full_disk_leaves_a_round_that_can_be_resumed(tmp_path, monkeypatch):
    write_round(tmp_path / "whole")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = RoundWriter(tmp_path / "1", IDENTITY)
    writer.journal.append(group_of(tmp_path / "1", 0))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_label(tmp_path / "1", "three", label_of(2))
    writer.close()
    monkeypatch.undo()
    write_round(tmp_path / "1")
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


def test_a_full_disk_while_completing_leaves_no_manifest(tmp_path, monkeypatch):
    write_round(tmp_path / "whole")
    with RoundWriter(tmp_path / "1", IDENTITY) as writer:
        for group in range(2):
            writer.journal.append(group_of(tmp_path / "1", group))
        calls = []

        def full_at_the_manifest(_):
            calls.append(1)
            if len(calls) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full_at_the_manifest)
        with pytest.raises(OSError, match="No space"):
            writer.finish()
        monkeypatch.undo()
    assert not (tmp_path / "1/manifest.json").exists()
    write_round(tmp_path / "1")
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


def test_an_unfinished_round_is_never_completed(tmp_path):
    with RoundWriter(tmp_path, IDENTITY) as writer:
        writer.journal.append(group_of(tmp_path, 0))
        with pytest.raises(ValueError, match="2 of 4 labels are missing"):
            writer.finish()


def test_a_survey_is_kept(tmp_path):
    with RoundWriter(tmp_path, IDENTITY) as writer:
        assert writer.survey() is None
        writer.save_survey(7, np.arange(6).reshape(3, 2))
    with RoundWriter(tmp_path, IDENTITY) as writer:
        groups, counts = writer.survey()
    assert groups == 7
    np.testing.assert_array_equal(counts, [[0, 1], [2, 3], [4, 5]])
