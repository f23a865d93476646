"""Reported: image and label files as people have them; the check and training judge them alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from projects import COLORS, IDS, NAMES, SOURCE, TARGET, Project, save, scene

from hiast.inspection.findings import Finding

Ids = np.ndarray
TABLE = {f"{r},{g},{b}": name for (r, g, b), name in zip(COLORS, NAMES, strict=True)}


def errors(found: list[Finding]) -> str:
    return "\n".join(f"{one.text} {' '.join(one.details)}" for one in found if one.severity == "error")


def texts(found: list[Finding]) -> str:
    return "\n".join(f"{one.severity}: {one.text} {' '.join(one.details)}" for one in found)


def by_pillow(**options: Any) -> Callable[[Ids, Path], None]:
    return lambda pixels, path: Image.fromarray(pixels).save(path, **options)


# -- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tif", "bmp", "webp", "avif", "jp2", "ppm", "jpg"])
def test_image_formats_are_read(project: Project, suffix: str) -> None:
    lossless = {"lossless": True} if suffix == "webp" else {}
    project.reshoot(by_pillow(**lossless), f".{suffix}")
    found = project.findings()
    assert "There are 3 other files such as 0." in errors(found)
    project.write_conf(
        target=TARGET.replace("\nimages: images/{name}.png", f"\nimages: images/{{name}}.{suffix}")
    )
    assert texts(project.findings()) == ""
    image = project.module("target").train_dataset(labeled=False).read_image(0)
    exact = suffix in ("tif", "bmp", "webp", "ppm")
    assert np.abs(image.astype(int) - scene(100)[0] // 2).mean() <= (0 if exact else 6)


def test_webp_behind_the_name_of_a_png(project: Project) -> None:
    project.reshoot(by_pillow(format="WEBP"), ".png")
    assert texts(project.findings()) == ""


def test_several_bands_need_a_choice(project: Project) -> None:
    bands = [np.full((32, 64), value, np.uint8) for value in (10, 20, 30, 40)]
    path = project.root / "data/camera/images/0.png"
    tifffile.imwrite(path, np.dstack(bands), photometric="minisblack", planarconfig="contig")
    assert "has 4 bands: choose one or three" in errors(project.findings())
    for folder in ("images", "val/images"):
        for path in (project.root / "data/camera" / folder).iterdir():
            tifffile.imwrite(path, np.dstack(bands), photometric="minisblack", planarconfig="contig")
    image = project.module("target", changes={"bands": [4, 2, 1]}).train_dataset(labeled=False).read_image(0)
    assert image[0, 0].tolist() == [40, 20, 10]


@pytest.mark.parametrize(("scale", "offset", "severity"), [(1, 0, "error"), (4, 29500, "warning")])
def test_few_bits_in_sixteen(project: Project, scale: int, offset: int, severity: str) -> None:
    for folder in ("images", "val/images"):
        for path in (project.root / "data/camera" / folder).iterdir():
            gray = np.asarray(Image.open(path)).mean(2)
            cv2.imwrite(str(path), (gray * scale + offset).astype(np.uint16))
    found = [one for one in project.findings() if "value_range" in one.text]
    assert {one.severity for one in found} == {severity} and len(found) == 2
    low, high = offset, 255 * scale + offset
    dataset = project.module("target", changes={"value_range": [low, high]}).train_dataset(labeled=False)
    gray = np.floor(np.asarray(scene(100)[0] // 2).mean(2) * scale) / scale
    assert np.abs(dataset.read_image(0)[..., 0] - gray).max() <= 1


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_photographs_that_are_turned_by_exif_are_whole(project: Project, orientation: int) -> None:
    for index, path in enumerate(sorted((project.root / "data/camera/images").iterdir())):
        path.unlink()
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(path.with_suffix(".jpg"), scene(index)[0], exif=exif)
    target = TARGET.replace("\nimages: images/{name}.png", "\nimages: images/{name}.jpg")
    project.write_conf(target=target)
    assert texts(project.findings(changes={"unreadable": "skip"})) == ""
    dataset = project.module("target", changes={"unreadable": "skip"}).train_dataset(labeled=False)
    assert len(dataset) == 3 and not dataset.skipped
    expected = (64, 32) if orientation >= 5 else (32, 64)
    assert dataset.image_size(0) == expected == dataset.read_image(0).shape[:2]


def test_suffixes_of_upper_case_count_as_one_and_others_are_named(project: Project) -> None:
    folder = project.root / "data/camera/images"
    for index, suffix in enumerate((".PNG", ".jpg", ".JPEG")):
        save(folder / f"{index}.tmp.png", scene(50 + index)[0])
        (folder / f"{index}.png").unlink()
        Image.open(folder / f"{index}.tmp.png").save(folder / f"{index}{suffix}")
        (folder / f"{index}.tmp.png").unlink()
    assert len(project.module("target").train_dataset(labeled=False)) == 1
    assert "2 more images (.JPEG, .jpg) lie beside the 1" in texts(project.findings())
    project.write_conf(
        target=TARGET.replace("\nimages: images/{name}.png", "\nimages: images/{name}.{png,jpg}")
    )
    assert texts(project.findings()) == ""
    assert len(project.module("target").train_dataset(labeled=False)) == 3


def test_files_of_other_programs_are_passed_over_and_listed_once(project: Project) -> None:
    folder = project.root / "data/camera/images"
    for name, content in (
        ("Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(600)), (".DS_Store", b"x"), ("._0.png", b"\0\5\x16\7" + bytes(60)),
        ("list.txt", b"0\n"), ("0.json", b"{}"), ("drive.mp4", b"\0\0\0\x18ftypmp42"),
    ):  # fmt: skip
        (folder / name).write_bytes(content)
    (note,) = project.findings()
    assert note.severity == "note" and "6 other files beside the images" in note.text
    assert len(project.module("target").train_dataset(labeled=False)) == 3


def test_links(project: Project) -> None:
    folder = project.root / "data/camera/images"
    folder.rename(project.root / "store")
    folder.symlink_to(project.root / "store")
    (project.root / "data/camera/images2").symlink_to("images")
    changed = TARGET.replace("\nimages: images/{name}.png", '\nimages: "images*/{name}.png"')
    project.write_conf(target=changed)
    assert texts(project.findings()) == ""
    assert len(project.module("target").train_dataset(labeled=False)) == 3
    (project.root / "store/2.png").unlink()
    (project.root / "store/2.png").symlink_to("/nowhere/2.png")
    assert "it is a link to /nowhere/2.png, which is missing" in errors(project.findings())


# -- labels ---------------------------------------------------------------------------------------------------------


def one_hot(ids: Ids) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[ids].transpose(2, 0, 1)


def with_palette(ids: Ids, path: Path, **options: Any) -> None:
    image = Image.fromarray(ids).convert("P")
    image.putpalette([value for color in COLORS for value in color])
    image.save(path, **options)


def painted(ids: Ids) -> np.ndarray:
    return np.array(COLORS, np.uint8)[ids]


def opaque(ids: Ids) -> Ids:
    return np.full_like(ids, 255)


LABELS: dict[str, tuple[str, Callable[[Ids, Path], None], dict[str, Any]]] = {
    "ids": (".png", lambda ids, path: save(path, ids), {}),
    "ids of 16 bits": (".png", lambda ids, path: cv2.imwrite(str(path), ids.astype(np.uint16)), {}),
    "ids as a palette": (".png", with_palette, {}),
    "a palette with a transparent color": (".png", lambda ids, path: with_palette(ids, path, transparency=0), {}),
    "gray and alpha": (
        ".png",
        lambda ids, path: Image.merge("LA", [Image.fromarray(x) for x in (ids, opaque(ids))]).save(path),
        {},
    ),
    "three equal channels and alpha": (
        ".png", lambda ids, path: save(path, np.dstack([ids, ids, ids, opaque(ids)])), {},
    ),
    "three equal channels": (".png", lambda ids, path: save(path, np.dstack([ids] * 3)), {}),
    "TIFF": (".tif", by_pillow(), {}),
    "BMP": (".bmp", by_pillow(), {}),
    "GIF": (".gif", by_pillow(), {}),
    "NPY": (".npy", lambda ids, path: np.save(path, ids), {}),
    "NPZ of one array": (".npz", lambda ids, path: np.savez(path, ids), {}),
    "one channel per class": (".npy", lambda ids, path: np.save(path, one_hot(ids)), {"one_hot": True}),
    "ids in the first of several channels": (
        ".png", lambda ids, path: save(path, np.dstack([ids, ids * 50, ids * 0])), {"first_channel": True},
    ),
    "ids times 51": (".png", lambda ids, path: save(path, ids * 51), {"id_factor": 51}),
    "colors": (".png", lambda ids, path: save(path, painted(ids)), {"label_colors": TABLE}),
    "colors and alpha": (
        ".png", lambda ids, path: save(path, np.dstack([painted(ids), opaque(ids)])), {"label_colors": TABLE},
    ),
    "colors of 16 bits": (
        ".png",
        lambda ids, path: cv2.imwrite(str(path), painted(ids)[..., ::-1].astype(np.uint16) * 257),
        {"label_colors": TABLE},
    ),
    "a mask for each class": (
        "_{class}.png",
        lambda ids, path: [save(path.with_name(f"{path.name[:1]}_{name}.png"), np.uint8(255) * (ids == raw))
                           for raw, name in enumerate(NAMES)],
        {"join_labels": True},
    ),
    "a mask for each object": (
        "/*.png",
        lambda ids, path: [save(path.parent / path.name[:1] / f"{raw}.png", np.uint8(raw) * (ids == raw))
                           for raw in (1, 2, 3)],
        {"join_labels": True},
    ),
}  # fmt: skip
"""What labels hold -> suffix in the pattern, how they are written, and the keys of the dataset file that they need."""


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_read_exactly(project: Project, kind: str) -> None:
    assert texts(write_labels(project, kind)) == ""
    dataset = project.module("source").train_dataset()
    np.testing.assert_array_equal(dataset.read_label(1), scene(1)[1])


def write_labels(project: Project, kind: str) -> list[Finding]:
    """Write all labels of the source as ``LABELS`` has them, and the dataset file; returns what the check finds."""
    suffix, paint, keys = LABELS[kind]
    project.repaint(paint, suffix if suffix.startswith(".") else "")
    source = SOURCE.replace("labels/{name}.png", f"labels/{{name}}{suffix}")
    source = source.replace(IDS, "") if "label_colors" in keys else source
    project.write_conf(
        source=source + "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
    )
    return project.findings()


def noisy(ids: Ids, path: Path) -> None:
    colors = np.array(COLORS)[ids] + np.random.default_rng(0).integers(0, 2, (*ids.shape, 1))
    save(path, colors.astype(np.uint8))


@pytest.mark.parametrize(
    ("suffix", "paint", "colors", "severity", "wanted"),
    [
        (".jpg", by_pillow(), False, "error", "is a JPEG, whose compression changes label ids: save labels as PNG"),
        (".json", lambda ids, path: path.write_text('{"shapes": []}'), False, "error", "JSON file; annotations are"),
        (".png", lambda ids, path: save(path, painted(ids)), False, "error", "Labels hold colors where ids"),
        (".png", noisy, True, "warning", "colors that the color table does not name"),
        (".png", lambda ids, path: cv2.imwrite(str(path), np.where(ids > 2, 3001, ids.astype(np.uint16))), False,
         "warning", "id 3001"),
        (".png", lambda ids, path: save(path, ids * 51), False, "warning", "set id_factor: 51"),
    ],
)  # fmt: skip
def test_labels_of_other_kinds_are_refused_or_named(
    project: Project,
    suffix: str,
    paint: Callable[[Ids, Path], None],
    colors: bool,
    severity: str,
    wanted: str,
) -> None:
    project.repaint(paint, suffix)
    source = SOURCE.replace("labels/{name}.png", f"labels/{{name}}{suffix}")
    if colors:
        source = source.replace(IDS, f"label_colors: {json.dumps(TABLE)}\n")
    project.write_conf(source=source)
    found = [one for one in project.findings() if wanted in f"{one.text} {' '.join(one.details)}"]
    assert [one.severity for one in found] == [severity]


@pytest.mark.parametrize("named", [True, False])
def test_masks_of_0_and_255(project: Project, named: bool) -> None:
    two = ["background", "crack"]
    for folder in ("data/sim/labels", "data/camera/val/labels"):
        project.repaint(
            lambda ids, path: save(path, np.where(ids == 3, 255, 0).astype(np.uint8)), folder=folder
        )
    ids = {0: "background", 255: "crack"} if named else None
    found = project.findings(two, changes={"names": None, "ids": ids})
    if named:
        assert texts(found) == ""
        labels = project.module("source", two, {"names": None, "ids": ids}).train_dataset().read_label(0)
        np.testing.assert_array_equal(labels, scene(0)[1] == 3)
    else:
        assert "no pixel of crack" in errors(found) and "ids: {0: background, 255: crack}" in errors(found)


def test_minus_one_is_proposed_as_ignored(project: Project) -> None:
    project.repaint(lambda ids, path: np.save(path, np.where(ids == 3, -1, ids.astype(np.int64))), ".npy")
    project.write_conf(source=SOURCE.replace("labels/{name}.png", "labels/{name}.npy"))
    assert "note: The value -1, or 65535 usually marks pixels to ignore" in texts(project.findings())


# -- how many there are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("removed", "severity", "wanted"),
    [
        ("data/camera/images/[12].png", None, ""),
        ("data/sim/*/[12].png", None, ""),
        ("data/camera/images/*.png", "error", "The folder is empty"),
        ("data/sim/labels/2.png", "error", "1 of 3 images have no label"),
        ("data/camera/val/labels/v1.png", "error", "1 of 2 images have no label"),
    ],
)
def test_few_files(project: Project, removed: str, severity: str | None, wanted: str) -> None:
    for path in project.root.glob(removed):
        path.unlink()
    found = project.findings()
    assert {one.severity for one in found} == ({severity} if severity else set())
    assert wanted in errors(found)
    if "no label" in wanted:
        assert "unlabeled: skip" in errors(found)
        assert texts(project.findings(changes={"unlabeled": "skip"})) == ""


def test_no_labeled_target_images(project: Project) -> None:
    project.write_conf(target=TARGET.partition("val_images")[0])
    assert "note: There are no labeled target images" in texts(project.findings())


def test_validation_labels_that_hold_nothing(project: Project) -> None:
    folder = "data/camera/val/labels"
    project.repaint(lambda ids, path: save(path, np.full_like(ids, 255)), folder=folder)
    assert "hold the ids 255, none of which is in its id table" in errors(project.findings())
