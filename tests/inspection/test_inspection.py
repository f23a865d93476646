"""Each kind of damage to the data is found, counted and judged; clean data gives no error."""

from __future__ import annotations

import shutil
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS, LabelSpace
from hiast.data import CityscapesDataModule, FolderDataModule, GTA5DataModule
from hiast.evaluation.pictures import GAP, WIDTH
from hiast.inspection.disk import Disk, find_disk, shortages
from hiast.inspection.dry_run import of_start
from hiast.inspection.estimate import Need, Run, estimate, readable
from hiast.inspection.file_set import Part, Summary, find_part, summarize
from hiast.inspection.findings import Finding, of_crops, of_domains, of_part
from hiast.inspection.page import render
from hiast.inspection.report import Report
from hiast.inspection.scan import scan
from hiast.inspection.sheet import contact_sheet
from hiast.inspection.value_rows import as_yaml, value_rows


def look(module, domain="source", split="train", **options) -> tuple[Part, Summary]:
    part = find_part(module, domain, split)
    return part, summarize(part, scan(part.listing, threads=2, **options))


def found(root: Path, unreadable="stop", **options) -> list[Finding]:
    module = GTA5DataModule(root, unreadable=unreadable, **options)
    return of_start(module, *look(module))


def only(findings: list[Finding], severity: str, *texts: str) -> Finding:
    assert [finding.severity for finding in findings] == [severity], findings
    for text in texts:
        assert text in findings[0].text or any(text in line for line in findings[0].details), findings[0]
    return findings[0]


