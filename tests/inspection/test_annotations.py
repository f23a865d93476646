"""Annotations of other programs become a scenario, or are refused with the way to convert them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from hiast.classes import LabelSpace
from hiast.cli.conf_files import conf_directory
from hiast.data import FolderDataModule
from hiast.errors import InputError
from hiast.formats import write_cvat, write_datumaro, write_fiftyone, write_panoptic
from hiast.formats.items import Item
from hiast.formats.names import voc_colors
from hiast.inspection.annotation_kinds import kind_of
from hiast.inspection.annotations import find_annotations
from hiast.inspection.new_scenario import Folders, fill_in_scenario

TEMPLATES = {
    path.stem: path.read_text("utf-8") for path in sorted((conf_directory() / "template").glob("*.yaml"))
}
SIZE = (24, 32)
SQUARE = [[4, 4, 20, 4, 20, 12, 4, 12]]
LOWER = [[0, 14, 32, 14, 32, 24, 0, 24]]


def draw_images(folder: Path, names: tuple[str, ...] = ("a", "b"), suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(folder / f"{name}{suffix}")


def coco(
    names: tuple[str, ...] = ("a", "b"), categories: tuple[str, ...] = ("road", "car", "unused")
) -> dict[str, Any]:
    shapes, (height, width) = (LOWER, SQUARE), SIZE
    return {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "height": height, "width": width} for i, name in enumerate(names)
        ],
        "categories": [{"id": 7 + i, "name": name} for i, name in enumerate(categories)],
        "annotations": [
            {"id": 2 * i + k, "image_id": i, "category_id": 7 + k, "segmentation": shape, "area": 100}
            for i in range(len(names))
            for k, shape in enumerate(shapes[: len(categories)])
        ],
    }  # fmt: skip


def labelme(labels: tuple[str, ...] = ("road", "car")) -> dict[str, Any]:
    shapes = [
        {"label": label, "shape_type": "polygon", "points": np.reshape(ring[0], (-1, 2)).tolist()}
        for label, ring in zip(labels, (LOWER, SQUARE), strict=False)
    ]
    return {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}


def polygons() -> dict[str, Any]:
    rings = {"sky": [[0, 0, 32, 0, 32, 3, 0, 3]], "road": LOWER, "cargroup": SQUARE, "license plate": SQUARE}
    objects = [
        {"label": label, "polygon": np.reshape(ring[0], (-1, 2)).tolist()} for label, ring in rings.items()
    ]
    return {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def proposed(folders: Folders, names: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[str]]:
    texts, messages = fill_in_scenario(folders, TEMPLATES, names)
    return {role: yaml.safe_load(text.replace("NAME", "mine")) for role, text in texts.items()}, messages


def opened(values: dict[str, Any]) -> FolderDataModule:
    return FolderDataModule(**{key: value for key, value in values.items() if key != "_target_"})


def check_classes(dataset: Any, expected: set[int]) -> None:
    for sample in dataset:
        assert set(np.unique(sample["label"])) == expected
        assert sample["label"].shape == SIZE


@pytest.mark.parametrize("place", ["notes", "notes/instances.json", "images"])
def test_coco(tmp_path: Path, place: str) -> None:
    draw_images(tmp_path / "images")
    write(
        tmp_path / ("images/_annotations.coco.json" if place == "images" else "notes/instances.json"), coco()
    )
    if place == "notes":
        write(
            tmp_path / "notes/captions.json",
            {"images": [], "categories": [], "annotations": [{"caption": "x"}]},
        )
        write(tmp_path / "notes/instances_of_others.json", coco(("x", "y")))
    files, messages = proposed(Folders(tmp_path / "images", tmp_path / place))
    source = files["source"]
    assert (source["format"], source["names"]) == ("coco", ["road", "car"])
    assert "labels" not in source and "ids" not in source
    assert files["scenario"]["classes"]["names"] == ["road", "car"]
    check_classes(opened(source).train_dataset(), {0, 1, 255})
    assert any("2 labels" in line and "coco" in line for line in messages)
    assert any("0: road (" in line and "1: car (" in line for line in messages)
    assert any("Pixels that nothing covers are ignored" in line for line in messages)


def test_coco_of_one_class_gets_a_background(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    write(tmp_path / "notes.json", coco(categories=("crack",)))
    files, _ = proposed(Folders(tmp_path / "images", tmp_path / "notes.json"))
    assert files["source"]["names"] == ["background", "crack"]
    assert files["source"]["format_options"] == {"background": "background"}
    check_classes(opened(files["source"]).train_dataset(), {0, 1})


def test_names_choose_among_the_classes(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    write(tmp_path / "notes.json", coco())
    folders = Folders(tmp_path / "images", tmp_path / "notes.json")
    source = proposed(folders, ("background", "car"))[0]["source"]
    assert source["format_options"] == {"ignored": ["road"], "background": "background"}
    check_classes(opened(source).train_dataset(), {0, 1, 255})
    with pytest.raises(InputError, match=r"'truck' is not in .*notes\.json, which names road, car"):
        proposed(folders, ("road", "truck"))


def test_images_without_annotations_are_skipped(tmp_path: Path) -> None:
    draw_images(tmp_path / "images", ("a", "b", "c"))
    write(tmp_path / "notes.json", coco())
    source = proposed(Folders(tmp_path / "images", tmp_path / "notes.json"))[0]["source"]
    assert source["unlabeled"] == "skip" and len(opened(source).train_dataset()) == 2


@pytest.mark.parametrize("beside", [True, False])
def test_labelme(tmp_path: Path, beside: bool) -> None:
    draw_images(tmp_path / "images")
    for name in "ab":
        write(tmp_path / ("images" if beside else "json") / f"{name}.json", labelme())
    source = proposed(Folders(tmp_path / "images", tmp_path / ("images" if beside else "json")))[0]["source"]
    assert (source["format"], source["names"]) == ("labelme", ["car", "road"])
    check_classes(opened(source).train_dataset(), {0, 1, 255})


def test_polygons_of_cityscapes(tmp_path: Path) -> None:
    draw_images(tmp_path / "leftImg8bit/train/x", ("x_0_leftImg8bit", "x_1_leftImg8bit"), ".png")
    for index in range(2):
        write(tmp_path / f"gtFine/train/x/x_{index}_gtFine_polygons.json", polygons())
    folders = Folders(tmp_path / "leftImg8bit", tmp_path / "gtFine")
    source = proposed(folders)[0]["source"]
    assert (source["format"], source["names"]) == ("cityscapes_polygons", ["road", "sky", "car"])
    check_classes(opened(source).train_dataset(), {0, 1, 2, 255})


@pytest.mark.parametrize("partly", [True, False])
def test_annotations_of_the_target(tmp_path: Path, partly: bool) -> None:
    draw_images(tmp_path / "source/images")
    write(tmp_path / "source/notes.json", coco())
    draw_images(tmp_path / "target/images", ("a", "b", "c", "d") if partly else ("c", "d"))
    draw_images(tmp_path / "target/val")
    write(tmp_path / "target/notes.json", coco(categories=("road", "boat")))
    folders = Folders(
        tmp_path / "source/images",
        tmp_path / "source/notes.json",
        tmp_path / "target/images",
        None if partly else tmp_path / "target/val",
        tmp_path / "target/notes.json",
    )
    files = proposed(folders)[0]
    target = opened(files["target"])
    assert target.class_map == {"boat": None}
    assert len(target.val_dataset()) == 2 and len(target.train_dataset(labeled=False)) == 2
    check_classes(target.val_dataset(), {0, 255})


def test_pascal_voc_with_borders(tmp_path: Path) -> None:
    draw_images(tmp_path / "JPEGImages")
    (tmp_path / "SegmentationClass").mkdir()
    for name in "ab":
        ids = np.zeros(SIZE, np.uint8)
        ids[8:, :] = 255
        ids[10:, :] = 15
        picture = Image.fromarray(ids, "P")
        picture.putpalette(np.array(voc_colors(), np.uint8).tobytes())
        picture.save(tmp_path / f"SegmentationClass/{name}.png")
    source = proposed(Folders(tmp_path / "JPEGImages", tmp_path / "SegmentationClass"))[0]["source"]
    assert source["names"] == ["background", "person"]
    assert source["ids"] == {0: "background", 15: "person", 255: None}
    check_classes(opened(source).train_dataset(), {0, 1, 255})


@pytest.mark.parametrize("kind", ["colors", "npy", "one_hot_npy", "one_hot_npz"])
def test_pictures_and_arrays(tmp_path: Path, kind: str) -> None:
    draw_images(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    ids = np.zeros(SIZE, np.uint8)
    ids[10:], ids[20:] = 1, 2
    for name in "ab":
        path = tmp_path / f"labels/{name}"
        one_hot = np.stack([ids == value for value in range(3)]).astype(np.uint8)
        if kind == "colors":
            Image.fromarray(np.array([(128, 64, 128), (70, 130, 180), (0, 0, 142)], np.uint8)[ids]).save(
                f"{path}.png"
            )
        elif kind == "one_hot_npz":
            np.savez_compressed(f"{path}.npz", labels=one_hot)
        else:
            np.save(f"{path}.npy", ids if kind == "npy" else one_hot)
    source = proposed(Folders(tmp_path / "images", tmp_path / "labels"))[0]["source"]
    assert len(source["names"]) == 3
    if kind == "colors":
        assert sorted(source["names"]) == ["car", "road", "sky"]
    check_classes(opened(source).train_dataset(), {0, 1, 2})


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"a.xml": "<annotation/>", "b.xml": "<annotation/>"}, "as COCO with polygons"),
        ({"a.txt": "0 0.5 0.5 0.1 0.1"}, "as COCO with polygons"),
        ({"a.mat": "x"}, "scipy.io.loadmat"),
        ({"x.zip": "x"}, "unpack it"),
        ({"a.json": '{"boxes": []}'}, "COCO with polygons or masks, labelme"),
        ({"boxes.json": json.dumps({**coco(), "annotations": [{"bbox": [0, 0, 1, 1]}]})}, "Boxes alone do not label"),
        ({"a.json": '{"shapes": ['}, "is not a complete JSON file"),
        ({"a.json": '{"shapes": []}'}, "names no class"),
        ({}, "is empty"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_with_the_way_to_convert_it(
    tmp_path: Path, files: dict[str, str], wanted: str
) -> None:
    draw_images(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    for name, text in files.items():
        (tmp_path / "labels" / name).write_text(text)
    with pytest.raises(InputError, match=wanted):
        proposed(Folders(tmp_path / "images", tmp_path / "labels"))


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"export\.zip is of no format that is read: unpack it"):
        proposed(Folders(tmp_path / "images", tmp_path / "export.zip"))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ([], None), (3, None), ({}, None), ([3], None), (coco(), "coco"), (labelme(), "labelme"),
        (polygons(), "cityscapes_polygons"),
        ({**coco(), "annotations": [{"segments_info": [{"category_id": 7}]}]}, "panoptic"),
        ([{"data": {"image": "a.jpg"}, "annotations": []}], "label_studio"),
    ],
)  # fmt: skip
def test_kinds(content: Any, kind: str | None) -> None:
    assert kind_of(content) == kind


def test_one_file_or_photographs_alone_are_no_labels(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    for place, wanted in (
        ("images/a.jpg", "is one label: name the folder"),
        ("images", "no labels beside them"),
    ):
        with pytest.raises(InputError, match=wanted):
            proposed(Folders(tmp_path / "images", tmp_path / place))


def test_of_a_target_with_labels_throughout_a_part_is_for_validation(tmp_path: Path) -> None:
    for side in ("source", "target"):
        draw_images(tmp_path / side, tuple("abcde"))
        write(tmp_path / f"{side}.json", coco(tuple("abcde")))
    files, messages = proposed(
        Folders(
            tmp_path / "source", tmp_path / "source.json", tmp_path / "target", None, tmp_path / "target.json"
        )
    )
    target = opened(files["target"])
    assert len(target.train_dataset(labeled=False)) == 4 and len(target.val_dataset()) == 1
    assert any("20 % of them are for validation" in line for line in messages)


def draw_export(write_export: Any, folder: Path, images: Path) -> None:
    labels = np.zeros(SIZE, np.uint8)
    labels[: SIZE[0] // 3] = 1
    labels[-2:] = 255
    classes = LabelSpace(("road", "sky"), ((128, 64, 128), (70, 130, 180)))
    names = sorted(path for path in images.iterdir())
    write_export(folder, [Item(path.stem, labels=labels, image=path) for path in names], classes)


@pytest.mark.parametrize(
    ("format", "write_export", "place"),
    [
        ("cvat", write_cvat, "made"),
        ("cvat", write_cvat, "made/SegmentationClass"),
        ("datumaro", write_datumaro, "made"),
        ("datumaro", write_datumaro, "made/masks"),
        ("fiftyone", write_fiftyone, "made"),
        ("panoptic", write_panoptic, "made"),
        ("panoptic", write_panoptic, "made/annotations/panoptic_default.json"),
    ],
)
def test_exports_of_masks_are_recognized(tmp_path: Path, format: str, write_export: Any, place: str) -> None:
    draw_images(tmp_path / "images")
    draw_export(write_export, tmp_path / "made", tmp_path / "images")
    files, _ = proposed(Folders(tmp_path / "images", tmp_path / place))
    assert (files["source"]["format"], files["source"]["names"]) == (format, ["road", "sky"])
    check_classes(opened(files["source"]).train_dataset(), {0, 1, 255})


def test_pascal_voc_keeps_its_background(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    for folder in ("SegmentationClass", "SegmentationObject"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
        for image in (tmp_path / "images").iterdir():
            mask = np.zeros(SIZE, np.uint8)
            mask[4:8] = 15
            mask[3] = 255
            cv2.imwrite(str(tmp_path / "voc" / folder / f"{image.stem}.png"), mask)
    files, _ = proposed(Folders(tmp_path / "images", tmp_path / "voc"))
    assert files["source"]["format"] == "voc"
    assert files["source"]["names"][0] == "background" and len(files["source"]["names"]) == 21
    check_classes(opened(files["source"]).train_dataset(), {0, 15, 255})


def test_masks_beside_other_json_files_stay_pictures(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    for image in (tmp_path / "images").iterdir():
        (tmp_path / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "masks" / f"{image.stem}.png"), np.eye(*SIZE, dtype=np.uint8))
    write(tmp_path / "masks/notes.json", {"images": [], "categories": [], "annotations": []})
    (tmp_path / "masks/broken.json").write_text("{")
    assert find_annotations(tmp_path / "masks", tmp_path / "images") is None


def test_a_damaged_list_of_colors_is_named(tmp_path: Path) -> None:
    draw_images(tmp_path / "images")
    draw_export(write_cvat, tmp_path / "made", tmp_path / "images")
    (tmp_path / "made/labelmap.txt").write_bytes(b"road:\xff\xfe")
    with pytest.raises(InputError, match=r"labelmap\.txt"):
        find_annotations(tmp_path / "made", tmp_path / "images")
