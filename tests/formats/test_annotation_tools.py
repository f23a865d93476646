"""The tools' own libraries read what is written, and what they write is read. Each is skipped where it is missing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiast.classes import CITYSCAPES_19, IGNORED
from hiast.formats import (
    open_annotations,
    write_cityscapes,
    write_coco,
    write_cvat,
    write_datumaro,
    write_fiftyone,
    write_label_studio,
    write_panoptic,
)


def tool(name: str, package: str) -> Any:
    return pytest.importorskip(name, reason=f"{package} is not installed")


# --- pycocotools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", ["rle", "polygons"])
@pytest.mark.parametrize("per", ["region", "class"])
def test_pycocotools_reads_coco(shapes, per, maps, make_items, classes, tmp_path):
    coco = tool("pycocotools.coco", "pycocotools")
    write_coco(tmp_path / "out", make_items(maps, confidence=True), classes, shapes=shapes, per=per)
    read = coco.COCO(str(tmp_path / "out/annotations/instances_default.json"))
    assert [entry["name"] for entry in read.loadCats(read.getCatIds())] == list(classes.names)
    for picture in read.loadImgs(read.getImgIds()):
        labels = maps[picture["file_name"].removesuffix(".png")]
        back = np.full(labels.shape, IGNORED, np.uint8)
        covered = np.zeros(labels.shape, np.int64)
        for entry in read.loadAnns(read.getAnnIds(imgIds=picture["id"])):
            mask = read.annToMask(entry)
            assert entry["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert entry["bbox"] == box
            back[mask == 1] = entry["category_id"] - 1
            covered += mask
        assert covered.max() <= 1
        np.testing.assert_array_equal(back, labels)


def test_coco_of_pycocotools_is_read(maps, classes, tmp_path):
    masks = tool("pycocotools.mask", "pycocotools")
    for compressed in (True, False):
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": 10 + i, "name": name} for i, name in enumerate(classes.names)]
        for number, (name, labels) in enumerate(maps.items()):
            height, width = labels.shape
            content["images"].append(
                {"id": number, "file_name": f"{name}.jpg", "height": height, "width": width}
            )
            for index in np.unique(labels[labels != IGNORED]).tolist():
                mask = np.asfortranarray((labels == index).astype(np.uint8))
                entry = {
                    "image_id": number,
                    "category_id": 10 + index,
                    "area": float(mask.sum()),
                    "iscrowd": 1,
                }
                rle = masks.encode(mask)
                rle["counts"] = rle["counts"].decode()
                if not compressed:
                    flat = mask.ravel(order="F")
                    edges = np.flatnonzero(np.diff(flat, prepend=0))
                    rle["counts"] = np.diff(edges, prepend=0, append=flat.size).tolist()
                content["annotations"].append(entry | {"segmentation": rle})
        (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
        reader = open_annotations("coco", tmp_path / "a.json", classes.names)
        for name, labels in maps.items():
            np.testing.assert_array_equal(reader.read(name, labels.shape), labels)


# --- Datumaro, which is also what CVAT reads and writes with ----------------------------------------------------


def dataset_to_maps(dataset: Any, sizes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Name -> label map of class names (as objects), "" where there is no annotation."""
    kinds = tool("datumaro.components.annotation", "datumaro")
    names = [label.name for label in dataset.categories()[kinds.AnnotationType.label]]
    found = {}
    for item in dataset:
        canvas = np.full(sizes[item.id], "", object)
        for entry in item.annotations:
            if entry.type == kinds.AnnotationType.polygon:
                masks = tool("pycocotools.mask", "pycocotools")
                mask = masks.decode(masks.frPyObjects([entry.points], *sizes[item.id]))[..., 0].astype(bool)
            elif entry.type == kinds.AnnotationType.mask:
                mask = np.asarray(entry.image).astype(bool)
            else:
                continue
            assert (canvas[mask] == "").all()
            canvas[mask] = names[entry.label]
        found[item.id] = canvas
    return found