@pytest.fixture
def root(drawn_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(drawn_data / "GTA5", tmp_path / "GTA5")
    return tmp_path


def test_clean_data_is_counted_as_it_is(drawn_data: Path) -> None:
    part, summary = look(GTA5DataModule(drawn_data))
    assert of_part(part, summary, "stop") == []
    labels = [np.asarray(Image.open(pair.label)) for pair in part.listing.pairs]
    for raw, index in CITYSCAPES_IDS.items():
        assert summary.class_pixels[index] == sum(int((label == raw).sum()) for label in labels)
        assert summary.class_images[index] == sum(bool((label == raw).any()) for label in labels)
    assert summary.class_pixels.sum() + summary.void_pixels == 8 * 96 * 192
    assert summary.sizes == Counter({(96, 192): 8})
    assert summary.bytes == sum(f.stat().st_size for f in (drawn_data / "GTA5").rglob("*.png"))


@pytest.mark.parametrize("where", ["images", "labels"])
def test_a_cut_file_stops_training_unless_such_files_are_skipped(root: Path, where: str) -> None:
    path = root / f"GTA5/{where}/00003.png"
    path.write_bytes(path.read_bytes()[:200])
    only(found(root), "error", "1 file cannot be read", str(path))
    only(of_part(*look(GTA5DataModule(root)), "skip"), "warning", "left out")


def test_skipping_is_not_advised_where_nothing_would_be_left(root: Path) -> None:
    for path in (root / "GTA5/images").glob("*.png"):
        assert found(root) == [] or "set data.unreadable=skip" in found(root)[0].text
        path.write_bytes(b"no picture")
    assert "skip" not in only(found(root), "error", "8 files cannot be read").text


def spoil(path: Path) -> None:
    """Put noise in the place of a PNG's pixels, with a right checksum."""
    data = path.read_bytes()
    start = data.index(b"IDAT") - 4
    noise = b"IDAT\x78\x9c" + b"noise" * 50
    chunk = (len(noise) - 4).to_bytes(4, "big") + noise + zlib.crc32(noise).to_bytes(4, "big")
    path.write_bytes(data[:start] + chunk + data[-12:])


def test_a_picture_that_lies_within_right_checksums_is_found_and_skipped(root: Path) -> None:
    path = root / "GTA5/images/00003.png"
    spoil(path)
    only(found(root), "error", str(path))
    only(found(root, unreadable="skip"), "warning", str(path), "left out")
    assert "00003" not in GTA5DataModule(root, unreadable="skip").train_dataset().names


def test_a_picture_that_changes_before_the_sheet_is_drawn_is_a_finding_and_a_blank_tile(root: Path) -> None:
    part, summary = look(GTA5DataModule(root))
    whole, none = contact_sheet([(part, summary)])
    spoil(part.listing.pairs[0].image)
    sheet, findings = contact_sheet([(part, summary)])
    only(findings, "error", str(part.listing.pairs[0].image), "could be read a moment ago")
    assert none == [] and sheet.shape == whole.shape
    assert sheet[100, 100].tolist() != whole[100, 100].tolist()
    np.testing.assert_array_equal(sheet[:, GAP + WIDTH :], whole[:, GAP + WIDTH :])


@pytest.mark.parametrize("size", [(30000, 1), (1, 30000), (3000, 20)])
def test_long_pictures_fit_on_the_sheet(tmp_path: Path, size: tuple[int, int]) -> None:
    for kind in ("rgb", "ids"):
        (tmp_path / kind).mkdir()
    Image.new("RGB", size[::-1]).save(tmp_path / "rgb/1.jpg")
    Image.new("L", size[::-1]).save(tmp_path / "ids/1.png")
    module = FolderDataModule(tmp_path, "rgb/*.jpg", "ids/*.png", names=["a", "b"])
    sheet, findings = contact_sheet([look(module)])
    assert findings == [] and sheet.shape[0] < 2000


def test_missing_labels_and_labels_without_image(root: Path) -> None:
    (root / "GTA5/labels/00002.png").unlink()
    (root / "GTA5/labels/00005.png").unlink()
    (root / "GTA5/images/00008.png").unlink()
    missing, orphan = found(root)
    only([missing], "error", "2 of 7 images have no label", "00002.png", "00005.png")
    only([orphan], "warning", "1 label without an image", "labels/00008.png")
    (root / "list.txt").write_text("00001\n00003\n")
    only(found(root, train_list=root / "list.txt"), "warning", "without an image")


def test_cityscapes_labels_without_image(drawn_data: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_data / "cityscapes", tmp_path / "cityscapes")
    image = next((tmp_path / "cityscapes/leftImg8bit/val").rglob("*.png"))
    label = next((tmp_path / "cityscapes/gtFine/val/munster").glob("*_labelIds.png"))
    image.unlink()
    label.unlink()
    findings = of_part(*look(CityscapesDataModule(tmp_path), "target", "val"), "stop")
    assert [finding.severity for finding in findings] == ["error", "warning"]


@pytest.mark.parametrize(
    ("policy", "severity"),
    [(None, "warning"), ("error", "error"), ("resize", "warning"), ("skip", "warning")],
)
def test_sizes_that_differ(root: Path, policy, severity: str) -> None:
    path = root / "GTA5/labels/00001.png"
    Image.open(path).resize((20, 10), Image.Resampling.NEAREST).save(path)
    only(found(root, size_mismatch=policy), severity, "1 label of another size", "192 x 96, label 20 x 10")


def test_ids_outside_the_table(root: Path) -> None:
    path = root / "GTA5/labels/00001.png"
    ids = np.array(Image.open(path))
    ids[:24] = 99
    Image.fromarray(ids).save(path)
    only(found(root), "warning", "id 99: 3.12 % of the pixels")


def test_a_table_that_does_not_fit_at_all(root: Path) -> None:
    for path in (root / "GTA5/labels").glob("*.png"):
        Image.fromarray(np.full((96, 192), 77, np.uint8)).save(path)
    findings = found(root)
    unknown, stops = findings
    only([unknown], "warning", "id 77: 100.00 % of the pixels")
    only([stops], "error", "hold the ids 77, none of which is in its id table")


def test_a_label_without_classes(root: Path) -> None:
    Image.fromarray(np.zeros((96, 192), np.uint8)).save(root / "GTA5/labels/00001.png")
    only(found(root), "warning", "without a single pixel", "00001.png")


def test_copies_within_and_between_parts(drawn_data: Path, tmp_path: Path) -> None:
    for name in ("GTA5", "cityscapes"):
        shutil.copytree(drawn_data / name, tmp_path / name)
    train = sorted((tmp_path / "cityscapes/leftImg8bit/train").rglob("*.png"))
    val = sorted((tmp_path / "cityscapes/leftImg8bit/val").rglob("*.png"))
    shutil.copy(train[0], train[1])
    shutil.copy(train[2], val[0])
    target = CityscapesDataModule(tmp_path)
    parts = [look(GTA5DataModule(tmp_path)), look(target, "target"), look(target, "target", "val")]
    only(of_part(*parts[1], "stop"), "warning", "1 image there more than once")
    assert not parts[1][0].labeled
    shared = [finding for finding in of_domains(parts, CITYSCAPES_19) if "identical" in finding.text]
    only(shared, "warning", "1 image of target train", f"{train[2]} = {val[0]}")


def test_classes_that_a_side_lacks(tmp_path: Path) -> None:
    space = LabelSpace(("a", "b", "c", "d"), ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)))
    for side, classes in (("source", (0, 1, 2)), ("target", (0, 2, 3))):
        for index in range(4):
            for kind in ("rgb", "ids"):
                (tmp_path / side / kind).mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([index, len(side), ord(side[0])])
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(
                tmp_path / side / "rgb" / f"{index}.png"
            )
            Image.fromarray(rng.choice(classes, (8, 8)).astype(np.uint8)).save(
                tmp_path / side / "ids" / f"{index}.png"
            )
    source, target = (
        FolderDataModule(tmp_path / side, "rgb/*.png", "ids/*.png", classes=space, val_fraction=fraction)
        for side, fraction in (("source", 0.0), ("target", 0.5))
    )
    parts = [look(source), look(target, "target"), look(target, "target", "val")]
    lacks, expected = of_domains(parts, space)
    only([lacks], "warning", "The source holds no pixel of d")
    only([expected], "note", "The target can be expected to lack b:")
    assert "validate" in of_domains(parts[:2], space)[-1].text


