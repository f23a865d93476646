"""Images of more than 8 bits beside others: what one value_range serves, and what is said where it does not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from hiast.data.io.images import ImageReader
from hiast.errors import InputError
from hiast.inspection.deep_images import DeepImages, DeepValues
from hiast.inspection.layout import find_layout
from hiast.inspection.proposal import look_at_folder

RAMP = np.linspace(0, 1, 2000).reshape(40, 50)
DEEP = {
    "float": (RAMP.astype(np.float32), "tif"),
    "bright": ((RAMP * 65000).astype(np.uint16), "png"),
    "dark": ((RAMP * 3000).astype(np.uint16), "png"),
    "int": ((RAMP * 3500).astype(np.int32), "tif"),
    "photo": ((RAMP * 250).astype(np.uint8), "png"),
}


def write(folder: Path, *kinds: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, kind in enumerate(kinds):
        pixels, suffix = DEEP[kind]
        path = folder / f"{number}{kind}.{suffix}"
        tifffile.imwrite(path, pixels) if suffix == "tif" else cv2.imwrite(str(path), pixels)
    return folder


def proposed(folder: Path) -> tuple[float, float] | None:
    return look_at_folder(find_layout(folder)).value_range


def test_eight_bits_stay_as_stored_beside_images_that_need_a_range(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    reader = ImageReader(value_range=(0, 4095))
    np.testing.assert_array_equal(reader.read(tmp_path / "a.png"), photo)
    assert not reader.check(tmp_path / "a.png").flat


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        (("photo", "photo"), None),
        (("photo", "float"), (0, 1)),
        (("bright", "bright"), None),
        (("dark", "dark"), (0, 3000)),
        (("bright", "bright", "dark"), (0, 65535)),
        (("dark", "int"), (0, 3500)),
    ],
)
def test_the_range_that_is_written_serves_every_image(
    tmp_path: Path, kinds: tuple[str, ...], wanted: tuple[float, float] | None
) -> None:
    folder = write(tmp_path / "images", *kinds)
    assert proposed(folder) == wanted
    for path in folder.iterdir():
        pixels = ImageReader(value_range=wanted).read(path)
        assert np.ptp(pixels) >= 11, path


@pytest.mark.parametrize("kinds", [("bright", "float"), ("photo", "float", "int")])
def test_types_that_no_range_serves_are_named(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    folder = write(tmp_path / "images", *kinds)
    with pytest.raises(InputError, match="cannot serve images of different types") as failure:
        proposed(folder)
    for kind in kinds[-2:]:
        assert f"{kinds.index(kind)}{kind}" in str(failure.value)
    assert "photo" not in str(failure.value)


def test_constant_images_need_no_range() -> None:
    images = DeepImages()
    images.add(Path("a.tif"), DeepValues("float32", 32, 5, 5, refused=True))
    assert images.wanted_range() is None and images.conflict() is None
    images.add(Path("b.tif"), DeepValues("int32", 32, 0, 10, refused=True))
    assert images.wanted_range() == (0, 10)


def test_a_range_that_leaves_one_gray_value_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "bright", "dark", "float")
    reader = ImageReader(value_range=(0, 1))
    assert [reader.check(path).flat for path in sorted(tmp_path.iterdir())] == [True, True, False]
    black = ImageReader(value_range=(0, 4095))
    assert [black.check(path).flat for path in sorted(tmp_path.iterdir())] == [False, False, True]