def as_names(labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    table = np.full(256, "", object)
    table[: len(names)] = names
    return table[labels]


def test_datumaro_reads_its_common_format(maps, make_items, classes, tmp_path):
    datumaro = tool("datumaro", "datumaro")
    write_datumaro(tmp_path / "out", make_items(maps), classes)
    assert datumaro.Environment().detect_dataset(str(tmp_path / "out")) == ["common_semantic_segmentation"]
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "common_semantic_segmentation")
    sizes = {name.replace("/", "__"): labels.shape for name, labels in maps.items()}
    found = dataset_to_maps(dataset, sizes)
    assert found.keys() == sizes.keys()
    for name, labels in maps.items():
        expected = as_names(labels, classes.names)
        expected[labels == IGNORED] = "background"
        np.testing.assert_array_equal(found[name.replace("/", "__")], expected)
    assert all(item.media is not None for item in dataset)


def test_datumaro_reads_what_is_written_for_cvat(maps, make_items, classes, tmp_path):
    datumaro = tool("datumaro", "datumaro")
    write_cvat(tmp_path / "out", make_items(maps), classes)
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "voc_segmentation")
    found = dataset_to_maps(dataset, {name: labels.shape for name, labels in maps.items()})
    assert found.keys() == maps.keys()
    for name, labels in maps.items():
        np.testing.assert_array_equal(found[name], as_names(labels, classes.names))


@pytest.mark.parametrize("shapes", ["rle", "polygons"])
def test_datumaro_reads_coco(shapes, maps, make_items, classes, tmp_path):
    datumaro = tool("datumaro", "datumaro")
    write_coco(tmp_path / "out", make_items(maps), classes, shapes=shapes, images="copy")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "coco_instances")
    found = dataset_to_maps(dataset, {name: labels.shape for name, labels in maps.items()})
    for name, labels in maps.items():
        np.testing.assert_array_equal(found[name], as_names(labels, classes.names))


def test_datumaro_reads_coco_panoptic(maps, make_items, classes, tmp_path):
    datumaro = tool("datumaro", "datumaro")
    write_panoptic(tmp_path / "out", make_items(maps), classes, images="copy")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "coco_panoptic")
    found = dataset_to_maps(dataset, {name: labels.shape for name, labels in maps.items()})
    for name, labels in maps.items():
        np.testing.assert_array_equal(found[name], as_names(labels, classes.names))


@pytest.fixture
def their_dataset(maps, make_items, classes):
    """The label maps as a dataset of Datumaro, with one mask per class."""
    datumaro = tool("datumaro", "datumaro")
    kinds = tool("datumaro.components.annotation", "datumaro")
    labels = kinds.LabelCategories.from_iterable(["background", *classes.names])
    items = []
    for item in make_items(maps):
        masks = [
            kinds.Mask(item.labels == index, label=index + 1, id=index + 1, group=index + 1)
            for index in np.unique(item.labels[item.labels != IGNORED]).tolist()
        ]
        image = datumaro.components.media.Image.from_file(path=str(item.image))
        items.append(datumaro.DatasetItem(id=item.name, subset="train", media=image, annotations=masks))
    return datumaro.Dataset.from_iterable(items, categories={kinds.AnnotationType.label: labels})


@pytest.mark.parametrize(
    ("theirs", "ours", "options"),
    [
        ("voc_segmentation", "cvat", {"label_map": "source", "apply_colormap": True}),
        ("voc_segmentation", "voc", {"label_map": "source", "apply_colormap": True}),
        ("coco_instances", "coco", {"segmentation_mode": "mask"}),
        ("coco_panoptic", "panoptic", {}),
    ],
)
def test_what_datumaro_writes_is_read(theirs, ours, options, their_dataset, maps, classes, tmp_path):
    their_dataset.export(str(tmp_path / "out"), theirs, save_media=True, **options)
    reader = open_annotations(ours, tmp_path / "out", classes.names)
    for name, labels in maps.items():
        if name in reader.items() or (labels != IGNORED).any():
            np.testing.assert_array_equal(reader.read(name, labels.shape), labels, err_msg=name)
            assert reader.image(name) is not None


# --- Label Studio -----------------------------------------------------------------------------------------------


