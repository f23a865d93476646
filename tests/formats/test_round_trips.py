"""Each format, written and read back: every pixel is the same, ignored ones included."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hiast.classes import CITYSCAPES_19, IGNORED, LabelSpace
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
from hiast.formats.datumaro import flat_name

STUDIO = partial(write_label_studio, model_version="round 2")
# Writer, format, options of the reader.
FORMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "cvat": (write_cvat, "cvat", {}),
    "datumaro": (write_datumaro, "datumaro", {}),
    "label studio": (STUDIO, "label_studio", {"use": "predictions"}),
    "label studio in parts": (partial(STUDIO, tasks_per_file=3), "label_studio", {"use": "predictions"}),
    "fiftyone": (write_fiftyone, "fiftyone", {}),
    "coco run lengths": (write_coco, "coco", {}),
    "coco polygons": (partial(write_coco, shapes="polygons"), "coco", {}),
    "coco stuff": (partial(write_coco, per="class"), "coco", {}),
    "coco stuff polygons": (partial(write_coco, per="class", shapes="polygons"), "coco", {}),
    "panoptic": (write_panoptic, "panoptic", {}),
    "panoptic regions": (partial(write_panoptic, per="region"), "panoptic", {}),
    "cityscapes": (write_cityscapes, "cityscapes_polygons", {}),
}
ZIPPED = ("cvat", "datumaro")
WITH_IMAGES = sorted(FORMS.keys() - {"cityscapes"})


def name_in(form: str, name: str) -> str:
    return flat_name(name) if form == "datumaro" else name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("confidence", [False, True])
def test_every_pixel_comes_back(form, confidence, maps, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    assert write(tmp_path / "out", make_items(maps, confidence), classes) == len(maps)
    reader = pickle.loads(pickle.dumps(open_annotations(name, tmp_path / "out", classes.names, **options)))
    assert reader.classes == classes.names
    assert reader.items() == tuple(sorted(name_in(form, name) for name in maps))
    for name, labels in maps.items():
        back = reader.read(name_in(form, name), labels.shape)
        assert back.dtype == np.uint8
        np.testing.assert_array_equal(back, labels, err_msg=name)
        with pytest.raises(InputError, match="pixels"):
            reader.read(name_in(form, name), (labels.shape[0] + 1, labels.shape[1]))


@pytest.mark.parametrize("form", ZIPPED)
def test_a_zip_file_comes_back(form, maps, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    write(tmp_path / "out.zip", make_items(maps), classes, images="copy")
    reader = open_annotations(name, tmp_path / "out.zip", classes.names, **options)
    reader.read(reader.items()[0])
    reader = pickle.loads(pickle.dumps(reader))
    for name, labels in maps.items():
        np.testing.assert_array_equal(reader.read(name_in(form, name)), labels)
        assert reader.image(name_in(form, name)) is None


@pytest.mark.parametrize("form", WITH_IMAGES)
@pytest.mark.parametrize("images", ["copy", "link"])
def test_images_come_along(form, images, maps, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    items = make_items(maps)
    write(tmp_path / "out", items, classes, images=images)
    reader = open_annotations(name, tmp_path / "out", classes.names, **options)
    for item in items:
        found = reader.image(name_in(form, item.name))
        assert found is not None
        assert found.is_relative_to(tmp_path / "out")
        assert found.is_symlink() == (images == "link")
        assert found.read_bytes() == item.image.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_an_export_of_nothing_is_whole(form, classes, tmp_path):
    write, name, options = FORMS[form]
    assert write(tmp_path / "out", iter(()), classes) == 0
    assert any((tmp_path / "out").iterdir())
    try:
        assert open_annotations(name, tmp_path / "out", classes.names, **options).items() == ()
    except InputError as error:
        assert "holds no" in str(error)


@pytest.mark.parametrize("form", FORMS)
def test_classes_may_be_fewer_or_in_another_order(form, maps, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    write(tmp_path / "out", make_items(maps), classes)
    wanted = ["二輪車", "road"]
    rest = [name for name in classes.names if name not in wanted]
    reader = open_annotations(name, tmp_path / "out", wanted, ignored=rest, **options)
    expected = np.full(maps["noise"].shape, IGNORED, np.uint8)
    expected[maps["noise"] == 3] = 0
    expected[maps["noise"] == 0] = 1
    np.testing.assert_array_equal(reader.read("noise"), expected)


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_class_is_refused_by_name(form, maps, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    write(tmp_path / "out", make_items({"noise": maps["noise"]}), classes)
    with pytest.raises(InputError, match="'Straße, naß', which is none of") as caught:
        wanted = [name for name in classes.names if name != "Straße, naß"]
        open_annotations(name, tmp_path / "out", wanted, **options).read("noise")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_a_class_called_background_is_a_class(form, make_items, tmp_path):
    write, name, options = FORMS[form]
    space = LabelSpace(("Background", "background", "thing"), ((0, 0, 0), (9, 9, 9), (1, 2, 3)))
    labels = np.array([[0, 1, 2], [255, 255, 0]], np.uint8)
    write(tmp_path / "out", make_items({"a": labels}), space)
    reader = open_annotations(name, tmp_path / "out", space.names, **options)
    np.testing.assert_array_equal(reader.read("a"), labels)


@pytest.mark.parametrize("form", FORMS)
def test_255_classes_of_one_color(form, make_items, tmp_path):
    write, name, options = FORMS[form]
    space = LabelSpace(tuple(f"class {number}" for number in range(255)), ((7, 7, 7),) * 255)
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write(tmp_path / "out", make_items({"a": labels}), space)
    reader = open_annotations(name, tmp_path / "out", space.names, **options)
    np.testing.assert_array_equal(reader.read("a"), labels)


@pytest.mark.parametrize("form", FORMS)
def test_a_large_picture(form, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    rows, columns = np.mgrid[:600, :1100]
    labels = ((np.hypot(rows - 300, columns - 500) // 60) % 5).astype(np.uint8)
    labels[::97] = 255
    write(tmp_path / "out", make_items({"a": labels}), classes)
    reader = open_annotations(name, tmp_path / "out", classes.names, **options)
    np.testing.assert_array_equal(reader.read("a"), labels)


def test_confidence_of_regions_is_kept_by_coco(make_items, classes, tmp_path):
    labels = np.array([[0, 0, 255], [1, 1, 0]], np.uint8)
    trust = np.array([[0.25, 0.75, 0.1], [1.0, 0.5, 0.125]], np.float32)
    item = Item("a", labels, tmp_path / "a.png", trust)
    write_coco(tmp_path / "coco", [item], classes)
    write_panoptic(tmp_path / "panoptic", [item], classes)
    entries = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text("utf-8"))[
        "annotations"
    ]
    assert [(entry["category_id"], entry["score"], entry["area"], entry["bbox"]) for entry in entries] == [
        (1, 0.5, 2, [0, 0, 2, 1]),
        (1, 0.125, 1, [2, 1, 1, 1]),
        (2, 0.75, 2, [0, 1, 2, 1]),
    ]
    panoptic = json.loads((tmp_path / "panoptic/annotations/panoptic_default.json").read_text("utf-8"))
    segments = panoptic["annotations"][0]["segments_info"]
    assert [(entry["category_id"], entry["score"], entry["area"], entry["bbox"]) for entry in segments] == [
        (1, 0.375, 3, [0, 0, 3, 2]),
        (2, 0.75, 2, [0, 1, 2, 1]),
    ]


def test_confidence_is_kept_by_label_studio(classes, tmp_path):
    labels = np.array([[0, 0, 255], [1, 1, 255]], np.uint8)
    trust = np.array([[0.25, 0.75, 0.1], [1.0, 0.5, 0.125]], np.float32)
    STUDIO(tmp_path / "out", [Item("a", labels, tmp_path / "a b.png", trust)], classes, image_root=tmp_path)
    (task,) = json.loads((tmp_path / "out/tasks.json").read_text("utf-8"))
    assert task["data"] == {"image": "/data/local-files/?d=a%20b.png", "name": "a", "width": 3, "height": 2}
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("round 2", 0.625)
    assert [stroke["score"] for stroke in prediction["result"]] == [0.5, 0.75]
    assert [stroke["value"]["brushlabels"] for stroke in prediction["result"]] == [
        ["road"],
        ["traffic light"],
    ]


def test_confidence_is_kept_by_fiftyone(make_items, maps, classes, tmp_path):
    (item,) = make_items({"noise": maps["noise"]}, confidence=True)
    write_fiftyone(tmp_path / "out", [item], classes, field="model_a")
    heat = np.asarray(Image.open(tmp_path / "out/fields/model_a_confidence/noise.png"))
    assert np.abs(heat / 255 - item.confidence).max() <= 0.5 / 255 + 1e-6
    assert open_annotations("fiftyone", tmp_path / "out", classes.names).field == "model_a"
    assert open_annotations("fiftyone", tmp_path / "out", classes.names).image("noise") == item.image


def test_label_ids_of_cityscapes_are_the_official_ones(make_items, classes, tmp_path):
    labels = np.array([[0, 13, 255]], np.uint8)
    write_cityscapes(
        tmp_path / "city", make_items({"aachen/aachen_000000_000019_leftImg8bit": labels}), CITYSCAPES_19
    )
    base = tmp_path / "city/gtFine/aachen/aachen_000000_000019_gtFine_"
    assert np.asarray(Image.open(f"{base}labelIds.png")).tolist() == [[7, 26, 0]]
    reader = open_annotations("cityscapes_polygons", tmp_path / "city", CITYSCAPES_19.names)
    assert reader.items() == ("aachen/aachen_000000_000019",)
    np.testing.assert_array_equal(reader.read("aachen/aachen_000000_000019_leftImg8bit"), labels)
    write_cityscapes(tmp_path / "own", make_items({"a": np.array([[0, 4, 255]], np.uint8)}), classes)
    assert np.asarray(Image.open(tmp_path / "own/gtFine/a_gtFine_labelIds.png")).tolist() == [[1, 5, 0]]


def test_more_regions_than_cvat_can_tell_apart(classes, make_items, tmp_path):
    labels = np.full((60, 60), 255, np.uint8)
    labels[::2, ::2] = np.arange(900).reshape(30, 30) % 5
    labels[40:, 40:] = 2
    write_cvat(tmp_path / "out", make_items({"a": labels}), classes)
    reader = open_annotations("cvat", tmp_path / "out", classes.names)
    np.testing.assert_array_equal(reader.read("a"), labels)
    objects = np.asarray(Image.open(tmp_path / "out/SegmentationObject/a.png").convert("RGB")).astype(int)
    numbers = objects @ np.array([65536, 256, 1])
    assert 250 < len(np.unique(numbers)) <= 256  # 255 objects at most, and none
    np.testing.assert_array_equal(numbers == 0, labels == 255)
    for number in np.unique(numbers[numbers > 0]):
        assert len(np.unique(labels[numbers == number])) == 1  # no object has two classes
    assert len(np.unique(numbers[40:, 40:])) == 1  # a large region is an object of its own


def test_files_are_the_same_each_time(maps, make_items, classes, tmp_path):
    for form, (write, _, _) in FORMS.items():
        for turn in ("a", "b"):
            write(tmp_path / turn / form, make_items(maps), classes)
    write_cvat(tmp_path / "a/cvat.zip", make_items(maps), classes)
    write_cvat(tmp_path / "b/cvat.zip", make_items(maps), classes)
    first, second = (
        {
            file.relative_to(tmp_path / turn): file.read_bytes()
            for file in sorted((tmp_path / turn).rglob("*.*"))
            if file.is_file()
        }
        for turn in ("a", "b")
    )
    assert first == second
    assert Path("cvat.zip") in first


@pytest.mark.parametrize("form", ["cvat", "datumaro"])
def test_masks_with_a_suffix_in_capitals_are_read(form, maps, make_items, classes, tmp_path):
    write, name, options = FORMS[form]
    write(tmp_path / "out", make_items(maps), classes)
    for path in list((tmp_path / "out").rglob("*.png")):
        path.rename(path.with_suffix(".PNG"))
    reader = open_annotations(name, tmp_path / "out", classes.names, **options)
    for one, labels in maps.items():
        np.testing.assert_array_equal(reader.read(name_in(form, one), labels.shape), labels)


def test_a_part_is_closed_when_it_is_written(maps, make_items, classes, tmp_path, monkeypatch):
    """A temporary file each would reach the limit of open files."""
    from hiast.formats import label_studio

    opened = []

    class Counted(label_studio.Spool):
        def __enter__(self):
            opened.append(1)
            return super().__enter__()

        def __exit__(self, *error):
            opened.append(-1)
            return super().__exit__(*error)

    monkeypatch.setattr(label_studio, "Spool", Counted)
    partial(STUDIO, tasks_per_file=1)(tmp_path / "out", make_items(maps), classes)
    sums = np.cumsum(opened)
    assert len(maps) > 2 and sums.max() == 1 and sums[-1] == 0
