"""Drawn scenes: what is on them, how the looks differ, and that files are encoded as the datasets are."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, IGNORED, ROBOTCAR_IDS, SYNTHIA_IDS
from hiast.errors import InputError
from hiast.scenes import (
    CAMERA,
    GAME,
    OVERCAST,
    SIMULATOR,
    Look,
    draw_scene,
    write_cityscapes,
    write_gta5,
    write_robotcar,
    write_synthia,
)
from hiast.scenes.canvas import Canvas, View
from hiast.scenes.ids import Id

SIZE = (96, 192)
LOOKS = {"game": GAME, "camera": CAMERA}


def _raw(path: Path) -> np.ndarray:
    """The samples as they lie in the file: palette indices, 16 bits, channels in the file's order."""
    with Image.open(path) as picture:
        return np.asarray(picture)


def _digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def scenes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """60 scenes per look: images [60, H, W, 3] and labels [60, H, W]."""
    drawn = {}
    for name, look in LOOKS.items():
        images, labels = zip(*[draw_scene([11, index], SIZE, look) for index in range(60)], strict=True)
        drawn[name] = (np.stack(images), np.stack(labels))
    return drawn


@pytest.mark.parametrize(
    "look", [GAME, CAMERA, SIMULATOR, OVERCAST], ids=["game", "camera", "simulator", "overcast"]
)
def test_the_same_seed_draws_the_same_scene(look: Look) -> None:
    image, labels = draw_scene([3, 4], SIZE, look)
    again, labels_again = draw_scene([3, 4], SIZE, look)
    other, _ = draw_scene([3, 5], SIZE, look)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert image.shape == (*SIZE, 3) and labels.shape == SIZE
    assert image.dtype == np.uint8 and labels.dtype == np.uint8
    assert (image != other).mean() > 0.5


def test_a_scene_does_not_touch_the_global_random_state() -> None:
    before = np.random.get_state()[1].copy()
    draw_scene(0, SIZE)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_a_larger_picture_shows_the_same_street() -> None:
    _, small = draw_scene([5, 1], (96, 192), GAME)
    _, large = draw_scene([5, 1], (192, 384), GAME)
    assert (large[::2, ::2] == small).mean() > 0.95


