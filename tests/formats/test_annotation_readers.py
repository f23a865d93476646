"""Label files of other tools, as they come: VOC, labelme, arrays, and what people do in Label Studio and COCO."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.formats import FORMATS, open_annotations
from hiast.formats.names import voc_colors
from hiast.formats.voc import VOC_NAMES, parse_labelmap

IDS = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (7, 9))
NAMES = ["a", "b", "c"]


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# --- choice by name ---------------------------------------------------------------------------------------------


def test_an_unknown_format_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(InputError, match=r"'cwat' is unknown.*cvat"):
        open_annotations("cwat", tmp_path, NAMES)


def test_an_unknown_option_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(
        InputError, match=r"'label_studio' does not know 'users': its options are image_key, use"
    ):
        open_annotations("label_studio", tmp_path, NAMES, users=3)


@pytest.mark.parametrize("classes", ["road", [], ["a", "a"], [str(i) for i in range(256)]])
def test_class_names_are_a_list_of_different_names(classes, tmp_path):
    with pytest.raises(InputError, match="Class names must be"):
        open_annotations("labelme", tmp_path, classes)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_place_that_does_not_exist_is_refused_by_name(name, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        open_annotations(name, tmp_path / "nowhere", NAMES)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_empty_folder_is_refused_by_name(name, tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        open_annotations(name, tmp_path, NAMES)


# --- PASCAL VOC -------------------------------------------------------------------------------------------------


def voc_palette() -> bytes:
    return np.array(voc_colors(), np.uint8).tobytes()


def test_the_color_map_of_voc():
    colors = voc_colors()
    known = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert colors[:7] == tuple(known)
    assert colors[20] == (0, 64, 128)
    assert colors[255] == (224, 224, 192)
    assert len(set(colors)) == 256


@pytest.mark.parametrize("kind", ["palette", "gray", "colors", "interlaced"])
def test_voc_with_borders(kind, tmp_path):
    ids = np.array([[0, 1, 15], [255, 20, 20]], np.uint8)
    picture = Image.fromarray(ids)
    if kind in ("palette", "interlaced"):
        picture.putpalette(voc_palette())
    elif kind == "colors":
        picture = Image.fromarray(np.array(voc_colors(), np.uint8)[ids])
    (tmp_path / "SegmentationClass").mkdir()
    picture.save(tmp_path / "SegmentationClass/2007_000032.png")
    (tmp_path / "JPEGImages").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "JPEGImages/2007_000032.jpg")
    reader = open_annotations("voc", tmp_path, VOC_NAMES)
    assert reader.items() == ("2007_000032",)
    np.testing.assert_array_equal(reader.read("2007_000032", (2, 3)), ids)
    assert reader.image("2007_000032") == tmp_path / "JPEGImages/2007_000032.jpg"
    some = open_annotations("voc", tmp_path, ["person", "tvmonitor"], ignored=["aeroplane"])
    assert some.read("2007_000032").tolist() == [[255, 255, 0], [255, 1, 1]]
    with pytest.raises(InputError, match="'aeroplane', which is none of your classes"):
        open_annotations("voc", tmp_path, ["person", "tvmonitor"]).read("2007_000032")


def test_masks_of_ones_own_classes(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "x.png")
    np.testing.assert_array_equal(open_annotations("voc", tmp_path, NAMES).read("x"), IDS)
    with pytest.raises(InputError, match="value 2"):
        open_annotations("voc", tmp_path, NAMES[:2]).read("x")


@pytest.mark.parametrize(
    "palette, by_color",
    [
        ([(255, 0, 0), (0, 0, 0), (0, 0, 255)], True),  # All colors are known, in another order.
        ([(0, 0, 0), (128, 0, 0), (0, 128, 0)], False),  # The color map of VOC.
        ([(255, 0, 0), (0, 0, 0), (1, 2, 3)], None),  # Some colors are known, in another order.
    ],
)
def test_the_palette_counts_where_the_labelmap_knows_its_colors(palette, by_color, tmp_path):
    """Editors that save a mask with a palette sort its colors as they like."""
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nroad:0,0,255::\ncar:255,0,0::\n")
    indices = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(np.array(palette, np.uint8).tobytes())
    picture.save(tmp_path / "SegmentationClass/x.png")
    reader = open_annotations("cvat", tmp_path, ["background", "road", "car"])
    if by_color is None:
        with pytest.raises(
            InputError, match=r"\[255, 0, 0\] .* for car, but its index 0 is that of background.*1, 2, 3"
        ):
            reader.read("x")
    else:
        expected = np.array([2, 0, 1], np.uint8)[indices] if by_color else indices
        np.testing.assert_array_equal(reader.read("x"), expected)


def test_lists_of_voc_choose_masks(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(IDS).save(tmp_path / f"SegmentationClass/{name}.png")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("c\na\n")
    assert open_annotations("voc", tmp_path, NAMES, subset="train").items() == ("a", "c")
    assert open_annotations("voc", tmp_path, NAMES).items() == ("a", "b", "c")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("d\n")
    with pytest.raises(InputError, match=r"val\.txt names 'd'"):
        open_annotations("voc", tmp_path, NAMES, subset="val")
    with pytest.raises(InputError, match=r"test\.txt does not exist"):
        open_annotations("voc", tmp_path, NAMES, subset="test")


def test_a_zip_file_of_cvat_with_a_folder_in_it(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[[0, 0, 0], [250, 50, 83]]], np.uint8)).save(buffer, format="PNG")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr(
            "task_1/labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\n"
        )
        archive.writestr("task_1/SegmentationClass/day 1/frame_000000.png", buffer.getvalue())
        archive.writestr("__MACOSX/task_1/SegmentationClass/._frame.png", b"x")
    reader = open_annotations("cvat", tmp_path / "task.zip", ["car"])
    assert reader.items() == ("day 1/frame_000000",)
    assert reader.read("day 1/frame_000000").tolist() == [[255, 0]]


def test_lines_of_a_labelmap():
    text = "\n# comment\nStraße, naß: 1, 2,3 :hand,foot:run\nplain:::\nbare\n"
    assert parse_labelmap(text, "x") == [("Straße, naß", (1, 2, 3)), ("plain", None), ("bare", None)]


@pytest.mark.parametrize(
    "line", ["a:1,2::", "a:1,2,300::", "a:x,y,z::", ":1,2,3::", "b:1,1,1::\nb:2,2,2::", ""]
)
def test_a_damaged_labelmap_is_refused_by_name(line):
    with pytest.raises(InputError, match=r"^labelmap\.txt"):
        parse_labelmap(line, "labelmap.txt")


# --- labelme ----------------------------------------------------------------------------------------------------


def labelme(*shapes: dict, **more: object) -> dict:
    return {
        "version": "5.4",
        "shapes": list(shapes),
        "imageHeight": 8,
        "imageWidth": 10,
        "imagePath": "x.jpg",
    } | more


def test_shapes_of_labelme_lie_over_each_other(tmp_path):
    outer = {"label": "a", "points": [[0, 0], [9, 0], [9, 7], [0, 7]], "shape_type": "polygon"}
    inner = {"label": "b", "points": [[2, 2], [5, 4]], "shape_type": "rectangle"}
    hole = {"label": "_background_", "points": [[3, 3], [3, 3]], "shape_type": "rectangle"}
    write_json(tmp_path / "day/x.json", labelme(outer, inner, hole))
    Image.new("RGB", (10, 8)).save(tmp_path / "day/x.jpg")
    expected = np.zeros((8, 10), np.uint8)
    expected[2:5, 2:6] = 1
    expected[3, 3] = IGNORED
    reader = open_annotations("labelme", tmp_path, NAMES)
    assert reader.items() == ("day/x",)
    np.testing.assert_array_equal(reader.read("day/x", (8, 10)), expected)
    assert reader.image("day/x") == tmp_path / "day/x.jpg"


def test_what_labelme_leaves_uncovered(tmp_path):
    shape = {"label": "b", "points": [[0, 0], [0, 0], [0, 0]]}  # without a kind, as old files are
    write_json(tmp_path / "x.json", labelme(shape))
    expected = np.full((8, 10), IGNORED, np.uint8)
    expected[0, 0] = 1
    np.testing.assert_array_equal(open_annotations("labelme", tmp_path, NAMES).read("x"), expected)
    expected[expected == IGNORED] = 0
    reader = open_annotations("labelme", tmp_path / "x.json", NAMES, background="a")
    np.testing.assert_array_equal(reader.read("x"), expected)
    with pytest.raises(InputError, match="background"):
        open_annotations("labelme", tmp_path, NAMES, background="sky")


def test_masks_of_labelme(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[True, False], [True, True]])).save(buffer, format="PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    write_json(
        tmp_path / "x.json",
        labelme({"label": "c", "points": [[8, 6], [9, 7]], "shape_type": "mask", "mask": mask}),
    )
    found = open_annotations("labelme", tmp_path, NAMES).read("x")
    assert np.argwhere(found == 2).tolist() == [[6, 8], [7, 8], [7, 9]]
    assert (found == IGNORED).sum() == 77


def test_labelme_without_a_size(tmp_path):
    write_json(tmp_path / "x.json", labelme(imageHeight=None, imageWidth=None))
    reader = open_annotations("labelme", tmp_path, NAMES)
    assert reader.read("x", (3, 4)).tolist() == [[255] * 4] * 3
    with pytest.raises(InputError, match=r"x\.json does not tell the size"):
        reader.read("x")


@pytest.mark.parametrize(
    "shape",
    [
        {"label": "d", "points": [[0, 0], [1, 1], [2, 0]]},
        {"label": "a", "points": [[0, 0], [1, 1]]},
        {"label": "a", "points": [[0, 0], [1, 1], [2]]},
        {"label": "a", "points": [[0, 0], [1, 1], [2, "x"]]},
        {"label": "a", "points": [[0, 0], [1, 1], [2, 1e300]]},
        {"label": "a", "points": "nothing"},
        {"label": 3, "points": []},
        {"points": []},
        {"label": "a", "points": [[0, 0]], "shape_type": "circle"},
        {"label": "a", "points": [[0, 0]], "shape_type": "sphere"},
        {"label": "a", "points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": "%%%"},
        {"label": "a", "points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": "aGVsbG8="},
        {"label": "a", "points": [[0, 0], [1, 1]], "shape_type": "mask"},
    ],
)
def test_a_shape_that_makes_no_sense_is_refused_by_name(shape, tmp_path):
    write_json(tmp_path / "x.json", labelme(shape))
    with pytest.raises(InputError, match=r"x\.json"):
        open_annotations("labelme", tmp_path, NAMES).read("x")


# --- arrays -----------------------------------------------------------------------------------------------------


def one_hot(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids == index for index in range(3)])


@pytest.mark.parametrize(
    "array",
    [
        IDS,
        IDS.astype(np.int64),
        np.where(IDS == 255, -1, IDS.astype(np.int16)),
        IDS.astype(np.float32),
        IDS[None],
        IDS[..., None],
        one_hot(IDS),
        one_hot(IDS).astype(np.float32),
        one_hot(IDS).transpose(1, 2, 0).astype(np.uint8),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", "compressed"])
def test_arrays(array, suffix, tmp_path):
    (tmp_path / "day").mkdir()
    if suffix == ".npy":
        np.save(tmp_path / "day/x.npy", array)
    else:
        (np.savez if suffix == ".npz" else np.savez_compressed)(tmp_path / "day/x.npz", array)
    reader = open_annotations("arrays", tmp_path, NAMES)
    assert reader.items() == ("day/x",)
    found = reader.read("day/x", IDS.shape)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IDS)


def test_a_binary_map_is_not_a_one_hot_array(tmp_path):
    np.save(tmp_path / "x.npy", IDS == 1)
    np.testing.assert_array_equal(
        open_annotations("arrays", tmp_path, NAMES).read("x"), (IDS == 1).astype(np.uint8)
    )


def test_arrays_of_several(tmp_path):
    np.savez(tmp_path / "x.npz", image=np.zeros((7, 9, 3)), label=IDS)
    with pytest.raises(InputError, match=r"x\.npz holds the arrays image, label"):
        open_annotations("arrays", tmp_path, NAMES).read("x")
    np.testing.assert_array_equal(open_annotations("arrays", tmp_path, NAMES, key="label").read("x"), IDS)
    with pytest.raises(InputError, match="no array 'mask'"):
        open_annotations("arrays", tmp_path, NAMES, key="mask").read("x")


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, 3]]),
        np.array([[0.5, 1]]),
        np.array([[np.nan, 1]]),
        np.array([[-2, 0]]),
        np.zeros((3, 4, 5, 6)),
        np.zeros(4),
        np.zeros((0, 4)),
        np.array([["a", "b"]]),
        np.ones((3, 4, 5)),
        np.full((3, 4, 5), 0.25),
        np.zeros((4, 5, 6)),
        np.zeros((3, 5, 3)),
    ],
)
def test_other_arrays_are_refused_by_name(array, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"x\.npy"):
        open_annotations("arrays", tmp_path, NAMES).read("x")


def test_arrays_of_objects_are_never_run(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"x\.npy"):
        open_annotations("arrays", tmp_path, NAMES).read("x")


# --- COCO -------------------------------------------------------------------------------------------------------


def coco(*annotations: dict, **image: object) -> dict:
    return {
        "images": [{"id": 7, "file_name": "day/x.jpg", "height": 8, "width": 10} | image],
        "annotations": [{"image_id": 7, "category_id": 1} | entry for entry in annotations],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 90, "name": "kite"}],
    }


def test_smaller_annotations_lie_on_top(tmp_path):
    small = {"segmentation": [[2, 2, 5, 2, 5, 4, 2, 4]], "area": 6, "category_id": 2}
    large = {"segmentation": [[0, 0, 10, 0, 10, 8, 0, 8]], "area": 80.0}
    file = write_json(tmp_path / "annotations/instances_val.json", coco(small, large))
    expected = np.zeros((8, 10), np.uint8)
    expected[2:4, 2:5] = 1
    for path in (file, tmp_path, file.parent):
        reader = open_annotations("coco", path, ["a", "b"])
        assert reader.items() == ("day/x",)
        np.testing.assert_array_equal(reader.read("day/x"), expected)
    assert reader.image("day/x") is None
    (tmp_path / "val/day").mkdir(parents=True)
    Image.new("RGB", (10, 8)).save(tmp_path / "val/day/x.jpg")
    assert reader.image("day/x") == tmp_path / "val/day/x.jpg"
    found = open_annotations("coco", file, ["a", "b"], image_folder=tmp_path / "val").image("day/x")
    assert found == tmp_path / "val/day/x.jpg"


def test_several_polygons_are_one_object_and_several_files_are_a_question(tmp_path):
    both = {"segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 6, 4, 6, 6, 4, 6]]}
    write_json(tmp_path / "train.json", coco(both))
    found = open_annotations("coco", tmp_path, ["a"]).read("day/x")
    assert np.argwhere(found == 0).tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
        [4, 4],
        [4, 5],
        [5, 4],
        [5, 5],
    ]
    write_json(tmp_path / "val.json", coco(both))
    with pytest.raises(InputError, match=r"several JSON files \(train\.json, val\.json\)"):
        open_annotations("coco", tmp_path, ["a"])


def test_coco_without_a_size(tmp_path):
    file = write_json(tmp_path / "x.json", coco({"segmentation": [[0, 0, 2, 0, 2, 2]]}, height=None))
    reader = open_annotations("coco", file, ["a"])
    assert reader.read("day/x", (4, 4)).shape == (4, 4)
    with pytest.raises(InputError, match=r"x\.json does not tell the size"):
        reader.read("day/x")


@pytest.mark.parametrize(
    "content",
    [
        coco({"category_id": 90, "segmentation": []}),
        coco({"category_id": 3, "segmentation": []}),
        coco({"image_id": 3, "segmentation": []}),
        coco({}),
        coco({"segmentation": [[0, 0, 1, 1]]}),
        coco({"segmentation": [[0, 0, 1, 1, 2]]}),
        coco({"segmentation": [[0, 0, 1, 1, 2, "x"]]}),
        coco({"segmentation": [[0, 0, 1, 1, 2, float("nan")]]}),
        coco({"segmentation": [[0, 0, 1, 1, 2, 1e12]]}),
        coco({"segmentation": {"size": [8, 10]}}),
        coco({"segmentation": {"size": [10, 8], "counts": [80]}}),
        coco({"segmentation": {"size": [8, 10], "counts": [79]}}),
        coco({"segmentation": {"size": [8, 10], "counts": [79.5, 0.5]}}),
        coco({"segmentation": {"size": [8, 10], "counts": "\x00"}}),
        coco({"segmentation": 5}),
        coco(file_name="../../x.jpg"),
        coco(file_name="/etc/x.jpg"),
        coco(height=-3),
        coco(height="8"),
        coco() | {"images": 5},
        coco() | {"annotations": None},
        coco() | {"categories": [{"id": 1}]},
        {"images": []},
        [],
        "text",
    ],
)
def test_damaged_coco_is_refused_by_name(content, tmp_path):
    file = write_json(tmp_path / "x.json", content)
    with pytest.raises(InputError, match=r"x\.json"):
        open_annotations("coco", file, ["a", "b"]).read("day/x")


def test_two_images_of_one_id_are_refused(tmp_path):
    content = coco()
    content["images"].append({"id": 7, "file_name": "y.jpg", "height": 1, "width": 1})
    with pytest.raises(InputError, match="id 7"):
        open_annotations("coco", write_json(tmp_path / "x.json", content), ["a"])


# --- Label Studio -----------------------------------------------------------------------------------------------


def task(*results: dict, address: str = "/data/local-files/?d=day/x%20y.jpg", **more: object) -> dict:
    size = {"original_width": 10, "original_height": 8}
    shapes = [size | result for result in results]
    return {"data": {"image": address}, "annotations": [{"result": shapes}]} | more


def shape(kind: str, label: str, **value: object) -> dict:
    return {"type": kind, "value": {kind: [label]} | value}


def test_polygons_and_rectangles_of_label_studio(tmp_path):
    outer = shape("polygonlabels", "a", points=[[0, 0], [100, 0], [100, 100], [0, 100]])
    inner = shape("rectanglelabels", "b", x=20.0, y=25, width=30, height=25, rotation=0)
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    file = write_json(tmp_path / "x.json", [task(outer, inner, choice)])
    expected = np.zeros((8, 10), np.uint8)
    expected[2:4, 2:5] = 1
    reader = open_annotations("label_studio", file, ["a", "b"])
    assert reader.items() == ("x y",)
    np.testing.assert_array_equal(reader.read("x y", (8, 10)), expected)
    assert reader.image("x y") is None
    (tmp_path / "day").mkdir()
    Image.new("RGB", (10, 8)).save(tmp_path / "day/x y.jpg")
    assert reader.image("x y") == tmp_path / "day/x y.jpg"


def test_the_last_annotation_counts_and_predictions_are_not_annotations(tmp_path):
    first = task(shape("rectanglelabels", "a", x=0, y=0, width=100, height=100))
    second = task(shape("rectanglelabels", "b", x=0, y=0, width=100, height=100))
    both = task(annotations=first["annotations"] + second["annotations"])
    canceled = task(
        address="b.png",
        annotations=[*first["annotations"], second["annotations"][0] | {"was_cancelled": True}],
    )
    untouched = task(address="c.png", annotations=[], predictions=second["annotations"])
    file = write_json(tmp_path / "x.json", [both, canceled, untouched])
    reader = open_annotations("label_studio", file, ["a", "b"])
    assert reader.items() == ("b", "x y")
    assert set(reader.read("x y").ravel()) == {1}
    assert set(reader.read("b").ravel()) == {0}
    assert open_annotations("label_studio", file, ["a", "b"], use="predictions").items() == ("c",)
    with pytest.raises(InputError, match="holds no predictions"):
        open_annotations(
            "label_studio", write_json(tmp_path / "y.json", [both]), ["a", "b"], use="predictions"
        )


def test_names_of_images_in_label_studio(tmp_path):
    addresses = [
        "s3://bucket/day/x.png",
        "https://host/night/x.png?token=1",
        "/data/upload/12/0a1b2c3d-z.png",
    ]
    tasks = [task(address=address, annotations=[{"result": []}]) for address in addresses]
    reader = open_annotations("label_studio", write_json(tmp_path / "x.json", tasks), ["a"])
    assert reader.items() == ("day/x", "night/x", "z")
    assert reader.read("z", (2, 3)).tolist() == [[255] * 3] * 2
    with pytest.raises(InputError, match="nothing is painted"):
        reader.read("z")
    named = [entry | {"data": entry["data"] | {"name": f"my/{i}"}} for i, entry in enumerate(tasks)]
    assert (
        open_annotations("label_studio", write_json(tmp_path / "x.json", named), ["a"]).items()[0] == "my/0"
    )


@pytest.mark.parametrize(
    "result",
    [
        shape("brushlabels", "c", rle=[], format="rle"),
        shape("brushlabels", "a", rle=[], format="rle"),
        shape("brushlabels", "a", rle=[1, 2, 300], format="rle"),
        shape("brushlabels", "a", rle="text", format="rle"),
        shape("brushlabels", "a"),
        shape("ellipselabels", "a", x=1, y=1, radiusX=3, radiusY=3),
        shape("polygonlabels", "a", points=[[0, 0], [1, 1]]),
        shape("polygonlabels", "a", points=[[0, 0], [1, 1], 5]),
        shape("rectanglelabels", "a", x=0, y=0, width=3, height=3, rotation=20),
        shape("rectanglelabels", "a", x=0, y=0, width="3", height=3),
        shape("polygonlabels", "a", points=[[0, 0], [1, 1], [1, 0]]) | {"image_rotation": 90},
        {"type": "brushlabels", "value": {"rle": []}},
        {"type": "brushlabels"},
        {"value": {}},
        shape("rectanglelabels", "a", x=0, y=0, width=3, height=3) | {"original_height": "8"},
        shape("rectanglelabels", "a", x=0, y=0, width=3, height=3) | {"original_height": 0},
    ],
)
def test_shapes_that_cannot_be_read_are_refused_by_name(result, tmp_path):
    file = write_json(tmp_path / "x.json", [task(result)])
    with pytest.raises(InputError, match=r"x\.json"):
        open_annotations("label_studio", file, ["a", "b"]).read("x y")


@pytest.mark.parametrize("content", [{}, [5], [{"annotations": [{"result": []}]}], [task(), task()]])
def test_projects_that_cannot_be_read_are_refused_by_name(content, tmp_path):
    file = write_json(tmp_path / "x.json", content)
    with pytest.raises(InputError, match=str(tmp_path)):
        open_annotations("label_studio", file, ["a"])


# --- Cityscapes -------------------------------------------------------------------------------------------------


def test_labels_of_cityscapes_and_their_groups(tmp_path):
    def square(label: str, left: int, **more: object) -> dict:
        return {"label": label, "polygon": [[left, 0], [left + 1, 0], [left + 1, 1], [left, 1]]} | more

    shapes = [
        square("car", 0), square("cargroup", 2), square("license plate", 0), square("polegroup", 4),
        square("pole", 6), square("car", 6, deleted=1), square("out of roi", 8),
    ]  # fmt: skip
    content = {"imgHeight": 2, "imgWidth": 10, "objects": shapes}
    write_json(tmp_path / "gtFine/train/ulm/ulm_0_0_gtFine_polygons.json", content)
    image = tmp_path / "leftImg8bit/train/ulm/ulm_0_0_leftImg8bit.png"
    image.parent.mkdir(parents=True)
    Image.new("RGB", (10, 2)).save(image)
    reader = open_annotations("cityscapes_polygons", tmp_path, ["car", "pole"])
    assert reader.items() == ("train/ulm/ulm_0_0",)
    assert (
        reader.read("train/ulm/ulm_0_0", (2, 10)).tolist() == [[0] * 4 + [255] * 2 + [1] * 2 + [255] * 2] * 2
    )
    assert reader.image("train/ulm/ulm_0_0") == image
    plates = open_annotations("cityscapes_polygons", tmp_path, ["car", "pole", "license plate", "polegroup"])
    assert plates.read("train/ulm/ulm_0_0")[0].tolist() == [2, 2, 0, 0, 3, 3, 1, 1, 255, 255]
    with pytest.raises(InputError, match=r"polygons\.json names the class 'pole'"):
        open_annotations("cityscapes_polygons", tmp_path, ["car"]).read("train/ulm/ulm_0_0")


@pytest.mark.parametrize(
    "content",
    [
        {"imgWidth": 3, "objects": []},
        {"imgHeight": 0, "imgWidth": 3, "objects": []},
        {"imgHeight": 10**9, "imgWidth": 10**9, "objects": []},
        {"imgHeight": 2, "imgWidth": 3},
        {"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car"}]},
        {"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[1, 2], [3, 4]]}]},
        {
            "imgHeight": 2,
            "imgWidth": 3,
            "objects": [{"label": "car", "polygon": [[1, 2], [3, 4], [5, 6, 7]]}],
        },
        {
            "imgHeight": 2,
            "imgWidth": 3,
            "objects": [{"label": "car", "polygon": [[1, 2], [3, 4], ["a", "b"]]}],
        },
    ],
)
def test_damaged_polygons_are_refused_by_name(content, tmp_path):
    write_json(tmp_path / "a_gtFine_polygons.json", content)
    with pytest.raises(InputError, match=r"a_gtFine_polygons\.json"):
        open_annotations("cityscapes_polygons", tmp_path, ["car"]).read("a")


# --- FiftyOne and Datumaro --------------------------------------------------------------------------------------


def test_fiftyone_with_colors_and_with_several_fields(tmp_path):
    Image.fromarray(np.array([[[0, 0, 0], [255, 109, 4], [0, 0, 255]]], np.uint8)).save(tmp_path / "m.png")
    label = {"_cls": "Segmentation", "mask_path": "m.png"}
    write_json(
        tmp_path / "samples.json", {"samples": [{"filepath": "/images/x.jpg", "one": label, "two": label}]}
    )
    write_json(tmp_path / "metadata.json", {"mask_targets": {"one": {"#ff6d04": "a", "#0000ff": "b"}}})
    with pytest.raises(InputError, match=r"several fields of segmentations \(one, two\)"):
        open_annotations("fiftyone", tmp_path, ["a", "b"])
    reader = open_annotations("fiftyone", tmp_path, ["a", "b"], field="one")
    assert reader.read("x").tolist() == [[255, 0, 1]]
    with pytest.raises(InputError, match=r"metadata\.json does not tell what the values of 'two' mean"):
        open_annotations("fiftyone", tmp_path, ["a", "b"], field="two")


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_datumaro_with_and_without_colors(mode, tmp_path):
    ids = np.array([[0, 1, 2]], np.uint8)
    picture = Image.fromarray(ids)
    if mode == "P":
        picture.putpalette(voc_palette())
    elif mode == "RGB":
        picture = Image.fromarray(np.array(voc_colors(), np.uint8)[ids])
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks/x.png")
    for meta in (
        {"labels": ["background", "a", "b"]},
        {"label_map": {"0": "background", "1": "a", "2": "b"}},
    ):
        write_json(tmp_path / "dataset_meta.json", meta)
        assert open_annotations("datumaro", tmp_path, ["a", "b"]).read("x").tolist() == [[255, 0, 1]]


@pytest.mark.parametrize(
    "meta",
    [
        [],
        {},
        {"label_map": ["a"]},
        {"label_map": {"x": "a"}},
        {"label_map": {"0": 1}},
        {"labels": [1]},
        {"labels": ["a", "b"], "segmentation_colors": [[0, 0, 0]]},
        {"labels": ["a"], "segmentation_colors": [[0, 0, 300]]},
        {"labels": ["a"], "segmentation_colors": [[0, 0]]},
    ],
)
def test_a_damaged_list_of_datumaro_is_refused_by_name(meta, tmp_path):
    (tmp_path / "masks").mkdir()
    write_json(tmp_path / "dataset_meta.json", meta)
    with pytest.raises(InputError, match=r"dataset_meta\.json"):
        open_annotations("datumaro", tmp_path, ["a", "b"])
