from __future__ import annotations

import os
import pickle
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from hiast.classes import LabelSpace
from hiast.data import FolderDataModule
from hiast.data.datasets.folder import label_space, parse_color
from hiast.data.loading.class_counts import count_class_pixels
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.errors import InputError

NAMES = ["ground", "thing", "sky"]
SCENARIO = LabelSpace(("road", "sky"), ((1, 2, 3), (4, 5, 6)))


def write(root: Path, label: str = "gray8", image: str = "png", count: int = 6) -> np.ndarray:
    """Own data in the given encoding; returns the class of each pixel, [count, 12, 16]."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (count, 12, 16))
    for i in range(count):
        folder = f"{'ab'[i % 2]}/{i // 2}"  # the same base names in both
        rgb, ids = root / f"cam/{folder}.{image}", root / f"seg/{folder}_label.png"
        rgb.parent.mkdir(parents=True, exist_ok=True)
        ids.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (12, 16, {"png": 3, "jpg": 3}.get(image, 3)), dtype=np.uint8)
        Image.fromarray(pixels).save(rgb)
        ENCODE[label](classes[i], ids)
    return classes


RAW = np.array([4, 9, 200])
COLORS = np.array([(128, 64, 128), (0, 0, 142), (70, 130, 180)], np.uint8)


def palette(classes: np.ndarray, path: Path) -> None:
    image = Image.fromarray(RAW[classes].astype(np.uint8))
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(path)


def palette_colors(classes: np.ndarray, path: Path) -> None:
    image = Image.fromarray(classes.astype(np.uint8))
    image.putpalette(COLORS.tobytes())
    image.save(path)


ENCODE = {
    "gray8": lambda c, p: Image.fromarray(RAW[c].astype(np.uint8)).save(p),
    "gray16": lambda c, p: cv2.imwrite(str(p), (RAW[c] * 300).astype(np.uint16)),
    "gray_as_rgb": lambda c, p: Image.fromarray(np.dstack([RAW[c].astype(np.uint8)] * 3)).save(p),
    "palette": palette,
    "rgba": lambda c, p: Image.fromarray(
        np.dstack([RAW[c], RAW[c] // 2, c, c * 0 + 255]).astype(np.uint8)
    ).save(p),
    "rgb16": lambda c, p: cv2.imwrite(str(p), np.dstack([c, c + 7, RAW[c]]).astype(np.uint16)),
    "colors": lambda c, p: Image.fromarray(COLORS[c]).save(p),
    "colors_rgba": lambda c, p: Image.fromarray(COLORS[c]).convert("RGBA").save(p),
    "palette_colors": palette_colors,
    "identity": lambda c, p: Image.fromarray(c.astype(np.uint8)).save(p),
}
IDS = {"ids": {4: "ground", 9: "thing", 200: "sky"}}
COLOR_TABLE = {"label_colors": {"128,64,128": "ground", "0 0 142": "thing", "#4682b4": "sky"}}
OPTIONS = {
    "gray8": IDS,
    "gray16": {"ids": {1200: "ground", 2700: "thing", 60000: "sky"}},
    "gray_as_rgb": IDS,
    "palette": IDS,
    "rgba": IDS | {"first_channel": True},
    "rgb16": IDS | {"first_channel": True},
    "colors": COLOR_TABLE,
    "colors_rgba": COLOR_TABLE,
    "palette_colors": COLOR_TABLE,
    "identity": {},
}


@pytest.mark.parametrize("label", list(ENCODE))
@pytest.mark.parametrize("image", ["png", "jpg"])
def test_any_encoding_from_options_alone(tmp_path: Path, label: str, image: str) -> None:
    classes = write(tmp_path, label, image)
    module = FolderDataModule(
        tmp_path, f"cam/{{name}}.{image}", "seg/{name}_label.png", names=NAMES, **OPTIONS[label]
    )
    dataset = module.train_dataset()
    assert dataset.names == ("a/0", "a/1", "a/2", "b/0", "b/1", "b/2")
    for index, which in enumerate([0, 2, 4, 1, 3, 5]):
        np.testing.assert_array_equal(dataset.read_label(index), classes[which])
        assert dataset.read_image(index).shape == (12, 16, 3)
    assert module.classes_present == dataset.classes_present == {0, 1, 2}


def test_joins_the_scenario_by_class_map(tmp_path: Path) -> None:
    classes = write(tmp_path)
    module = FolderDataModule(
        tmp_path,
        "cam/**/*.png",
        "seg/**/*_label.png",
        names=NAMES,
        **IDS,
        classes=SCENARIO,
        class_map={"ground": "road", "thing": None},
    )
    wanted = np.array([0, 255, 1])[classes[0]]
    np.testing.assert_array_equal(module.train_dataset().read_label(0), wanted)
    assert module.classes_present == {0, 1}


def test_from_yaml(tmp_path: Path) -> None:
    classes = write(tmp_path)
    options = OmegaConf.create(
        """
        images: cam/{name}.png
        labels: seg/{name}_label.png
        names: [ground, thing, sky]
        ids: {4: ground, 9: thing, 200: sky}
        colors: {thing: "#102030"}
        class_map: {ground: road, thing: null}
        """
    )
    module = FolderDataModule(tmp_path, **options, classes=SCENARIO)
    copy = pickle.loads(pickle.dumps(module.train_dataset()))
    np.testing.assert_array_equal(copy.read_label(0), np.array([0, 255, 1])[classes[0]])
    assert module.classes_present == {0, 1}


def test_ids_may_be_ignored_and_classes_absent(tmp_path: Path) -> None:
    classes = write(tmp_path)
    module = FolderDataModule(
        tmp_path,
        "cam/{name}.png",
        "seg/{name}_label.png",
        names=[*NAMES, "never"],
        ids={4: "ground", 9: None, 200: "sky"},
    )
    np.testing.assert_array_equal(module.train_dataset().read_label(0), np.array([0, 255, 2])[classes[0]])
    assert module.classes_present == module.train_dataset().classes_present == {0, 2}


def test_unlabeled_target_of_the_scenarios_classes(tmp_path: Path) -> None:
    write(tmp_path)
    module = FolderDataModule(tmp_path, "cam/{name}.png", classes=SCENARIO)
    assert len(module.train_dataset(labeled=False)) == 6
    assert module.val_dataloader() == []
    with pytest.raises(InputError, match="images are given without labels"):
        module.train_dataset()
    with pytest.raises(InputError, match="give the names"):
        FolderDataModule(tmp_path, "cam/{name}.png")


def test_splits(tmp_path: Path) -> None:
    write(tmp_path)
    common = {"data_root": tmp_path, "names": NAMES, **IDS}
    by_folder = FolderDataModule(
        images="cam/a/{n}.png",
        labels="seg/a/{n}_label.png",
        val_images="cam/b/{n}.png",
        val_labels="seg/b/{n}_label.png",
        **common,
    )
    assert by_folder.train_dataset().listing.pairs[0].image.parent.name == "a"
    assert by_folder.val_dataset().listing.pairs[0].image.parent.name == "b"

    patterns = {"images": "cam/{n}.png", "labels": "seg/{n}_label.png"}
    by_fraction = FolderDataModule(**patterns, val_fraction=0.34, **common)
    train, val = by_fraction.train_dataset().names, by_fraction.val_dataset().names
    assert (len(train), len(val)) == (4, 2)
    assert not set(train) & set(val)

    (tmp_path / "val.txt").write_text("a/1\nb/2.png\n")
    by_list = FolderDataModule(**patterns, val_list=tmp_path / "val.txt", **common)
    assert by_list.val_dataset().names == ("a/1", "b/2")
    assert by_list.train_dataset().names == ("a/0", "a/2", "b/0", "b/1")

    with pytest.raises(InputError, match="no validation split"):
        FolderDataModule(**patterns, **common).val_dataset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": {4: "grund"}}, "id 4 stands for 'grund', which is none of its classes"),
        ({"ids": {-2: "sky"}}, "'-2' is not a whole number"),
        ({"ids": {"x": "sky"}}, "'x' is not a whole number"),
        ({"label_colors": {"1,2": "sky"}}, "'1,2' is not a color"),
        (
            {"label_colors": {"1,2,3": "sky"}, "first_channel": True},
            "not both by label_colors and first_channel",
        ),
        ({"ids": {77: "sky"}}, r"hold the ids 4, 9, 200, none of which is in its id table \(77\)"),
        ({"colors": {"sea": "1,2,3"}}, "'sea', which is not a class"),
        ({"ids": {65536: "sky"}}, "'65536' is not a whole number from 0 to 65535"),
        ({"label_colors": {"1,2,3": "sky", "#040506": "grund"}}, "the color '#040506' stands for 'grund'"),
        ({"val_labels": "seg/{name}_label.png"}, "val_labels is given without val_images"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, options: dict, message: str) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=message):
        FolderDataModule(
            tmp_path, "cam/{name}.png", "seg/{name}_label.png", names=NAMES, **options
        ).train_dataset()


def test_labels_whose_classes_are_all_ignored_by_the_scenario(tmp_path: Path) -> None:
    write(tmp_path)
    module = FolderDataModule(
        *(tmp_path, "cam/{name}.png", "seg/{name}_label.png"),
        names=NAMES,
        ids={4: NAMES[0], 9: NAMES[1]},
        class_map=dict.fromkeys(NAMES),
        classes=label_space(["far", "near"]),
    )
    wanted = f"hold the classes {', '.join(sorted(NAMES[:2]))}, none of which the scenario uses.*class_map"
    with pytest.raises(InputError, match=wanted):
        module.train_dataset()


def test_the_largest_number_of_sixteen_bits_can_be_ignored(tmp_path: Path) -> None:
    classes = write(tmp_path, "identity", count=2)
    for i, path in enumerate(sorted((tmp_path / "seg").rglob("*.png"))):
        cv2.imwrite(str(path), np.where(classes[i] == 2, 65535, classes[i]).astype(np.uint16))
    module = FolderDataModule(
        *(tmp_path, "cam/{name}.png", "seg/{name}_label.png"),
        names=NAMES[:2],
        ids={0: "ground", 1: "thing", 65535: None},
    )
    dataset = module.train_dataset()
    assert 65535 in dataset.listing.void
    np.testing.assert_array_equal(dataset.read_label(0), np.where(classes[0] == 2, 255, classes[0]))


def test_colors_of_pictures() -> None:
    space = label_space(["road", "my thing", "other"], {"other": "#0a0b0c"})
    assert space.colors[0] == (128, 64, 128)
    assert space.colors[2] == (10, 11, 12)
    assert len(set(label_space([f"class {i}" for i in range(60)]).colors)) == 60
    with pytest.raises(InputError, match="all differ"):
        label_space(["a", "a"])
    for text in ("256,0,0", "red", "#12345", "1,2,3,4", ""):
        with pytest.raises(InputError, match="is not a color"):
            parse_color(text)


def folder(root: Path, **options: object) -> FolderDataModule:
    """Own data of three classes; options replace the usual ones."""
    usual = {"images": "cam/{name}.png", "labels": "seg/{name}_label.png", "names": NAMES, **IDS}
    return FolderDataModule(root, **(usual | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ids",
    [
        {"4": "ground", "9": "thing", "200": "sky"},
        {"ground": 4, "thing": 9, "sky": 200},
        [4, 9, 200],
        ["4", "9", "200"],
    ],
)
def test_ids_as_people_write_them(tmp_path: Path, ids: object) -> None:
    classes = write(tmp_path)
    np.testing.assert_array_equal(folder(tmp_path, ids=ids).train_dataset().read_label(0), classes[0])


def test_colors_as_people_write_them(tmp_path: Path) -> None:
    classes = write(tmp_path, "colors")
    for colors in (
        {"ground": [128, 64, 128], "thing": "0,0,142", "sky": "#4682b4"},
        {"128,64,128": "ground", "#804080": "ground", "0,0,142": "thing", "70, 130, 180": "sky"},
    ):
        dataset = folder(tmp_path, ids=None, label_colors=colors).train_dataset()
        np.testing.assert_array_equal(dataset.read_label(0), classes[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label_colors": {"1,2,3": "sky", "#010203": "thing"}, "ids": None},
            "'#010203' stands for two classes, 'sky'",
        ),
        ({"ids": {4: "sky", "4": "thing"}}, "id 4 stands for two classes"),
        ({"ids": {4: "None"}}, "To ignore it, write null"),
        ({"ids": [1, 2]}, r"or a list of 3 ids"),
        ({"ids": "0: ground"}, "write the class name of each id"),
        ({"names": "ground thing sky"}, "names is 'ground thing sky'; write a list"),
        ({"names": ["ground", None, "sky"]}, "names holds None: YAML reads null"),
        ({"names": ["ground", True, "sky"]}, "names holds True: YAML reads null, on, off"),
        ({"class_map": ["sky"]}, "class_map is"),
        ({"images": ["cam/{name}.png"]}, "has to be text"),
        ({"threshold": 128, "ids": None}, "threshold divides pixels into two classes, and there are 3"),
        ({"one_hot": True, "first_channel": True}, "not both by first_channel and one_hot"),
        ({"id_factor": 0}, "id_factor is 0"),
        ({"unlabeled": "drop"}, "unlabeled is 'drop': choose error or skip"),
        ({"val": "some"}, "val is 'some'"),
        ({"val": "labeled", "val_images": "x/*.png"}, "val: labeled needs labels for some"),
        ({"bands": [0, 1, 2]}, "counted from 1"),
        ({"value_range": 4095}, "value_range is 4095"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, options: dict, message: str) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=message):
        folder(tmp_path, **options)


def test_names_may_be_numbers_and_a_mapping(tmp_path: Path) -> None:
    write(tmp_path, "identity")
    for names in ([0, 1, 2], {0: "0", 1: "1", 2: "2"}):
        assert folder(tmp_path, names=names, ids=None).classes.names == ("0", "1", "2")


def test_ids_times_a_factor(tmp_path: Path) -> None:
    classes = write(tmp_path, "identity", count=2)
    for path in (tmp_path / "seg").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(51)).save(path)
    dataset = folder(tmp_path, ids=None, id_factor=51).train_dataset()
    np.testing.assert_array_equal(dataset.read_label(0), classes[0])


def test_soft_masks_of_two_classes(tmp_path: Path) -> None:
    for kind in ("cam", "seg"):
        (tmp_path / kind).mkdir()
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 255
    Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / "cam/0.png")
    Image.fromarray(mask).save(tmp_path / "seg/0.jpg", quality=70)
    module = FolderDataModule(tmp_path, "cam/{n}.png", "seg/{n}.jpg", names=["rest", "crack"], threshold=128)
    np.testing.assert_array_equal(module.train_dataset().read_label(0), mask // 255)


def test_images_without_label_are_refused_skipped_or_for_training(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("a/1", "b/2"):
        (tmp_path / f"seg/{name}_label.png").unlink()
    with pytest.raises(InputError, match=r"2 of 6 images have no label.*set unlabeled: skip"):
        folder(tmp_path).train_dataset()
    skipping = folder(tmp_path, unlabeled="skip")
    assert skipping.train_dataset().names == ("a/0", "a/2", "b/0", "b/1")
    assert len(skipping.train_dataset(labeled=False)) == 6
    target = folder(tmp_path, val="labeled")
    assert target.has_val
    assert target.val_dataset().names == ("a/0", "a/2", "b/0", "b/1")
    assert target.train_dataset(labeled=False).names == ("a/1", "b/2")
    with pytest.raises(InputError, match="keeps all labeled images for validation"):
        target.train_dataset()
    for path in (tmp_path / "cam").rglob("*.png"):
        if path.with_suffix("").relative_to(tmp_path / "cam").as_posix() in ("a/1", "b/2"):
            path.unlink()
    with pytest.raises(InputError, match="val: labeled leaves none to train on"):
        target.listing("train", labeled=False)


def test_a_mask_for_each_object(tmp_path: Path) -> None:
    for kind in ("cam", "seg"):
        (tmp_path / kind).mkdir()
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "cam/0.png")
    wanted = np.zeros((8, 9), np.uint8)
    for number, (top, left) in enumerate([(0, 0), (2, 3), (5, 6)]):
        mask = np.zeros((8, 9), np.uint8)
        mask[top : top + 3, left : left + 3] = 255
        wanted[mask > 0] = 1
        Image.fromarray(mask).save(tmp_path / f"seg/0_{number}.png")
    options = {"names": ["rest", "cell"], "ids": {0: "rest", 255: "cell"}}
    patterns = {"images": "cam/{name}.png", "labels": "seg/{name}_*.png"}
    with pytest.raises(InputError, match="set join_labels: true if there is a mask for each object"):
        FolderDataModule(tmp_path, **patterns, **options).train_dataset()
    dataset = FolderDataModule(tmp_path, **patterns, **options, join_labels=True).train_dataset()
    np.testing.assert_array_equal(dataset.read_label(0), wanted)


def test_a_mask_for_each_class(tmp_path: Path) -> None:
    for kind in ("cam", "seg/road", "seg/sky"):
        (tmp_path / kind).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "cam/0.png")
    masks = {name: np.zeros((8, 9), np.uint8) for name in ("road", "sky")}
    masks["road"][5:], masks["sky"][:3] = 255, 1
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / f"seg/{name}/0.png")
    module = FolderDataModule(
        tmp_path, "cam/{name}.png", "seg/{class}/{name}.png", names=["road", "sky"], join_labels=True
    )
    wanted = np.where(masks["sky"], 1, np.where(masks["road"], 0, 255))
    np.testing.assert_array_equal(module.train_dataset().read_label(0), wanted)
    with pytest.raises(InputError, match="is a mask of the class 'road', which is none of its classes: a, b"):
        FolderDataModule(
            tmp_path, "cam/{name}.png", "seg/{class}/{name}.png", names=["a", "b"], join_labels=True
        ).train_dataset()


@pytest.mark.parametrize("annotated", [False, True])
def test_a_held_out_image_is_not_trained_on_where_some_lack_labels(tmp_path: Path, annotated: bool) -> None:
    write(tmp_path, count=20)
    every = folder(tmp_path, val_fraction=0.3, unlabeled="skip")
    whole = set(every.val_dataset().names), set(every.train_dataset(labeled=False).names)
    plain = folder(tmp_path, val_fraction=0.3)
    assert whole == (set(plain.val_dataset().names), set(plain.train_dataset(labeled=False).names))
    for path in (tmp_path / "seg/b").glob("*.png"):
        path.unlink()
    options = {"labels": None, "ids": None, "format": Annotated} if annotated else {}
    module = folder(tmp_path, val_fraction=0.3, unlabeled="skip", **options)
    val, train = set(module.val_dataset().names), set(module.train_dataset(labeled=False).names)
    assert len(val) == (1 if annotated else 3)
    assert not val & train and len(val) + len(train) == 20
    assert set(module.train_dataset().names) <= train
    assert {pair.name for pair in module.files("val", labeled=False).pairs} == val


RED, BLUE = (128, 64, 128), (0, 0, 142)


def colored_masks(root: Path, left: str, right: str) -> None:
    """One image and two masks on black: the left half in red, the last column in blue."""
    (root / "cam").mkdir()
    Image.new("RGB", (4, 2)).save(root / "cam/0.png")
    masks = np.zeros((2, 2, 4, 3), np.uint8)
    masks[0, :, :2], masks[1, :, 3] = RED, BLUE
    for name, mask in zip((left, right), masks, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / name)


@pytest.mark.parametrize("black", ["unnamed", "ignored first", "ignored last", "a class"])
def test_masks_of_colors_are_laid_over_each_other(tmp_path: Path, black: str) -> None:
    colored_masks(tmp_path, "seg/0_0.png", "seg/0_1.png")
    names, table = ["road", "car"], {"128,64,128": "road", "0,0,142": "car"}
    if black == "a class":
        names, table = [*names, "rest"], {**table, "0,0,0": "rest"}
    elif black != "unnamed":
        table = {"0,0,0": None, **table} if black == "ignored first" else {**table, "0,0,0": None}
    module = FolderDataModule(
        tmp_path, "cam/{name}.png", "seg/{name}_*.png", names=names, label_colors=table, join_labels=True
    )
    rest = 2 if black == "a class" else 255
    assert module.train_dataset().read_label(0).tolist() == [[0, 0, rest, 1]] * 2


@pytest.mark.parametrize(
    "coding", [{"label_colors": {"128,64,128": "road", "0,0,142": "car"}}, {"one_hot": True}]
)
def test_counts_of_joined_masks_are_reused_until_a_mask_changes(tmp_path: Path, coding: dict) -> None:
    colored_masks(tmp_path, "seg/0_0.png", "seg/0_1.png")
    if "one_hot" in coding:
        for number in (0, 1):
            Image.fromarray(np.eye(3, dtype=np.uint8)[[[0, 1, 0, number]] * 2]).save(
                tmp_path / f"seg/0_{number}.png"
            )

    def count() -> int:
        """Number of kept counts, after another look at the dataset."""
        options = {"names": ["road", "car", "sky"], "join_labels": True, **coding}
        module = FolderDataModule(tmp_path, "cam/{name}.png", "seg/{name}_*.png", **options)
        count_class_pixels(module.train_dataset(), tmp_path / "counts")
        return len(list((tmp_path / "counts").iterdir()))

    assert [count(), count()] == [1, 1]
    os.utime(tmp_path / "seg/0_1.png", (1, 1))
    assert [count(), count()] == [2, 2]


@pytest.mark.parametrize("black", [{}, {"0,0,0": "car"}])
def test_masks_of_classes_may_be_colored(tmp_path: Path, black: dict[str, str]) -> None:
    colored_masks(tmp_path, "seg/0_car.png", "seg/0_road.png")
    module = FolderDataModule(
        tmp_path,
        "cam/{name}.png",
        "seg/{name}_{class}.png",
        names=["road", "car"],
        label_colors={"128,64,128": "road", "0,0,142": "car", **black},
        join_labels=True,
    )
    assert module.train_dataset().read_label(0).tolist() == [[1, 1, 255, 0]] * 2


def test_masks_of_channels_are_laid_over_each_other(tmp_path: Path) -> None:
    colored_masks(tmp_path, "seg/0_0.png", "seg/0_1.png")
    for name, channel, columns in (("0_0", 0, slice(0, 2)), ("0_1", 1, slice(3, 4))):
        mask = np.zeros((2, 4, 3), np.uint8)
        mask[:, columns, channel] = 255
        Image.fromarray(mask).save(tmp_path / f"seg/{name}.png")
    module = FolderDataModule(
        tmp_path,
        "cam/{name}.png",
        "seg/{name}_*.png",
        names=["road", "car", "sky"],
        one_hot=True,
        join_labels=True,
    )
    assert module.train_dataset().read_label(0).tolist() == [[0, 0, 255, 1]] * 2


class Annotated:
    """Annotations of two of six images."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes

    def items(self) -> tuple[str, ...]:
        return ("a/0", "b/2")

    def read(self, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
        assert size is not None
        return np.full(size, self.items().index(name), np.uint8)

    def image(self, name: str) -> Path | None:
        return None


def test_annotations_of_another_program(tmp_path: Path) -> None:
    write(tmp_path)
    for reader in (Annotated(tuple(NAMES)), Annotated):
        module = folder(tmp_path, labels=None, ids=None, format=reader, unlabeled="skip")
        dataset = module.train_dataset()
        assert dataset.names == ("a/0", "b/2")
        assert (dataset.read_label(0) == 0).all() and (dataset.read_label(1) == 1).all()
        assert pickle.loads(pickle.dumps(dataset)).read_label(1).shape == (12, 16)
    target = folder(tmp_path, labels=None, ids=None, format=Annotated, val="labeled")
    assert (len(target.val_dataset()), len(target.train_dataset(labeled=False))) == (2, 4)
    (tmp_path / "some.txt").write_text("a/0\n")
    listed = folder(tmp_path, labels=None, ids=None, format=Annotated, train_list="some.txt")
    assert listed.train_dataset().read_label(0).shape == (12, 16)  # Found below data_root.
    with pytest.raises(InputError, match="the annotations are read as x, y"):
        folder(tmp_path, labels=None, ids=None, format=Annotated(("x", "y")))
    with pytest.raises(InputError, match="labels and format are given"):
        folder(tmp_path, format=Annotated)


@pytest.mark.parametrize(
    "key", ["ids", "label_colors", "first_channel", "one_hot", "threshold", "id_factor", "join_labels"]
)
def test_annotations_need_no_coding(tmp_path: Path, key: str) -> None:
    write(tmp_path)
    values = {
        "ids": {1: "ground", 2: "thing"},
        "label_colors": {"1,2,3": "sky"},
        "threshold": 128,
        "id_factor": 2,
    }
    names = ["ground", "thing"] if key == "threshold" else NAMES
    given = {"names": names, "ids": None, key: values.get(key, True)}
    with pytest.raises(InputError, match=f"{key} is given together with format, .*; remove {key}"):
        folder(tmp_path, labels=None, format=Annotated, **given)


@pytest.mark.parametrize("annotations", ["arrays", "~/own/arrays"])
def test_annotations_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, annotations: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "own", count=1)
    (tmp_path / "own/arrays").mkdir()
    np.save(tmp_path / "own/arrays/0.npy", np.full((12, 16), 2, np.uint8))
    options = {"format": "arrays", "annotations": annotations}
    module = FolderDataModule("~/own", "cam/a/{name}.png", names=NAMES, **options)
    assert (module.train_dataset().read_label(0) == 2).all()


