from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from hiast.classes import LabelSpace
from hiast.data import FolderDataModule
from hiast.data.datasets.folder import label_space, parse_color
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
    with pytest.raises(InputError, match="no labels"):
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
        ({"label_colors": {"1,2,3": "sky"}, "first_channel": True}, "not both by label_colors and first_channel"),
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