def test_colors_outside_the_table(tmp_path: Path) -> None:
    for kind in ("rgb", "seg"):
        (tmp_path / kind).mkdir()
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:2] = 9
    for kind in ("rgb", "seg"):
        Image.fromarray(pixels).save(tmp_path / kind / "1.png")
    module = FolderDataModule(
        tmp_path, "rgb/*.png", "seg/*.png", names=["a", "b"], label_colors={"0,0,0": "a", "1,1,1": "b"}
    )
    only(of_part(*look(module), "stop"), "warning", "25.00 % of the pixels have colors", "9,9,9: 25.00 %")


def labels_of(root: Path, pixels: np.ndarray) -> None:
    for kind in ("rgb", "seg"):
        (root / kind).mkdir()
        Image.fromarray(np.full((*pixels.shape[:2], 3), 200, np.uint8) if kind == "rgb" else pixels).save(
            root / kind / "1.png"
        )


def test_the_table_of_ids_shows_where_they_are(tmp_path: Path) -> None:
    ids = np.zeros((40, 60), np.uint8)
    ids[10:20, 30:50] = 7
    ids[0, 0] = 255
    labels_of(tmp_path, ids)
    module = FolderDataModule(tmp_path, "rgb/*.png", "seg/*.png", names=["a", "b"], ids={0: "a", 3: "b"})
    part, summary = look(module)
    rows = value_rows(part, summary)
    assert [(row.value, row.meaning, row.named, row.images) for row in rows] == [
        (0, "a", True, 1), (7, None, False, 1), (255, None, False, 1),
    ]  # fmt: skip
    assert sum(row.share for row in rows) == 1 and rows[1].share == 200 / 2400
    small = rows[1].thumbnail
    assert small is not None and small.max() == 200 and small.min() == 200 // 3
    assert (small == 200).all(2).mean() == pytest.approx(200 / (34 * 44), rel=0.3)
    assert as_yaml(part, summary) == (
        "ids:\n  0: a   # 91.62 %\n  7: null   # 8.33 %, not named yet\n  255: null   # 0.04 %, not named yet"
    )
    page = render(Report("own", "data", part.classes, ((part, summary),), (), ()), None)
    assert page.count("data:image/jpeg") == 3 and "7: null" in page and "3 ids" in page
    report = Report("own", "data", part.classes, ((part, summary),), (), ()).to_json()
    assert report["parts"][0]["values"][1] == {  # type: ignore[index]
        "value": 7, "share": 200 / 2400, "images": 1, "class": None, "named": False,
    }  # fmt: skip


