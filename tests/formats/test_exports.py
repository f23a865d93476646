"""Exports appear whole or not at all, take items one by one, and never replace what is not theirs."""

from __future__ import annotations

import weakref
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.formats import (
    Item,
    open_annotations,
    write_cityscapes,
    write_coco,
    write_cvat,
    write_datumaro,
    write_fiftyone,
    write_label_studio,
    write_panoptic,
)
from hiast.formats.names import distinct_colors

WRITERS = {
    "cvat": write_cvat,
    "datumaro": partial(write_datumaro, images="leave"),
    "label studio": partial(write_label_studio, model_version="m"),
    "label studio in parts": partial(write_label_studio, model_version="m", tasks_per_file=2),
    "fiftyone": write_fiftyone,
    "coco": write_coco,
    "panoptic": write_panoptic,
    "cityscapes": write_cityscapes,
}
EVERY = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


def item(name: str = "a", labels: object = ((0, 1, 255),), confidence: np.ndarray | None = None) -> Item:
    return Item(name, np.array(labels, np.uint8), Path(f"/images/{name}.png"), confidence)


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@EVERY
@pytest.mark.parametrize("place", ["out", "out.zip"])
def test_a_failure_leaves_nothing_behind(write, place, classes, tmp_path):
    def broken():
        yield item("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "deep" / place, broken(), classes)
    assert everything(tmp_path) == ["deep"]


@EVERY
@pytest.mark.parametrize("place", ["out", "out.zip"])
def test_a_rerun_replaces_the_whole_and_a_failed_one_nothing(write, place, classes, tmp_path):
    def broken():
        yield item("c")
        raise RuntimeError("no more")

    path = tmp_path / place
    write(path, [item("a"), item("b")], classes)
    with pytest.raises(InputError, match="exists already"):
        write(path, [item("c")], classes)
    before = everything(tmp_path)
    with pytest.raises(RuntimeError, match="no more"):
        write(path, broken(), classes, overwrite=True)
    assert everything(tmp_path) == before
    assert write(path, [item("c")], classes, overwrite=True) == 1
    fresh = tmp_path / "fresh" / place
    write(fresh, [item("c")], classes)
    if path.suffix:
        assert path.read_bytes() == fresh.read_bytes()
        assert zipfile.ZipFile(path).testzip() is None
    else:
        assert everything(path) == everything(fresh)
    assert not [name for name in everything(tmp_path) if name.startswith(".")]


@EVERY
def test_a_killed_run_does_not_stand_in_the_way(write, classes, tmp_path):
    (tmp_path / ".out.part/SegmentationClass").mkdir(parents=True)
    (tmp_path / ".out.part/SegmentationClass/old.png").write_bytes(b"half")
    write(tmp_path / "out", [item()], classes)
    assert not (tmp_path / ".out.part").exists()
    assert not [name for name in everything(tmp_path / "out") if "old" in name]


@EVERY
def test_folders_of_others_are_never_replaced(write, classes, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "out", [item()], classes)
    with pytest.raises(InputError, match=r"holds other files \(thesis\.txt\)"):
        write(tmp_path / "out", [item()], classes, overwrite=True)
    (tmp_path / "out.zip").mkdir()
    (tmp_path / "out.zip/x").touch()
    with pytest.raises(InputError, match="cannot be replaced"):
        write(tmp_path / "out.zip", [item()], classes, overwrite=True)
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_taken(classes, tmp_path):
    (tmp_path / "out").mkdir()
    assert write_cvat(tmp_path / "out", [item()], classes) == 1


@EVERY
def test_items_are_taken_one_by_one(write, classes, tmp_path):
    """At no time are more than two items in memory, however many there are."""
    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most = 0

    def stream():
        nonlocal most
        for number in range(20):
            fresh = item(f"{number}", np.full((40, 40), number % 5))
            alive.add(fresh)
            most = max(most, len(alive))
            yield fresh
            del fresh

    assert write(tmp_path / "out", stream(), classes) == 20
    assert most <= 2


@EVERY
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (item(labels=((0, 5),)), "label 5 is none of the 5 classes"),
        (item(labels=((),)), "uint8"),
        (Item("a", np.zeros((2, 2), np.int64), Path("a.png")), "int64"),
        (Item("a", np.zeros((2, 2, 3), np.uint8), Path("a.png")), r"\[2, 2, 3\]"),
        (item(confidence=np.zeros((2, 2), np.float32)), r"\[2, 2\]"),
        (item(confidence=np.zeros((1, 3), np.uint8)), "float"),
        (item(confidence=np.full((1, 3), 1.5, np.float32)), "between 0 and 1"),
        (item(confidence=np.full((1, 3), np.nan, np.float32)), "between 0 and 1"),
        *(
            (item(name), "cannot be used")
            for name in ("", "../a", "/a", "a/../b", "a\\b", " a", "a\nb", "C:/a", "./a", "a//b")
        ),
    ],
)
def test_items_that_cannot_be_written_are_refused(write, wrong, message, classes, tmp_path):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "out", [item("first"), wrong], classes)
    assert everything(tmp_path) == []


