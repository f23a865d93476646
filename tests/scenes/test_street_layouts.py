"""Drawn scenes in the layouts of ACDC, Dark Zurich, BDD100K, IDD, Mapillary Vistas, UrbanSyn and Synscapes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hiast.errors import InputError
from hiast.scenes import (
    write_acdc,
    write_bdd100k,
    write_dark_zurich,
    write_idd,
    write_mapillary,
    write_synscapes,
    write_urbansyn,
)
from hiast.scenes.ids import Id
from hiast.scenes.writers.idd import _polygons

SIZE = (48, 96)
# Writer, and the kinds of files that it leaves: pattern -> number.
LAYOUTS: dict[str, tuple[Callable[[Path], Any], dict[str, int]]] = {
    "acdc": (
        lambda root: write_acdc(root, 1, 1, SIZE),
        {
            "acdc/rgb_anon/*/train/GOPR*/*_frame_*_rgb_anon.png": 4,
            "acdc/rgb_anon/*/val/GOPR*/*_frame_*_rgb_anon.png": 4,
            "acdc/rgb_anon/*/test/GOPR*/*_frame_*_rgb_anon.png": 4,
            "acdc/rgb_anon/*/*_ref/GOPR*/*_frame_*_rgb_ref_anon.png": 12,
            "acdc/gt/*/train/GOPR*/*_gt_label*Ids.png": 8,
            "acdc/gt/*/val/GOPR*/*_gt_label*Ids.png": 8,
        },
    ),
    "dark_zurich": (
        lambda root: write_dark_zurich(root, 2, 1, SIZE),
        {
            "dark_zurich/rgb_anon/train/night/GOPR0351/*_rgb_anon.png": 2,
            "dark_zurich/rgb_anon/train/day/GOPR0345/*_rgb_anon.png": 2,
            "dark_zurich/rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png": 1,
            "dark_zurich/rgb_anon/val_ref/day/GOPR0356_ref/GOPR0356_frame_000321_ref_rgb_anon.png": 1,
            "dark_zurich/gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_label*Ids.png": 2,
        },
    ),
    "bdd100k": (
        lambda root: write_bdd100k(root, 2, 1, SIZE),
        {
            "bdd100k/images/10k/train/????????-????????.jpg": 2,
            "bdd100k/images/10k/val/????????-????????.jpg": 1,
            "bdd100k/labels/sem_seg/masks/train/????????-????????.png": 2,
            "bdd100k/labels/sem_seg/masks/val/????????-????????.png": 1,
        },
    ),
    "idd": (
        lambda root: write_idd(root, 2, 1, SIZE),
        {
            "IDD_Segmentation/leftImg8bit/train/*/*_leftImg8bit.png": 2,
            "IDD_Segmentation/leftImg8bit/val/*/*_leftImg8bit.png": 1,
            "IDD_Segmentation/gtFine/*/*/*_gtFine_polygons.json": 3,
            "idd20kII/leftImg8bit/train/*/frame*_leftImg8bit.jpg": 2,
            "idd20kII/leftImg8bit/val/*/frame*_leftImg8bit.jpg": 1,
            "idd20kII/gtFine/*/*/frame*_gtFine_polygons.json": 3,
        },
    ),
    "mapillary": (
        lambda root: write_mapillary(root, 2, 1, SIZE),
        {
            "mapillary/training/images/*.jpg": 2,
            "mapillary/validation/images/*.jpg": 1,
            "mapillary/training/v*/labels/*.png": 4,
            "mapillary/validation/v*/labels/*.png": 2,
        },
    ),
    "urbansyn": (
        lambda root: write_urbansyn(root, 2, SIZE),
        {"urbansyn/rgb/rgb_000?.png": 2, "urbansyn/ss/ss_000?.png": 2},
    ),
    "synscapes": (
        lambda root: write_synscapes(root, 2, SIZE),
        {
            "Synscapes/img/rgb/?.png": 2,
            "Synscapes/img/rgb-2k/?.png": 2,
            "Synscapes/img/class/?.png": 2,
        },
    ),
}
EACH = pytest.mark.parametrize("name", LAYOUTS)


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layouts")
    for write, _ in LAYOUTS.values():
        write(root)
    return root


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@EACH
def test_files_lie_where_those_of_the_dataset_do_and_no_others_are_there(streets: Path, name: str) -> None:
    patterns = LAYOUTS[name][1]
    found = [path for pattern in patterns for path in streets.glob(pattern)]
    assert {pattern: len(list(streets.glob(pattern))) for pattern in patterns} == patterns
    assert len(set(found)) == len(found)
    folders = {pattern.split("/")[0] for pattern in patterns}
    there = [path for folder in folders for path in (streets / folder).rglob("*.*") if path.is_file()]
    assert set(there) - set(found) == {streets / folder / "drawn_scenes.json" for folder in folders}


@EACH
def test_writing_again_gives_the_same_bytes_and_touches_nothing(
    streets: Path, tmp_path: Path, name: str
) -> None:
    write, patterns = LAYOUTS[name]
    write(tmp_path)
    for folder in {pattern.split("/")[0] for pattern in patterns}:
        assert digests(tmp_path / folder) == digests(streets / folder)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    write(tmp_path)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@EACH
def test_real_data_is_never_overwritten(tmp_path: Path, name: str) -> None:
    write, patterns = LAYOUTS[name]
    genuine = tmp_path / next(iter(patterns)).split("/")[0] / "readme.txt"
    genuine.parent.mkdir()
    genuine.write_text("genuine")
    with pytest.raises(InputError, match="holds files that were not drawn"):
        write(tmp_path)
    assert [path.name for path in genuine.parent.iterdir()] == ["readme.txt"]


def test_no_two_datasets_show_the_same_streets(streets: Path) -> None:
    seeds = [
        tuple(seed)
        for marker in streets.rglob("drawn_scenes.json")
        for seed in json.loads(marker.read_text())["seeds"]
    ]
    assert len(set(seeds)) == len(seeds) > 40


def values(path: Path) -> set[int]:
    with Image.open(path) as picture:
        return set(np.unique(np.asarray(picture)).tolist())


@pytest.mark.parametrize(
    ("pattern", "mode", "within", "some"),
    [
        ("acdc/gt/**/*_labelIds.png", "L", set(range(34)), {7, 23}),
        ("acdc/gt/**/*_labelTrainIds.png", "L", {*range(19), 255}, {0, 10}),
        ("dark_zurich/gt/**/*_labelTrainIds.png", "L", {*range(19), 255}, {0, 10}),
        ("bdd100k/labels/**/*.png", "L", {*range(19), 255}, {0, 10}),
        ("mapillary/*/v1.2/labels/*.png", "P", set(range(66)), {13, 24, 27}),
        ("mapillary/*/v2.0/labels/*.png", "P", set(range(124)), {21, 35, 61}),
        ("urbansyn/ss/*.png", "L", {*range(20), 255}, {0, 10, 19}),
        ("Synscapes/img/class/*.png", "L", set(range(34)), {7, 23}),
    ],
)
def test_labels_are_encoded_as_published(
    streets: Path, pattern: str, mode: str, within: set[int], some: set[int]
) -> None:
    seen: set[int] = set()
    for path in streets.glob(pattern):
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", mode)
            if mode == "P":
                assert tuple(picture.getpalette()[3 * 13 : 3 * 14]) == (128, 64, 128) or "v2.0" in pattern
        seen |= values(path)
    assert some <= seen <= within


def test_the_conditions_of_acdc_look_different(streets: Path) -> None:
    def mean(condition: str) -> float:
        images = (streets / "acdc/rgb_anon" / condition / "train").rglob("*.png")
        return float(np.mean([np.asarray(Image.open(path)).mean() for path in images]))

    assert mean("night") < 0.6 * mean("snow")
    assert mean("rain") < mean("snow")


def test_polygons_of_idd_have_corners_on_pixels_and_its_names(streets: Path) -> None:
    names: set[str] = set()
    for path in streets.glob("*/gtFine/*/*/*_polygons.json"):
        content = json.loads(path.read_text())
        assert (content["imgHeight"], content["imgWidth"]) == SIZE
        for thing in content["objects"]:
            corners = np.array(thing["polygon"])
            assert corners.ndim == 2 and len(corners) >= 3
            assert (corners >= 0).all() and (corners < SIZE[::-1]).all()
            names.add(thing["label"])
    assert {"road", "sky", "non-drivable fallback", "car", "vegetation"} <= names
    assert "terrain" not in names


def test_a_thing_within_another_is_drawn_after_it() -> None:
    ids = np.full((9, 9), Id.SKY, np.uint8)
    ids[1:8, 1:8] = Id.BUILDING
    ids[3:6, 3:6] = Id.SKY
    ids[4, 4] = Id.POLE
    things = json.loads(_polygons(np.zeros((9, 9, 3), np.uint8), ids))["objects"]
    assert [thing["label"] for thing in things] == ["sky", "building", "sky", "pole"]
    assert things[-1]["polygon"] == [[4, 4]] * 3
