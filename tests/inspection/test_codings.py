"""Folders whose labels are coded in more than one way."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hiast.cli.conf_files import conf_directory
from hiast.data import FolderDataModule
from hiast.data.io.labels import read_ids
from hiast.data.io.palettes import palette_colors
from hiast.errors import InputError
from hiast.inspection.file_set import find_part, summarize
from hiast.inspection.findings import Finding, of_part
from hiast.inspection.layout import find_layout
from hiast.inspection.new_scenario import Folders, fill_in_scenario
from hiast.inspection.proposal import look_at_folder
from hiast.inspection.scan import scan
from hiast.inspection.values import look_at_labels

TEMPLATES = {
    path.stem: path.read_text("utf-8") for path in sorted((conf_directory() / "template").glob("*.yaml"))
}

COLORS = np.array([[0, 0, 0], [200, 30, 30], [30, 160, 40], [20, 40, 220], [250, 250, 10]], np.uint8)


def ids_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(COLORS), (12, 16)).astype(np.uint8)


def save_palette(path: Path, ids: np.ndarray, order: Sequence[int]) -> None:
    """A mask whose palette holds ``COLORS`` in another order, as programs write it that reduce colors."""
    place = np.argsort(order).astype(np.uint8)
    picture = Image.fromarray(place[ids], mode="P")
    picture.putpalette(COLORS[list(order)].tobytes())
    picture.save(path)


def folders(root: Path, count: int = 6) -> tuple[Path, Path]:
    images, labels = root / "i", root / "l"
    for folder in (images, labels):
        folder.mkdir()
    for seed in range(count):
        pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{seed}.png")
    return images, labels


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_the_used_part_of_a_palette(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save_palette(path, np.array([[0, 3], [3, 1]], np.uint8), [2, 1, 0, 3, 4])
    found = palette_colors(path, np.unique(read_ids(path)).tolist())
    assert set(found.values()) == {"0,0,0", "20,40,220", "200,30,30"}
    if suffix != "gif":  # Pillow's writer of GIF leaves unused colors out.
        assert found == {2: "0,0,0", 3: "20,40,220", 1: "200,30,30"}


def test_what_is_no_palette(tmp_path: Path) -> None:
    Image.fromarray(ids_of(0)).save(tmp_path / "gray.png")
    Image.fromarray(COLORS[ids_of(0)]).save(tmp_path / "rgb.png")
    np.save(tmp_path / "ids.npy", ids_of(0))
    ramp = Image.fromarray(ids_of(0), mode="P")
    ramp.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    ramp.save(tmp_path / "ramp.png")
    assert [palette_colors(path, range(5)) for path in sorted(tmp_path.iterdir())] == [{}] * 4


def permuted(root: Path) -> tuple[Path, Path]:
    images, labels = folders(root)
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(COLORS)).tolist()
        save_palette(labels / f"{seed}.png", ids_of(seed), order)
    return images, labels


def test_palettes_in_another_order_in_each_file_are_read_by_color(tmp_path: Path) -> None:
    images, labels = permuted(tmp_path)
    texts, said = fill_in_scenario(Folders(images, labels), TEMPLATES)
    keys = yaml.safe_load(texts["source"].replace("NAME", "mine"))
    assert set(keys["label_colors"]) == {",".join(map(str, color)) for color in COLORS}
    assert "ids" not in keys
    assert any("Palettes differ from file to file (index 0 is color" in line for line in said)
    data = FolderDataModule(**{key: value for key, value in keys.items() if key != "_target_"})
    listing = data.files("train", labeled=True)
    order = [list(keys["label_colors"]).index(",".join(map(str, color))) for color in COLORS.tolist()]
    for seed, pair in enumerate(listing.pairs):
        assert pair.label is not None
        raw = listing.decode(pair.label, 10**6)
        np.testing.assert_array_equal(np.vectorize(listing.ids.get)(raw), np.array(order)[ids_of(seed)])


def test_palettes_in_one_order_are_read_by_index(tmp_path: Path) -> None:
    _, labels = folders(tmp_path)
    for seed in range(6):
        save_palette(labels / f"{seed}.png", ids_of(seed), range(5))
    found = look_at_labels(sorted(labels.iterdir()))
    assert found.kind == "ids" and found.remark is None


def test_palettes_of_other_colors_are_read_by_index(tmp_path: Path) -> None:
    _, labels = folders(tmp_path)
    for seed in range(6):
        picture = Image.fromarray(ids_of(seed), mode="P")
        picture.putpalette((COLORS + np.uint8(seed % 2)).tobytes())
        picture.save(labels / f"{seed}.png")
    assert look_at_labels(sorted(labels.iterdir())).kind == "ids"


@pytest.mark.parametrize("colored", [[0, 2, 4], [5], [0]])
def test_ids_beside_colors_are_refused_with_an_example_of_each(tmp_path: Path, colored: list[int]) -> None:
    images, labels = folders(tmp_path)
    for seed in range(6):
        pixels = COLORS[ids_of(seed)] if seed in colored else ids_of(seed)
        Image.fromarray(pixels).save(labels / f"{seed}.png")
    with pytest.raises(InputError, match=r"Some labels hold colors, such as .*, and others ids") as failure:
        look_at_folder(find_layout(images, labels))
    examples = {int(part.split(".png")[0]) for part in str(failure.value).split("/") if ".png" in part}
    assert len(examples & set(colored)) == 1 and len(examples - set(colored)) == 1


def test_ids_beside_colors_far_down_a_large_folder_are_found(tmp_path: Path) -> None:
    _, labels = folders(tmp_path, count=0)
    for seed in range(30):
        pixels = COLORS[ids_of(seed)] if seed == 29 else ids_of(seed)
        Image.fromarray(pixels).save(labels / f"{seed:02}.png")
    with pytest.raises(InputError, match=r"hold colors, such as .*29\.png, and others ids"):
        look_at_labels(sorted(labels.iterdir()))


@pytest.mark.parametrize("gray", [0, 128])
def test_labels_of_gray_colors_are_colored_labels(tmp_path: Path, gray: int) -> None:
    """An optimizer has stored a colored label as gray, since all of its colors are."""
    _, labels = folders(tmp_path, count=0)
    for seed in range(30):
        pixels = COLORS[ids_of(seed)] if seed == 29 else np.full((12, 16), gray, np.uint8)
        Image.fromarray(pixels).save(labels / f"{seed:02}.png")
    assert look_at_labels(sorted(labels.iterdir())).kind == "colors"


def check(root: Path, **settings: object) -> list[Finding]:
    data = FolderDataModule(root, "i/*.png", "l/*.png", names=list("abcde"), **settings)  # type: ignore[arg-type]
    part = find_part(data, "source", "train")
    return of_part(part, summarize(part, scan(part.listing, threads=1)), "error")


def test_the_check_names_palettes_that_differ(tmp_path: Path) -> None:
    permuted(tmp_path)
    found = [finding for finding in check(tmp_path) if "palettes differ" in finding.text]
    assert [finding.severity for finding in found] == ["warning"]
    assert "0.png" in found[0].text and "label_colors" in found[0].text
    table = {",".join(map(str, color)): name for color, name in zip(COLORS.tolist(), "abcde", strict=True)}
    assert check(tmp_path, label_colors=table) == []


@pytest.mark.parametrize("by_color", [False, True])
def test_the_check_names_labels_of_the_other_coding(tmp_path: Path, by_color: bool) -> None:
    _, labels = folders(tmp_path)
    for seed in range(6):
        Image.fromarray(COLORS[ids_of(seed)] if seed % 3 else ids_of(seed)).save(labels / f"{seed}.png")
    table = {",".join(map(str, color)): name for color, name in zip(COLORS.tolist(), "abcde", strict=True)}
    errors = [
        finding
        for finding in check(tmp_path, **({"label_colors": table} if by_color else {}))
        if finding.severity == "error" and "save all labels in one coding" in finding.text.lower()
    ]
    assert len(errors) == 1
    named = {Path(line).name for line in errors[0].details}
    assert named == ({"0.png", "3.png"} if by_color else {"1.png", "2.png", "4.png", "5.png"})