@EVERY
def test_two_items_of_one_name_are_refused(write, classes, tmp_path):
    with pytest.raises(InputError, match="Two items are called 'a'"):
        write(tmp_path / "out", [item("a"), item("b"), item("a")], classes)


def test_names_that_fall_together_are_refused(classes, tmp_path):
    with pytest.raises(InputError, match="'a__b'"):
        write_datumaro(tmp_path / "out", [item("a/b"), item("a__b")], classes, images="leave")
    with pytest.raises(InputError, match="'a'"):
        write_cityscapes(tmp_path / "out", [item("a"), item("a_leftImg8bit")], classes)


@pytest.mark.parametrize("name", ["a:b", "#a", " a", "a\nb"])
def test_class_names_that_cvat_cannot_hold_are_refused(name, tmp_path):
    with pytest.raises(InputError, match="cannot hold the class name"):
        write_cvat(tmp_path / "out", [], LabelSpace((name, "x"), ((1, 1, 1), (2, 2, 2))))


def test_a_comment_is_not_a_name_for_cvat(classes, tmp_path):
    with pytest.raises(InputError, match="begins with '#'"):
        write_cvat(tmp_path / "out", [item("#a")], classes)


def test_missing_images_are_refused_only_where_they_are_wanted(classes, tmp_path):
    write_coco(tmp_path / "left", [item()], classes)
    with pytest.raises(InputError, match="does not exist"):
        write_coco(tmp_path / "out", [item()], classes, images="copy")
    with pytest.raises(InputError, match="does not exist"):
        write_datumaro(tmp_path / "out", [item()], classes)


def test_links_do_not_go_into_zip_files(classes, make_items, tmp_path):
    with pytest.raises(InputError, match="cannot hold links"):
        write_cvat(
            tmp_path / "out.zip", make_items({"a": np.zeros((2, 2), np.uint8)}), classes, images="link"
        )


def test_addresses_in_label_studio(classes, tmp_path):
    write = partial(write_label_studio, model_version="m")
    write(tmp_path / "named", [item("x/ä")], classes, image_url="https://host/{name}.jpg")
    assert '"https://host/x/%C3%A4.jpg"' in (tmp_path / "named/tasks.json").read_text("utf-8")
    with pytest.raises(InputError, match="lies outside"):
        write(tmp_path / "out", [item()], classes, image_root="/elsewhere")
    with pytest.raises(InputError, match="tasks_per_file is 0"):
        write(tmp_path / "out", [item()], classes, tasks_per_file=0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_tasks_in_parts_are_complete(count, classes, tmp_path):
    write = partial(write_label_studio, model_version="m", tasks_per_file=2)
    write(tmp_path / "out", [item(str(number)) for number in range(count)], classes)
    files = [name for name in everything(tmp_path / "out") if name.startswith("tasks")]
    assert files == [f"tasks-{number:05d}.json" for number in range(1, max(1, -(-count // 2)) + 1)]
    if count:
        reader = open_annotations("label_studio", tmp_path / "out", classes.names, use="predictions")
        assert reader.items() == tuple(str(number) for number in range(count))


@pytest.mark.parametrize("field", ["a b", "1a", "", "_a"])
def test_fields_of_fiftyone_are_names(field, classes, tmp_path):
    with pytest.raises(InputError, match="field"):
        write_fiftyone(tmp_path / "out", [], classes, field=field)


def test_colors_are_distinct():
    space = LabelSpace(("a", "b", "c", "d"), ((0, 0, 0), (128, 0, 0), (128, 0, 0), (1, 2, 3)))
    colors = distinct_colors(space)
    assert colors[1] == (128, 0, 0)
    assert colors[3] == (1, 2, 3)
    assert len({(0, 0, 0), *colors}) == 5