def test_annotations_of_another_size_are_resized_or_skipped(tmp_path: Path) -> None:
    write(tmp_path, count=3)
    (tmp_path / "arrays").mkdir()
    half = np.repeat(np.array([[0, 2]], np.uint8), 6, 0).repeat(4, 1)
    np.save(tmp_path / "arrays/0.npy", half)
    np.save(tmp_path / "arrays/1.npy", np.full((12, 16), 1, np.uint8))

    def dataset(choice: str | None) -> SegmentationDataset:
        options = {"names": NAMES, "format": "arrays", "annotations": "arrays", "size_mismatch": choice}
        return FolderDataModule(tmp_path, "cam/a/{name}.png", **options).train_dataset()

    resized = dataset("resize")
    np.testing.assert_array_equal(resized.read_label(0), half.repeat(2, 0).repeat(2, 1))
    assert (resized.read_label(1) == 1).all() and len(resized) == 2
    assert dataset("skip").names == ("1",)
    with pytest.raises(InputError, match="annotate the image at its own size"):
        dataset(None).read_label(0)


def test_class_pixels_of_annotations_are_counted_once_until_a_file_changes(tmp_path: Path) -> None:
    write(tmp_path, count=3)
    (tmp_path / "arrays").mkdir()
    for number in range(2):
        np.save(tmp_path / f"arrays/{number}.npy", np.full((12, 16), number, np.uint8))

    def counts(**more: object) -> list[list[int]]:
        options = {"names": NAMES, "format": "arrays", "annotations": "arrays", **more}
        dataset = FolderDataModule(tmp_path, "cam/a/{name}.png", **options).train_dataset()  # type: ignore[arg-type]
        return count_class_pixels(dataset, tmp_path / "counts").tolist()

    assert counts() == counts() == [[192, 0, 0], [0, 192, 0]]
    assert len(list((tmp_path / "counts").iterdir())) == 1
    assert counts(format_options={"ignored": ["other"]}) == counts()
    assert len(list((tmp_path / "counts").iterdir())) == 2
    time.sleep(0.01)
    np.save(tmp_path / "arrays/0.npy", np.full((12, 16), 2, np.uint8))
    assert counts() == [[0, 0, 192], [0, 192, 0]]