def test_label_studio_reads_the_strokes(maps, make_items, classes, tmp_path):
    tool("label_studio_sdk", "label-studio-sdk")
    from label_studio_sdk.converter import brush

    write_label_studio(tmp_path / "out", make_items(maps, confidence=True), classes, model_version="round 2")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text("utf-8"))
    for task in tasks:
        labels = maps[task["data"]["name"]]
        flat = [result | result["value"] for result in task["predictions"][0]["result"]]
        layers = brush.decode_from_annotation("label", flat)
        back = np.full(labels.shape, IGNORED, np.uint8)
        for name, layer in layers.items():
            assert set(np.unique(layer)) <= {0, 255}
            back[layer > 0] = classes.names.index(name.removeprefix("label-").removesuffix("-0"))
        np.testing.assert_array_equal(back, labels)


def test_label_studio_accepts_the_interface_and_the_tasks(maps, make_items, classes, tmp_path):
    interface = tool("label_studio_sdk.label_interface", "label-studio-sdk")
    write_label_studio(tmp_path / "out", make_items(maps, confidence=True), classes, model_version="round 2")
    config = interface.LabelInterface((tmp_path / "out/label_config.xml").read_text("utf-8"))
    config.validate()
    assert list(config.get_control("label").labels) == list(classes.names)
    for task in json.loads((tmp_path / "out/tasks.json").read_text("utf-8")):
        assert config.validate_task(
            {"data": task["data"]}
        )  # With predictions it fails for a mistake of its own.
        for prediction in task["predictions"]:
            assert config.validate_prediction(prediction)


def test_what_label_studio_converts_is_read(maps, classes, tmp_path):
    tool("label_studio_sdk", "label-studio-sdk")
    from label_studio_sdk.converter import brush

    tasks = []
    for number, labels in enumerate(maps.values()):
        results = []
        for index in np.unique(labels[labels != IGNORED]).tolist():
            stroke = brush.mask2rle((labels == index).astype(np.uint8) * 255)
            value = {"format": "rle", "rle": stroke, "brushlabels": [classes.names[index]]}
            size = {"original_height": labels.shape[0], "original_width": labels.shape[1]}
            results.append(
                {"type": "brushlabels", "from_name": "x", "to_name": "image", "value": value, **size}
            )
        data = {"image": f"/data/upload/3/0a1b2c3d-{number}.png"}
        tasks.append(
            {"id": number, "data": data, "annotations": [{"result": results, "was_cancelled": False}]}
        )
    (tmp_path / "project.json").write_text(json.dumps(tasks), encoding="utf-8")
    reader = open_annotations("label_studio", tmp_path / "project.json", classes.names)
    assert reader.items() == tuple(sorted(str(number) for number in range(len(maps))))
    for number, labels in enumerate(maps.values()):
        np.testing.assert_array_equal(reader.read(str(number), labels.shape), labels)


# --- Cityscapes -------------------------------------------------------------------------------------------------


def test_the_scripts_of_cityscapes_draw_the_same_labels(maps, make_items, tmp_path):
    drawing = tool("cityscapesscripts.preparation.json2labelImg", "cityscapesScripts")
    from PIL import Image

    write_cityscapes(tmp_path / "out", make_items(maps), CITYSCAPES_19)
    for name, labels in maps.items():
        base = tmp_path / "out/gtFine" / f"{name}_gtFine_"
        drawing.json2labelImg(f"{base}polygons.json", str(tmp_path / "theirs.png"), "trainIds")
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "theirs.png")), labels)
        drawing.json2labelImg(f"{base}polygons.json", str(tmp_path / "theirs.png"), "ids")
        assert (tmp_path / "theirs.png").exists()
        np.testing.assert_array_equal(Image.open(tmp_path / "theirs.png"), Image.open(f"{base}labelIds.png"))


# --- labelme ----------------------------------------------------------------------------------------------------


def test_labelme_draws_the_same_pixels(tmp_path):
    shapes = tool("labelme.utils.shape", "labelme")
    rng = np.random.default_rng(0)
    counts = {
        "polygon": 5,
        "rectangle": 2,
        "oriented_rectangle": 4,
        "circle": 2,
        "line": 2,
        "linestrip": 4,
        "point": 1,
    }
    for _ in range(20):
        for kind, count in counts.items():
            points = rng.uniform(0, 40, (count, 2)).round(3).tolist()
            expected = shapes.shape_to_mask((40, 50), points, shape_type=kind)
            entry = {"label": "b", "points": points, "shape_type": kind, "flags": {}, "group_id": None}
            content = {
                "version": "5.4.1",
                "shapes": [entry],
                "imagePath": "a.jpg",
                "imageHeight": 40,
                "imageWidth": 50,
            }
            (tmp_path / "a.json").write_text(json.dumps(content))
            found = open_annotations("labelme", tmp_path, ["a", "b"]).read("a")
            np.testing.assert_array_equal(found == 1, expected, err_msg=kind)


