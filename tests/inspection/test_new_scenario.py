"""A scenario on own data is filled in by looking at its folders: patterns, ids or colors, names, sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hiast.cli.conf_files import conf_directory
from hiast.data import FolderDataModule
from hiast.data.datasets.own_classes import label_space
from hiast.errors import InputError
from hiast.inspection.class_names import read_names
from hiast.inspection.crops import propose_sizes
from hiast.inspection.layout import find_layout
from hiast.inspection.new_scenario import Folders, fill_in_scenario
from hiast.inspection.proposal import fill_in

TEMPLATES = {
    path.stem: path.read_text("utf-8") for path in sorted((conf_directory() / "template").glob("*.yaml"))
}
COLORS = {"128,64,128": "road", "70,130,180": "sky"}
STREET = {0: (128, 64, 128), 1: (70, 70, 70), 2: (70, 130, 180)}


def ids_of(seed: int, size: tuple[int, int] = (24, 48), classes: int = 3) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).integers(0, classes, size), axis=0).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write(
    root: Path, image: str, label: str, paint: Callable[[np.ndarray], np.ndarray] = lambda ids: ids
) -> None:
    """Three images and labels at paths with {name} in them."""
    for seed, name in enumerate(
        ("a/one", "a/two", "b/three") if "{deep}" in image else ("one", "two", "three")
    ):
        ids = ids_of(seed)
        folder, _, base = name.rpartition("/")
        places = {"deep": folder, "name": base}
        save(root / image.format(**places), np.dstack([60 * ids] * 3))
        save(root / label.format(**places), paint(ids))


def filled(root: Path, images: str, labels: str, **folders: Path) -> dict[str, dict]:
    texts, _ = fill_in_scenario(Folders(root / images, root / labels, **folders), TEMPLATES)
    return {role: yaml.safe_load(text.replace("NAME", "mine")) for role, text in texts.items()}


def opened(keys: dict) -> FolderDataModule:
    return FolderDataModule(**{key: value for key, value in keys.items() if key != "_target_"})


@pytest.mark.parametrize(
    ("image", "label", "folders", "patterns"),
    [
        ("i/{name}.png", "l/{name}.png", "i l", "i/{name}.png l/{name}.png"),
        ("i/{name}.JPG", "l/{name}.png", "i l", "i/{name}.jpg l/{name}.png"),
        ("x/{name}.jpg", "x/{name}.png", "x x", None),
        ("i/{deep}/{name}.png", "l/{deep}/{name}.png", "i l", "i/{name}.png l/{name}.png"),
        ("i/{deep}/{name}_cam.png", "l/{deep}/{name}_labels.png", "i l", "i/{name}_cam.png l/{name}_labels.png"),
        ("i/{deep}/x_{name}.png", "l/{deep}/gt_{name}.png", "i l", "i/{folder}/x_{name}.png l/{folder}/gt_{name}.png"),
        ("d/{name}.png", "d/{name}_mask.png", "d d", "{name}.png {name}_mask.png"),
        ("i/{name}.png", "i/masks/{name}.png", "i i/masks", None),
        ("{name}/images/{name}.png", "{name}/masks/0.png", ". .", "{name}/images/{name}.png {name}/masks/*.png"),
        ("i/{name}.png", "l/{name}/0.png", "i l", "i/{name}.png l/{name}/*.png"),
    ],
)  # fmt: skip
def test_patterns_are_found(
    tmp_path: Path, image: str, label: str, folders: str, patterns: str | None
) -> None:
    write(tmp_path, image, label)
    keys = filled(tmp_path, *folders.split())["source"]
    if patterns is not None:
        assert f"{keys['images']} {keys['labels']}" == patterns
    module = opened(keys)
    dataset = module.train_dataset()
    assert len(dataset) == 3
    for index, name in enumerate(dataset.names):
        seed = next(seed for seed, part in enumerate(("one", "two", "three")) if part in name)
        np.testing.assert_array_equal(dataset.read_label(index), ids_of(seed))


def test_of_several_kinds_of_label_files_the_ids_are_taken(tmp_path: Path) -> None:
    write(
        tmp_path,
        "i/{deep}/{name}_leftImg8bit.png",
        "l/{deep}/{name}_gtFine_color.png",
        lambda ids: np.dstack([ids] * 3),
    )
    write(
        tmp_path,
        "i/{deep}/{name}_leftImg8bit.png",
        "l/{deep}/{name}_gtFine_labelIds.png",
        lambda ids: ids + 7,
    )
    layout = find_layout(tmp_path / "i", tmp_path / "l")
    assert (layout.images, layout.labels) == ("i/{name}_leftImg8bit.png", "l/{name}_gtFine_labelIds.png")
    assert layout.others == ("{name}_gtFine_color",)
    keys = filled(tmp_path, "i", "l")["source"]
    assert keys["ids"] == {7: "road", 8: "sidewalk", 9: None}


def test_all_masks_of_an_image_are_looked_at(tmp_path: Path) -> None:
    """The first mask of each image holds one of three classes alone."""
    for value in (1, 2):
        write(
            tmp_path,
            "i/{name}.png",
            f"l/{{name}}/{value}.png",
            lambda ids, value=value: np.where(ids == value, ids, 0).astype(np.uint8),
        )
    keys = filled(tmp_path, "i", "l")["source"]
    assert keys["join_labels"] is True and list(keys["ids"]) == [0, 1, 2]
    labels = opened(keys).train_dataset().read_label(0)
    np.testing.assert_array_equal(labels, ids_of(0))


def painted(ids: np.ndarray) -> np.ndarray:
    return np.array([STREET[i] for i in range(3)], np.uint8)[ids]


def with_palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids).convert("P")
    image.putpalette([value for color in STREET.values() for value in color])
    return image


@pytest.mark.parametrize(
    ("paint", "expected"),
    [
        (lambda ids: ids, {"ids": {0: "class_0", 1: "class_1", 2: "class_2"}}),
        (lambda ids: np.uint8([0, 1, 255])[ids], {"ids": {0: "background", 1: "foreground", 255: None}}),
        (lambda ids: np.uint8([0, 0, 255])[ids], {"ids": {0: "background", 255: "foreground"}}),
        (lambda ids: np.uint8([0, 1, 254])[ids], {"ids": {0: "background", 1: "foreground", 254: None}}),
        (lambda ids: (ids * 51).astype(np.uint8), {"ids": {0: "class_0", 51: "class_51", 102: "class_102"}}),
        (painted, {"label_colors": {"128,64,128": "road", "70,70,70": "building", "70,130,180": "sky"}}),
        (lambda ids: np.dstack([np.roll(painted(ids)[..., 0], 1), ids, ids]), None),
    ],
)  # fmt: skip
def test_ids_and_colors_are_found(tmp_path: Path, paint: Callable, expected: dict | None) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png", paint)
    keys = filled(tmp_path, "i", "l")["source"]
    for key, value in (expected or {}).items():
        assert keys[key] == value
    assert ("ids" in keys) == ("label_colors" not in keys)
    module = opened(keys)
    module.train_dataset()
    assert module.own_classes.names == tuple(keys["names"])


def test_classes_have_the_colors_of_their_labels(tmp_path: Path) -> None:
    write(tmp_path, "i/{name}.png", "colored/{name}.png", painted)
    write(tmp_path, "j/{name}.png", "ids/{name}.png")
    classes = filled(tmp_path, "i", "colored")["scenario"]["classes"]
    assert classes["colors"] == {"road": "128,64,128", "building": "70,70,70", "sky": "70,130,180"}
    assert "colors" not in filled(tmp_path, "j", "ids")["scenario"]["classes"]


def test_names_of_a_palette(tmp_path: Path) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png")
    for path in (tmp_path / "l").iterdir():
        with_palette(np.asarray(Image.open(path))).save(path)
    assert filled(tmp_path, "i", "l")["source"]["names"] == ["road", "building", "sky"]


def test_soft_masks_of_jpeg(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / f"i/{seed}.png", np.dstack([60 * ids_of(seed)] * 3))
        save(tmp_path / f"l/{seed}.jpg", np.where(ids_of(seed) > 1, 255, 0).astype(np.uint8), quality=90)
    keys = filled(tmp_path, "i", "l")["source"]
    assert keys["threshold"] == 128 and keys["names"] == ["background", "foreground"]
    labels = opened(keys).train_dataset().read_label(0)
    assert 0 < (labels == (ids_of(0) > 1)).mean() <= 1 and set(np.unique(labels)) == {0, 1}


def test_ids_in_the_first_of_several_channels(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 48), np.uint8)
    write(tmp_path, "i/{name}.png", "l/{name}.png", lambda ids: np.dstack([ids, noise, noise[::-1]]))
    keys = filled(tmp_path, "i", "l")["source"]
    assert keys["first_channel"] is True and list(keys["ids"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("classes.txt", "road\nhouse\nsky\n", {0: "road", 1: "house", 2: "sky"}),
        ("classes.txt", "0 road\n7: house\n", {0: "road", 7: "house"}),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:70,130,180::\n", COLORS),
        ("labels.txt", "road, 128, 64, 128\nsky, 70, 130, 180\n", COLORS),
        ("label_colors.txt", "128 64 128\troad\n70 130 180\tsky\n", COLORS),
        ("class_dict.csv", "name,r,g,b\nroad,128,64,128\nsky,70,130,180\n", COLORS),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, crack\n", {0: "background", 1: "crack"}),
        ("classes.json", '["road", "sky"]', {0: "road", 1: "sky"}),
        ("classes.json", '{"road": 3, "sky": 4}', {3: "road", 4: "sky"}),
    ],
)  # fmt: skip
def test_lists_of_names(tmp_path: Path, name: str, text: str, expected: dict) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_names(path) == expected


def test_a_list_beside_the_labels_and_names_of_the_user(tmp_path: Path) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png")
    (tmp_path / "classes.txt").write_text("soil\ncrop\nvoid\n")
    keys = filled(tmp_path, "i", "l")["source"]
    assert keys["ids"] == {0: "soil", 1: "crop", 2: None} and keys["names"] == ["soil", "crop"]
    folders = Folders(tmp_path / "i", tmp_path / "l")
    text = fill_in_scenario(folders, TEMPLATES, ["a", "yes", "c: d"])[0]["source"]
    assert yaml.safe_load(text)["ids"] == {0: "a", 1: "yes", 2: "c: d"}
    with pytest.raises(InputError, match="2 names, and the labels hold 3 values: 0, 1, 2"):
        fill_in_scenario(folders, TEMPLATES, ["a", "b"])


def test_the_target_and_its_labeled_images(tmp_path: Path) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png")
    for seed in range(4):
        save(tmp_path / f"t/x/{seed}.png", np.zeros((40, 80, 3), np.uint8))
        save(tmp_path / f"v/rgb/{seed}.png", np.zeros((40, 80, 3), np.uint8))
        save(tmp_path / f"v/gt/{seed}.png", ids_of(seed, (40, 80)))
    folders = {"val_images": tmp_path / "v/rgb", "val_labels": tmp_path / "v/gt"}
    found = filled(tmp_path, "i", "l", target=tmp_path / "t", **folders)
    target = opened(found["target"])
    assert len(target.train_dataset(labeled=False)) == 4 and len(target.val_dataset()) == 4
    assert found["scenario"]["validation"] == {"size": [64, 96]}
    assert found["scenario"]["classes"]["names"] == found["target"]["names"]
    # Only a part of the images has labels: these are for validation.
    (tmp_path / "some").mkdir()
    (tmp_path / "v/gt/1.png").rename(tmp_path / "some/1.png")
    partly = opened(
        filled(tmp_path, "i", "l", target=tmp_path / "v/rgb", val_labels=tmp_path / "some")["target"]
    )
    assert partly.val_dataset().names == ("1",)
    assert partly.train_dataset(labeled=False).names == ("0", "2", "3")
    unlabeled = filled(tmp_path, "i", "l", target=tmp_path / "t")["target"]
    assert "names" not in unlabeled and "val_images" not in unlabeled
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.MP4").write_bytes(b"x")
    videos = filled(tmp_path, "i", "l", target=tmp_path / "clips")["target"]
    assert videos["_target_"] == "hiast.data.VideoDataModule" and videos["videos"] == "**/*.mp4"


def test_sixteen_bits_that_would_be_black_get_a_value_range(tmp_path: Path) -> None:
    import cv2

    write(tmp_path, "i/{name}.png", "l/{name}.png")
    for seed, path in enumerate(sorted((tmp_path / "i").iterdir())):
        cv2.imwrite(str(path), (ids_of(seed).astype(np.uint16) * 50) + 3)
    assert filled(tmp_path, "i", "l")["source"]["value_range"] == [3.0, 103.0]


@pytest.mark.parametrize(
    ("size", "crop", "heights"),
    [
        ((64, 128), (64, 128), (43, 64)), ((50, 60), (64, 64), (43, 50)), ((1024, 2048), (512, 1024), (341, 1024)),
        ((1080, 1920), (544, 960), (363, 1080)), ((1920, 1080), (960, 544), (640, 1905)),
        ((5, 4000), (64, 4000), (1, 1)),
    ],
)  # fmt: skip
def test_sizes(size: tuple[int, int], crop: tuple[int, int], heights: tuple[int, int]) -> None:
    found = propose_sizes([size])
    assert found.crop == found.validation == crop or size[0] < 32
    assert (found.source.min_height, found.source.max_height) == heights or size[0] < 32
    assert found.source.min_height <= found.source.max_height <= size[0]
    assert all(side % 32 == 0 and side >= 64 for side in found.crop)


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (("i", "none"), "labels: there is no folder"),
        (("none", "l"), "images: there is no folder"),
        (("empty", "l"), "holds no images; there are list.txt"),
        (("i", "other"), "have nothing in common"),
        (("i", "one"), "hold one class"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_said(tmp_path: Path, folders: tuple[str, str], wanted: str) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png")
    write(tmp_path, "one_i/{name}.png", "one/{name}.png", lambda ids: ids * 0)
    write(tmp_path, "other_i/{name}.png", "other/x{name}x/y{name}.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/list.txt").write_text("a")
    with pytest.raises(InputError, match=wanted):
        filled(tmp_path, *folders)


def test_fill_in_keeps_the_words_around() -> None:
    text = "# head\na: 1   # note\n# c:\n#   x: 1\n# tail\n"
    assert fill_in(text, {"a": None, "c": "2"}) == "# head\n# a: 1   # note\nc: 2\n# tail\n"
    with pytest.raises(InputError, match="no line for d"):
        fill_in(text, {"d": "1"})


@pytest.mark.parametrize("colors", [False, True])
def test_labels_of_the_target_mean_what_those_of_the_source_mean(tmp_path: Path, colors: bool) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png")
    (tmp_path / "classes.txt").write_text("soil\ncrop\nweed\n")
    write(
        tmp_path,
        "t/{name}.png",
        "v/{name}.png",
        painted if colors else lambda ids: np.uint8([0, 1, 9])[ids],
    )
    folders = {"target": tmp_path / "t", "val_images": tmp_path / "t", "val_labels": tmp_path / "v"}
    (tmp_path / "classes.txt").rename(tmp_path / "l/classes.txt")
    found = filled(tmp_path, "i", "l", **folders)
    target = found["target"]
    if colors:  # other names: to be mapped by hand
        assert target["class_map"] == {"road": None, "building": None, "sky": None}
    else:
        assert target["ids"] == {0: "soil", 1: "crop", 2: "weed", 9: None} and target["class_map"] is None
    keys = {key: value for key, value in target.items() if key != "_target_"}
    module = FolderDataModule(**keys, classes=label_space(["soil", "crop", "weed"]))
    assert len(module.val_dataset()) == 3 if not colors else module.classes_present == frozenset()


def test_placeholders_of_colors_and_of_ids_are_kept_apart(tmp_path: Path) -> None:
    own = np.array([(9, 9, 9), (200, 10, 10), (10, 200, 10)], np.uint8)
    write(tmp_path, "i/{name}.png", "l/{name}.png", lambda ids: own[ids])
    write(tmp_path, "t/{name}.png", "v/{name}.png")
    folders = Folders(tmp_path / "i", tmp_path / "l", tmp_path / "t", tmp_path / "t", tmp_path / "v")
    texts, notes = fill_in_scenario(folders, TEMPLATES)
    target = yaml.safe_load(texts["target"])
    assert target["ids"] == {0: "target_0", 1: "target_1", 2: "target_2"}
    assert target["class_map"] == dict.fromkeys(target["names"])
    assert notes[-1].startswith(
        "No list and no known colors name the classes: write their names in place of class_0"
    )
    _, notes = fill_in_scenario(folders, TEMPLATES, ["a", "b", "c"])
    assert "No list" not in notes[-1]


def test_tiff_labels_with_a_band_for_each_class(tmp_path: Path) -> None:
    """Pillow does not know them."""
    import tifffile

    write(tmp_path, "i/{name}.png", "l/{name}.png", lambda ids: ids)
    for path in sorted((tmp_path / "l").iterdir()):
        ids = np.array(Image.open(path))
        bands = np.stack([ids == k for k in range(5)], -1).astype(np.uint8) * 255
        tifffile.imwrite(path.with_suffix(".tif"), bands, photometric="minisblack", planarconfig="contig")
        path.unlink()
    keys = filled(tmp_path, "i", "l")["source"]
    assert list(keys["ids"]) == [0, 1, 2]


def test_folders_above_and_below_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "photos/{name}.png", "work/masks/{name}.png", lambda ids: ids)
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    found = find_layout(Path("../photos"), Path("masks"))
    assert (found.root, found.images, found.labels) == (
        tmp_path,
        "photos/{name}.png",
        "work/masks/{name}.png",
    )


def test_a_target_of_images_and_videos_is_asked_about(tmp_path: Path) -> None:
    write(tmp_path, "i/{name}.png", "l/{name}.png")
    write(tmp_path, "t/{name}.png", "m/{name}.png")
    (tmp_path / "t/clip.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match="holds 3 images and 1 video: name a folder of one kind"):
        filled(tmp_path, "i", "l", target=tmp_path / "t")