def test_a_coding_is_that_of_the_label_files_beside_annotations(tmp_path: Path) -> None:
    write(tmp_path)
    split = {"labels": None, "val_images": "cam/{name}.png", "val_labels": "seg/{name}_label.png"}
    module = folder(tmp_path, **split, format=Annotated, unlabeled="skip", ids={4: "sky", 9: "ground"})
    assert module.train_dataset().read_label(1).max() == 1
    assert set(np.unique(module.val_dataset().read_label(0)).tolist()) == {0, 2, 255}
    assert module.own_classes_present == set(NAMES)


def test_a_value_range_is_a_key_of_the_dataset(tmp_path: Path) -> None:
    write(tmp_path, count=1)
    gray = np.linspace(0, 1023, 12 * 16).astype(np.uint16).reshape(12, 16)
    cv2.imwrite(str(tmp_path / "cam/a/0.png"), gray)
    with pytest.raises(InputError, match="set value_range to what the camera gives"):
        folder(tmp_path).train_dataset().read_image(0)
    dataset = folder(tmp_path, value_range=[0, 1023]).train_dataset()
    np.testing.assert_array_equal(dataset.read_image(0)[..., 0], np.rint(gray * (255 / 1023)))
    assert dataset[0]["image"].shape == (3, 12, 16)
    skipping = folder(tmp_path, unreadable="skip")
    with pytest.raises(InputError, match="holds no images"):
        skipping.train_dataset()