@pytest.mark.parametrize("size", [(75, 101), (96, 128), (540, 960)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    image, labels = draw_scene(1, size, CAMERA)
    assert image.shape == (*size, 3) and labels.shape == size


@pytest.mark.parametrize("name", LOOKS)
def test_all_classes_occur_and_some_are_rare(scenes: dict, name: str) -> None:
    labels = scenes[name][1]
    pixels = np.bincount(labels.ravel(), minlength=256)
    share = dict(zip(CITYSCAPES_19.names, pixels[:19] / pixels[:19].sum(), strict=True))
    assert pixels[19:255].sum() == 0, "only classes and void"
    assert min(share.values()) > 0, share
    assert 0.25 < share["road"] < 0.5
    for frequent in ("building", "vegetation", "sky", "sidewalk", "car"):
        assert share["road"] > share[frequent] > 0.015
    for rare in ("train", "truck", "bus", "motorcycle", "rider", "bicycle", "traffic light", "traffic sign"):
        assert share[rare] < 0.035
        assert (labels == CITYSCAPES_19.index(rare)).any(axis=(1, 2)).sum() >= 3
    images_with_train = (labels == CITYSCAPES_19.index("train")).any(axis=(1, 2)).mean()
    assert images_with_train < 0.35


@pytest.mark.parametrize("name", LOOKS)
def test_some_pixels_are_void(scenes: dict, name: str) -> None:
    void = (scenes[name][1] == IGNORED).mean()
    assert 0 < void < 0.15


def test_the_looks_differ_as_they_should(scenes: dict) -> None:
    def saturation(images: np.ndarray) -> float:
        return float((images.max(axis=3).astype(float) - images.min(axis=3)).mean())

    def grain(images: np.ndarray, labels: np.ndarray) -> float:
        sky = labels == CITYSCAPES_19.index("sky")
        steps = np.abs(np.diff(images[..., 1].astype(float), axis=2))
        return float(np.median(steps[sky[:, :, 1:] & sky[:, :, :-1]]))

    game, camera = scenes["game"], scenes["camera"]
    assert saturation(game[0]) > 2 * saturation(camera[0])
    assert grain(*camera) > 2 * grain(*game), "noise in the sky"
    assert game[0].std() > 1.2 * camera[0].std(), "haze takes contrast"


def test_every_number_of_a_look_changes_the_picture() -> None:
    plain = replace(GAME, haze=0.0)
    image, _ = draw_scene(2, SIZE, plain)
    changes = {
        "shadow": 0.1, "clouds": 0.9, "texture": 2.0, "grain": 0.4, "haze": 0.02, "saturation": 0.5, "hue": 20.0,
        "white_balance": (0.8, 1.0, 1.2), "contrast": 0.7, "gamma": 1.3, "exposure": 0.3, "tint": 0.1,
        "falloff": 0.3, "vignette": 0.4, "blur": 0.01, "noise": 6.0,
    }  # fmt: skip
    for name, value in changes.items():
        changed, _ = draw_scene(2, SIZE, replace(plain, **{name: value}))
        assert np.abs(changed.astype(int) - image).mean() > 0.3, name


def test_appearance_leaves_the_labels_alone() -> None:
    _, labels = draw_scene(2, SIZE, GAME)
    _, changed = draw_scene(2, SIZE, replace(GAME, haze=0.02, hue=40.0, blur=0.01, noise=9.0, texture=2.0))
    np.testing.assert_array_equal(labels, changed)


def test_the_camera_projects_by_the_pinhole_formula() -> None:
    view = View(focal=0.6, horizon=0.5, center=0.5, height=1.5, bend=0.0, sun=1)
    canvas = Canvas((100, 200), view, 0.0, (0, 0, 0), 0.5)
    # At 10 m, one meter is 0.6 * 200 / 10 = 12 pixels; the canvas is drawn at twice the size.
    np.testing.assert_allclose(canvas.project([(0.0, 1.5, 10.0), (1.0, 0.0, 10.0)]), [[200, 100], [224, 136]])
    np.testing.assert_allclose(canvas.project(np.array([[1.0, 0.0, 10.0]])), [[224, 136]])
    canvas.front((-1, 1), (0, 1.5), 10.0, (10, 20, 30), Id.CAR)
    rows, columns = np.nonzero(canvas.ids == Id.CAR)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (100, 136, 176, 224)
    np.testing.assert_array_equal(canvas.image[110, 200], (10, 20, 30))


def test_near_things_hide_far_ones_of_the_same_lane() -> None:
    only_cars = dict.fromkeys(GAME.layout.counts, 0.0) | {"cars": 8.0}
    layout = replace(GAME.layout, counts=only_cars, lanes=(1, 1))
    view = [draw_scene(seed, SIZE, replace(GAME, layout=layout))[1] for seed in range(6)]
    for labels in view:
        rows = np.nonzero(labels == CITYSCAPES_19.index("car"))[0]
        assert rows.size and rows.max() > SIZE[0] * 0.5, "the nearest car stands on the road, unhidden"


def test_gta5_labels_are_palette_images_of_raw_ids(drawn_data: Path) -> None:
    labels = sorted((drawn_data / "GTA5" / "labels").glob("*.png"))
    assert [path.name for path in labels] == [f"{number:05d}.png" for number in range(1, 9)]
    assert [path.name for path in sorted((drawn_data / "GTA5" / "images").glob("*.png"))] == [
        p.name for p in labels
    ]
    seen: set[int] = set()
    for path in labels:
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("P", (192, 96))
            assert tuple(picture.getpalette()[3 * 7 : 3 * 7 + 3]) == (128, 64, 128), (
                "the palette colors roads"
            )
        seen |= set(np.unique(_raw(path)).tolist())
    assert {7, 8, 11, 21, 23} <= seen
    assert seen - set(CITYSCAPES_IDS), "void ids are there to be ignored"
    assert seen <= set(range(34))


def test_cityscapes_files_lie_in_city_folders(drawn_data: Path) -> None:
    root = drawn_data / "cityscapes"
    for split, count in (("train", 6), ("val", 4)):
        images = sorted((root / "leftImg8bit" / split).rglob("*.png"))
        assert len(images) == count
        assert len({path.parent.name for path in images}) >= 2
        for path in images:
            city = path.parent.name
            assert path.name.startswith(f"{city}_0") and path.name.endswith("_000019_leftImg8bit.png")
            stem = path.name.removesuffix("_leftImg8bit.png")
            label = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
            ids = _raw(label)
            assert ids.shape == (96, 192) and ids.dtype == np.uint8
            assert {1, 3, 7, 23} <= set(np.unique(ids).tolist()) <= set(range(34))
    assert not list(root.rglob("*TrainIds*"))


def test_synthia_labels_hold_the_class_in_the_red_channel_of_16_bits(drawn_data: Path) -> None:
    root = drawn_data / "SYNTHIA_RAND_CITYSCAPES" / "RAND_CITYSCAPES"
    labels = sorted((root / "GT" / "LABELS").glob("*.png"))
    assert [path.name for path in labels] == [f"{number:07d}.png" for number in range(8)]
    assert [path.name for path in sorted((root / "RGB").glob("*.png"))] == [path.name for path in labels]
    classes: set[int] = set()
    instances = 0
    for path in labels:
        header = path.read_bytes()[16:26]
        assert header[8:10] == b"\x10\x02", "bit depth 16, color type RGB"
        blue, green, red = np.moveaxis(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 2, 0)
        assert red.dtype == np.uint16 and not blue.any()
        things = np.isin(red, (8, 10, 11, 12, 17, 19))
        np.testing.assert_array_equal(green > 0, things)
        classes |= set(np.unique(red).tolist())
        instances = max(instances, int(green.max()))
    assert {1, 2, 3, 4, 6} <= classes <= set(SYNTHIA_IDS) | {0, 13, 14, 22}
    assert classes.isdisjoint({16, 18, 20}), "SYNTHIA has no terrain, trucks or trains"
    assert 22 in classes and instances > 1


def test_robotcar_annotates_val_in_the_red_channel_of_rgba(drawn_data: Path) -> None:
    root = drawn_data / "robotcar"
    val = sorted(path.name for path in (root / "val").glob("*.png"))
    assert len(val) == 3 and len(list((root / "train").glob("*.png"))) == 4
    assert sorted(path.name for path in (root / "anno").glob("*.png")) == val
    for name in val:
        with Image.open(root / "anno" / name) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (128, 96))
        ids = _raw(root / "anno" / name)
        assert (ids[..., 3] == 255).all()
        found = set(np.unique(ids[..., 0]).tolist())
        assert {7, 11} <= found <= set(ROBOTCAR_IDS) | {0} and 0 in found


def _write_all(root: Path, seed: int = 0) -> None:
    write_gta5(root, 2, (48, 96), seed)
    write_synthia(root, 2, (48, 96), seed)
    write_cityscapes(root, 2, 1, (48, 96), seed)
    write_robotcar(root, 1, 1, (48, 64), seed)


def test_writing_gives_the_same_bytes_everywhere(tmp_path: Path) -> None:
    _write_all(tmp_path / "a")
    _write_all(tmp_path / "b")
    first = _digests(tmp_path / "a")
    assert first == _digests(tmp_path / "b")
    pictures = [digest for name, digest in first.items() if name.endswith(".png")]
    assert len(set(pictures)) == len(pictures), "no two pictures are the same"


def test_writing_again_touches_nothing(tmp_path: Path) -> None:
    _write_all(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    _write_all(tmp_path)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_other_settings_replace_the_drawn_files_and_no_others(tmp_path: Path) -> None:
    folder = write_gta5(tmp_path, 3, (48, 96))
    before = _digests(folder)
    (folder / "notes.txt").write_text("mine")
    write_gta5(tmp_path, 2, (48, 96), seed=1)
    after = _digests(folder)
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["00001.png", "00002.png"]
    assert after["images/00001.png"] != before["images/00001.png"]
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_interrupted_writing_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hiast.scenes.writers import shots

    def fail_at_the_third(
        seed: tuple[int, ...], size: tuple[int, int], look: Look
    ) -> tuple[np.ndarray, np.ndarray]:
        if seed[-1] == 2:
            raise KeyboardInterrupt
        return draw_ids(seed, size, look)

    draw_ids = shots.draw_ids
    with monkeypatch.context() as patch:
        patch.setattr(shots, "draw_ids", fail_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            write_gta5(tmp_path / "a", 3, (48, 96))
    write_gta5(tmp_path / "a", 3, (48, 96))
    write_gta5(tmp_path / "b", 3, (48, 96))
    assert _digests(tmp_path / "a") == _digests(tmp_path / "b")


def test_real_data_is_never_overwritten(tmp_path: Path) -> None:
    genuine = tmp_path / "GTA5" / "images" / "00001.png"
    genuine.parent.mkdir(parents=True)
    genuine.write_bytes(b"genuine")
    with pytest.raises(InputError, match="GTA5 holds files that were not drawn"):
        write_gta5(tmp_path, 1, (48, 96))
    assert genuine.read_bytes() == b"genuine"


def test_a_scene_that_was_deleted_is_drawn_again(tmp_path: Path) -> None:
    write_gta5(tmp_path, 2, (32, 64))
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*.png"))}
    next(iter(before)).unlink()
    write_gta5(tmp_path, 2, (32, 64))
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*.png"))} == before
