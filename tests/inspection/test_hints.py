"""The check names the likely cause of what looks wrong, and the key of the dataset file that helps."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hiast.data import FolderDataModule
from hiast.inspection.dry_run import of_start
from hiast.inspection.file_set import find_part, summarize
from hiast.inspection.findings import Finding
from hiast.inspection.scan import scan


def check(module: FolderDataModule) -> list[Finding]:
    part = find_part(module, "source", "train")
    return of_start(module, part, summarize(part, scan(part.listing, threads=1)))


def texts(findings: list[Finding], severity: str) -> str:
    return "\n".join(finding.text for finding in findings if finding.severity == severity)


def write(root: Path, labels: list[np.ndarray], images: list[np.ndarray] | None = None) -> None:
    for kind in ("rgb", "ids"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for index, label in enumerate(labels):
        noise = np.random.default_rng(index).integers(0, 256, (*label.shape, 3), dtype=np.uint8)
        image = noise if images is None else images[index]
        cv2.imwrite(str(root / f"rgb/{index}.png"), image)
        cv2.imwrite(str(root / f"ids/{index}.png"), label)


def module(root: Path, **options: object) -> FolderDataModule:
    usual = {"images": "rgb/{n}.png", "labels": "ids/{n}.png", "names": ["background", "crack"]}
    return FolderDataModule(root, **(usual | options))  # type: ignore[arg-type]


MASK = np.zeros((8, 10), np.uint8)
MASK[2:4, 1:9] = 1


def test_binary_masks_of_0_and_255_without_ids_are_not_ready(tmp_path: Path) -> None:
    write(tmp_path, [MASK * np.uint8(255)] * 1 + [np.zeros((8, 10), np.uint8)])
    errors = texts(check(module(tmp_path)), "error")
    assert "there is no pixel of crack" in errors
    assert "10.00 % of the pixels hold 255" in errors
    assert "ids: {0: background, 255: crack}" in errors
    assert texts(check(module(tmp_path, ids={0: "background", 255: "crack"})), "error") == ""
    assert texts(check(module(tmp_path, ids={0: "background", 1: "crack", 255: None})), "error") == ""


def test_a_border_of_255_beside_two_classes_is_ready(tmp_path: Path) -> None:
    label = MASK.copy()
    label[0] = 255
    write(tmp_path, [label])
    assert check(module(tmp_path)) == []


@pytest.mark.parametrize(("value", "name"), [(65535, "-1, or 65535"), (254, "254")])
def test_values_that_usually_mark_pixels_to_ignore_are_proposed(
    tmp_path: Path, value: int, name: str
) -> None:
    label = MASK.astype(np.uint16)
    label[0] = value
    write(tmp_path, [label])
    assert f"The value {name} usually marks pixels to ignore: if so here, add {value}: null to ids" in texts(
        check(module(tmp_path)), "note"
    )
    assert check(module(tmp_path, ids={0: "background", 1: "crack", value: None})) == []


def test_ids_that_were_multiplied(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 6, (8, 10)).astype(np.uint8)
    write(tmp_path, [labels * np.uint8(51)])
    names = ["a", "b", "c", "d", "e", "f"]
    findings = check(module(tmp_path, names=names))
    assert "All ids are multiples of 51" in texts(findings, "warning")
    assert "id_factor: 51" in texts(findings, "warning")
    assert check(module(tmp_path, names=names, id_factor=51)) == []


def test_twelve_bits_in_sixteen_are_not_ready_and_a_range_is_proposed(tmp_path: Path) -> None:
    gray = np.linspace(0, 4095, 80).astype(np.uint16).reshape(8, 10)
    write(tmp_path, [MASK, MASK], [gray, gray // 2])
    findings = check(module(tmp_path))
    assert "2 files cannot be read" in texts(findings, "error")
    assert "between 0 and 4095: set value_range: [0, 4095]" in texts(findings, "error")
    assert texts(check(module(tmp_path, value_range=[0, 4095])), "error") == ""


def test_thermal_images_lose_their_contrast(tmp_path: Path) -> None:
    kelvin = np.linspace(29500, 30520, 80).astype(np.uint16).reshape(8, 10)
    write(tmp_path, [MASK], [kelvin])
    warnings = texts(check(module(tmp_path)), "warning")
    assert "values from 29500 to 30520 only, of which 5 of 256 gray levels are left" in warnings
    assert "set value_range: [29500, 30520]" in warnings
    assert check(module(tmp_path, value_range=[29500, 30520])) == []
    whole = np.linspace(0, 65535, 80).astype(np.uint16).reshape(8, 10)
    write(tmp_path, [MASK], [whole])
    assert check(module(tmp_path)) == []


def test_a_range_that_does_not_fit_some_images_is_reported(tmp_path: Path) -> None:
    gray = np.linspace(100, 60000, 80).astype(np.uint16).reshape(8, 10)
    write(tmp_path, [MASK] * 3, [gray, gray + 1, gray // 15])
    assert check(module(tmp_path, value_range=[0, 65535])) == []
    errors = texts(check(module(tmp_path, value_range=[0, 1])), "error")
    assert "value_range: [0, 1] makes almost one gray value of 3 of 3 images" in errors
    warnings = texts(check(module(tmp_path, value_range=[4100, 65535])), "warning")
    assert "makes almost one gray value of 1 of 3 images of more than 8 bits" in warnings
    assert "3 of type uint16 from 6 to 60001" in warnings


def test_a_range_without_effect_is_mentioned(tmp_path: Path) -> None:
    write(tmp_path, [MASK])
    notes = texts(check(module(tmp_path, value_range=[0, 4095])), "note")
    assert "value_range: [0, 4095] has no effect: no image here has more than 8 bits" in notes


def test_types_that_one_range_cannot_serve_are_an_error(tmp_path: Path) -> None:
    gray = np.linspace(0, 60000, 80).astype(np.uint16).reshape(8, 10)
    write(tmp_path, [MASK] * 2, [gray, gray])
    import tifffile

    tifffile.imwrite(tmp_path / "rgb/1.png", (gray / 60000).astype(np.float32))
    errors = texts(check(module(tmp_path)), "error")
    assert "One value_range cannot serve images of different types: 1 of type uint16" in errors
    assert "1 of type float32 from 0 to 1" in errors


def test_images_beside_the_pattern_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [MASK] * 3)
    for index, suffix in ((1, "bmp"), (2, "webp")):
        Image.open(tmp_path / f"rgb/{index}.png").save(tmp_path / f"rgb/{index}.{suffix}")
        (tmp_path / f"rgb/{index}.png").unlink()
    (tmp_path / "rgb/Thumbs.db").write_bytes(b"x")
    (tmp_path / "rgb/._0.png").write_bytes(b"x")
    findings = check(module(tmp_path, labels="ids/{n}.png", unlabeled="skip"))
    assert "2 more images (.bmp, .webp) lie beside the 1 that the pattern matches" in texts(
        findings, "warning"
    )
    assert "2 other files beside the images are not used" in texts(findings, "note")
    details = [line for finding in findings if finding.severity == "note" for line in finding.details]
    assert {Path(line).name for line in details} == {"Thumbs.db", "._0.png"}