def test_a_format_by_name(tmp_path: Path) -> None:
    classes = write(tmp_path)
    shutil.rmtree(tmp_path / "seg")
    (tmp_path / "arrays/a").mkdir(parents=True)
    np.save(tmp_path / "arrays/a/0.npy", classes[0])
    np.save(tmp_path / "arrays/a/2.npy", np.eye(3)[classes[4]])
    options = {"labels": None, "ids": None, "format": "arrays"}
    dataset = folder(tmp_path, **options, annotations="arrays", unlabeled="skip").train_dataset()
    assert dataset.names == ("a/0", "a/2")
    np.testing.assert_array_equal(dataset.read_label(0), classes[0])
    np.testing.assert_array_equal(dataset.read_label(1), classes[4])
    target = folder(
        tmp_path,
        **options,
        images="cam/b/{n}.png",
        val_images="cam/a/{n}.png",
        val_annotations="arrays/a",
        unlabeled="skip",
    )
    assert len(target.train_dataset(labeled=False)) == 3
    assert target.val_dataset().names == ("0", "2")
    for wrong, message in (
        ({"format": "coc", "annotations": "arrays"}, "The format 'coc' is unknown"),
        ({"format": "arrays", "annotations": None}, "say where the annotations are"),
        ({"format": None, "annotations": "arrays"}, "annotations are given without format"),
        ({"format": "arrays", "annotations": "none"}, "does not exist"),
        ({"format": "arrays", "annotations": "arrays", "format_options": {"x": 1}}, "does not know 'x'"),
    ):
        with pytest.raises(InputError, match=message):
            folder(tmp_path, **(options | wrong))


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "own")
    ids = {4: "ground", 9: "thing", 200: "sky"}
    module = FolderDataModule(
        "~/own", images="cam/{name}.png", labels="seg/{name}_label.png", names=NAMES, ids=ids
    )
    assert len(module.train_dataset()) == 6