def test_masks_of_labelme_are_read(tmp_path):
    images = tool("labelme.utils.image", "labelme")
    mask = np.random.default_rng(0).random((9, 14)) < 0.5
    for stored in (mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255):
        entry = {
            "label": "b",
            "shape_type": "mask",
            "points": [[3, 2], [16, 10]],
            "mask": images.img_arr_to_b64(stored),
        }
        content = {"shapes": [entry], "imageHeight": 20, "imageWidth": 30}
        (tmp_path / "a.json").write_text(json.dumps(content))
        found = open_annotations("labelme", tmp_path, ["a", "b"]).read("a")
        np.testing.assert_array_equal(found == 1, np.pad(mask, ((2, 9), (3, 13))))


# --- FiftyOne ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fiftyone(tmp_path_factory) -> Any:
    """FiftyOne with a database of its own; it needs the program mongod, which its wheels do not always hold."""
    from importlib.util import find_spec

    if find_spec("fiftyone") is None:
        pytest.skip("fiftyone is not installed")
    home = tmp_path_factory.mktemp("fiftyone")
    os.environ.update(
        FIFTYONE_DATABASE_DIR=str(home / "db"),
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_CONFIG_PATH=str(home / "c"),
    )
    try:
        import fiftyone as tool_itself

        tool_itself.list_datasets()
    except Exception as error:  # noqa: BLE001 - whatever keeps the database from starting
        pytest.skip(f"fiftyone cannot start its database: {error}")
    return tool_itself


@pytest.mark.slow
@pytest.mark.parametrize("images", ["leave", "copy"])
def test_fiftyone_reads_the_dataset(images, fiftyone, maps, make_items, classes, tmp_path):
    items = {item.name: item for item in make_items(maps, confidence=True)}
    write_fiftyone(tmp_path / "out", items.values(), classes, images=images)
    dataset = fiftyone.Dataset.from_dir(str(tmp_path / "out"), dataset_type=fiftyone.types.FiftyOneDataset)
    targets = {index + 1: name for index, name in enumerate(classes.names)}
    assert dataset.mask_targets == {"pseudo_labels": targets}
    assert dataset.default_mask_targets == targets
    assert len(dataset) == len(maps)
    for sample in dataset:
        item = items[sample["name"]]
        assert Path(sample.filepath).read_bytes() == item.image.read_bytes()
        np.testing.assert_array_equal(sample.pseudo_labels.get_mask(), item.labels + np.uint8(1))
        np.testing.assert_allclose(
            sample.pseudo_labels_confidence.get_map() / 255, item.confidence, atol=0.51 / 255
        )
    dataset.delete()


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["files", "within"])
def test_what_fiftyone_writes_is_read(stored, fiftyone, maps, make_items, classes, tmp_path):
    import cv2

    dataset = fiftyone.Dataset()
    dataset.mask_targets = {"ground_truth": dict(enumerate(classes.names))}
    (tmp_path / "masks").mkdir()
    for number, item in enumerate(make_items(maps)):
        path = tmp_path / "masks" / f"{number}.png"
        cv2.imwrite(str(path), item.labels)
        label = {"mask_path": str(path)} if stored == "files" else {"mask": item.labels}
        sample = fiftyone.Sample(str(item.image), ground_truth=fiftyone.Segmentation(**label))
        dataset.add_sample(sample)
    dataset.export(str(tmp_path / "out"), dataset_type=fiftyone.types.FiftyOneDataset)
    dataset.delete()
    reader = open_annotations("fiftyone", tmp_path / "out", classes.names)
    found = {reader.image(name).stem: reader.read(name) for name in reader.items()}
    for name, labels in maps.items():
        np.testing.assert_array_equal(found[name.rpartition("/")[2]], labels)