def test_ids_have_the_colors_of_the_scenario_as_its_sheets(tmp_path: Path) -> None:
    ids = np.zeros((40, 60), np.uint8)
    ids[10:20], ids[20:] = 3, 5
    labels_of(tmp_path, ids)
    names = ["car", "truck", "tree"]
    module = FolderDataModule(
        tmp_path, "rgb/*.png", "seg/*.png", names=names, ids={0: "car", 3: "truck", 5: "tree"},
        classes=LabelSpace(("vehicle", "other"), ((1, 2, 3), (4, 5, 6))),
        class_map={"car": "vehicle", "truck": "vehicle", "tree": None},
    )  # fmt: skip
    colors = {row.value: row.color for row in value_rows(*look(module))}
    assert colors == {0: (1, 2, 3), 3: (1, 2, 3), 5: None}


@pytest.mark.parametrize("table", [None, {"128,64,128": "road", "0,0,0": None}])
def test_the_table_of_colors(tmp_path: Path, table: dict[str, str | None] | None) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = (128, 64, 128)
    pixels[20:30] = (70, 130, 180)
    labels_of(tmp_path, pixels)
    module = FolderDataModule(tmp_path, "rgb/*.png", "seg/*.png", names=["road", "sky"], label_colors=table)
    part, summary = look(module)
    rows = {row.value: row for row in value_rows(part, summary)}
    assert {value: row.share for value, row in rows.items()} == {
        "128,64,128": 0.5, "70,130,180": 0.25, "0,0,0": 0.25,
    }  # fmt: skip
    assert [rows[color].named for color in ("128,64,128", "70,130,180", "0,0,0")] == [
        bool(table),
        False,
        bool(table),
    ]
    assert all(row.thumbnail is not None for row in rows.values())
    copied = yaml.safe_load(as_yaml(part, summary))["label_colors"]
    assert copied == {"128,64,128": "road", "70,130,180": "sky", "0,0,0": None}
    findings = of_part(part, summary, "stop")
    if table is None:
        only(findings, "error", "Labels hold colors where ids are expected (1 file)", '"128,64,128": road')
    module = FolderDataModule(tmp_path, "rgb/*.png", "seg/*.png", names=["road", "sky"], label_colors=copied)
    assert of_part(*look(module), "stop") == []


def test_a_large_id_in_a_gray_label_is_not_a_color(tmp_path: Path) -> None:
    for kind in ("rgb", "ids"):
        (tmp_path / kind).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "rgb/1.png")
    ids = np.zeros((8, 8), np.uint16)
    ids[:2] = 65535
    Image.fromarray(ids).save(tmp_path / "ids/1.png")
    module = FolderDataModule(tmp_path, "rgb/*.png", "ids/*.png", names=["a", "b"])
    unknown, hint = of_part(*look(module), "stop")
    only([unknown], "warning", "1 id that the id table does not name", "id 65535: 25.00 %")
    only([hint], "note", "-1, or 65535 usually marks pixels to ignore", "65535: null")


@pytest.mark.parametrize(("smallest", "warns"), [(96, False), (97, True)])
def test_images_lower_than_the_windows_that_are_cut(drawn_data: Path, smallest: int, warns: bool) -> None:
    parts = [look(GTA5DataModule(drawn_data)), look(CityscapesDataModule(drawn_data), "target")]
    findings = of_crops(parts, {"source": smallest})
    if warns:
        only(findings, "warning", "8 images of 8", "97 pixels", "down to 96", "data.source_crop")
    else:
        assert findings == []


def test_needs_of_a_run(drawn_data: Path) -> None:
    target = CityscapesDataModule(drawn_data)
    parts = [look(GTA5DataModule(drawn_data)), look(target, "target"), look(target, "target", "val")]
    run = Run(1000, 500, 19, ("source_only", "warmup", "self_training"), 3, (48, 96), (32, 64), 2, 4, "raw")
    needs = {need.what: need.bytes for need in estimate(run, parts)}
    assert needs["checkpoints of 3 stages"] == 2 * 12000 + 2 * 18000 + 4 * 16000 + 18000
    assert needs["cache (raw)"] == 3 * 96 * 192 * (8 + 6)
    assert needs["pseudo-labels of 3 rounds"] == round(3 * 6 * 48 * 96 * 0.05)
    assert [readable(n) for n in (0, 999, 1500, 2.5e9, 7e12)] == ["0 B", "999 B", "1.5 kB", "2.5 GB", "7 TB"]


def test_what_goes_to_one_disk_is_added_up() -> None:
    needs = [
        Need("disk", "checkpoints", 60),
        Need("cache", "cache (raw)", 50),
        Need("memory", "process", 900),
    ]
    runs, cache = Path("outputs"), Path("data/cache")
    assert shortages(needs, {"disk": Disk(runs, 1, 60), "cache": Disk(cache, 2, 50)}) == []
    short = shortages(needs, {"disk": Disk(runs, 1, 60), "cache": Disk(cache, 2, 49)})
    only(short, "error", "data/cache has 49 B free", "about 50 B", "make room")
    assert shortages(needs, {"disk": Disk(runs, 1, 110), "cache": Disk(cache, 1, 110)}) == []
    short = shortages(needs, {"disk": Disk(runs, 1, 109), "cache": Disk(cache, 1, 109)})
    only(short, "error", "outputs and data/cache has 109 B free", "about 110 B")
    assert shortages(needs, {"disk": Disk(runs, 1, 60)}) == []


def test_the_disk_of_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    disk = find_disk(tmp_path / "a/b")
    assert disk.device == tmp_path.stat().st_dev and disk.free > 0


def test_the_page_holds_everything_and_nothing_from_outside(root: Path) -> None:
    (root / "GTA5/images/<b>&.png").write_bytes(b"no picture")
    (root / "GTA5/labels/<b>&.png").write_bytes((root / "GTA5/labels/00001.png").read_bytes())
    part, summary = look(GTA5DataModule(root))
    findings = tuple(of_part(part, summary, "stop"))
    report = Report("own <x>", "data", CITYSCAPES_19, ((part, summary),), findings, ())
    page = render(report, contact_sheet(report.parts)[0])
    assert "Training would fail" in page and "&lt;b&gt;&amp;.png is not an image" in page
    assert "<b>" not in page and "own <x>" not in page
    assert "http" not in page and "<script" not in page
    assert report.to_json()["would_fail"] is True
    clean = Report("own", "data", CITYSCAPES_19, ((part, summary),), findings[1:], ())
    assert "Ready for training" in render(clean, None)


@pytest.mark.parametrize(
    ("name", "title"), [("source train", "source train"), ("GTA5", "source train: GTA5")]
)
def test_a_part_says_its_role_once(drawn_data: Path, name: str, title: str) -> None:
    module = GTA5DataModule(drawn_data)
    listed = module.files("train", labeled=True, incomplete=True)
    module.files = lambda *_, **__: replace(listed, name=name)  # type: ignore[method-assign]
    assert find_part(module, "source", "train").title == title
