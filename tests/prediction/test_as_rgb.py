from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hiast.errors import InputError
from hiast.prediction import as_images, as_rgb

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
GRAY = RGB[..., 0]
THREE_GRAY = np.repeat(GRAY[..., None], 3, axis=2)
ALPHA = np.dstack([RGB, 255 - RGB[..., :1]])
PLANES = torch.from_numpy(np.ascontiguousarray(RGB.transpose(2, 0, 1)))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (RGB, RGB),
        (RGB.transpose(2, 0, 1), RGB),
        (PLANES, RGB),
        (PLANES[None], RGB),
        (PLANES.permute(1, 2, 0), RGB),
        (PLANES.clone().float().requires_grad_(), RGB),
        (PLANES.float() / 255, RGB),
        ((PLANES / 255).to(torch.float64), RGB),
        (PLANES.long(), RGB),
        (RGB.astype(np.uint16) * 257, RGB),
        (RGB / 255.0, RGB),
        (ALPHA, RGB),
        (ALPHA.transpose(2, 0, 1), RGB),
        (GRAY, THREE_GRAY),
        (GRAY[..., None], THREE_GRAY),
        (GRAY[None], THREE_GRAY),
        (torch.from_numpy(GRAY), THREE_GRAY),
        (np.dstack([GRAY, 255 - GRAY]), THREE_GRAY),
        (GRAY > 100, THREE_GRAY > 100),
        (np.asfortranarray(RGB), RGB),
        (RGB[:, ::-1][:, ::-1], RGB),
    ],
)
def test_arrays_and_tensors(given, wanted):
    found = as_rgb(given)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, wanted.astype(np.uint8) * (255 if wanted.dtype == bool else 1))


def test_where_both_orders_of_axes_fit_the_type_decides():
    values = np.arange(27).reshape(3, 3, 3).astype(np.uint8)
    np.testing.assert_array_equal(as_rgb(values), values)
    np.testing.assert_array_equal(as_rgb(torch.from_numpy(values)), values.transpose(1, 2, 0))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"])
def test_pil_images_of_any_mode(mode: str):
    through = Image.fromarray(RGB).convert("RGBA") if mode == "RGBa" else Image.fromarray(RGB)
    image = through.convert("L").convert("LA") if mode == "LA" else None
    if mode == "LAB":
        image = Image.new("LAB", (7, 5), (120, 128, 128))
    image = image or through.convert(mode)
    wanted = image.convert("RGBA").convert("RGB") if mode == "LA" else image.convert("RGB")
    np.testing.assert_array_equal(as_rgb(image), np.asarray(wanted))


def test_pil_images_of_16_bits_keep_their_upper_eight():
    deep = Image.fromarray((GRAY.astype(np.uint16) << 8) + 77)
    np.testing.assert_array_equal(as_rgb(deep), THREE_GRAY)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(GRAY.astype(np.int32) * 256 + 255)), THREE_GRAY)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(GRAY / np.float32(255))), THREE_GRAY)


def test_a_file_gives_the_same_however_it_comes(tmp_path: Path):
    path = tmp_path / "image.png"
    Image.fromarray(RGB).save(path)
    with path.open("rb") as file:
        opened = as_rgb(file)
    for found in (
        as_rgb(path),
        as_rgb(str(path)),
        opened,
        as_rgb(io.BytesIO(path.read_bytes())),
        as_rgb(path.read_bytes()),
    ):
        np.testing.assert_array_equal(found, RGB)


def test_several_images():
    batch = np.stack([RGB, RGB[::-1]])
    for given in (
        batch,
        batch.transpose(0, 3, 1, 2),
        torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()),
        list(batch),
    ):
        found = list(as_images(given))
        assert len(found) == 2
        np.testing.assert_array_equal(found[1], RGB[::-1])
    assert list(as_images([])) == []


def test_the_scale_of_floats_is_that_of_the_whole_batch():
    bright, dark = torch.full((3, 2, 2), 200.0), torch.full((3, 2, 2), 1.0)
    assert [int(image.max()) for image in as_images(torch.stack([bright, dark]))] == [200, 1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((0, 4, 3), np.uint8), "no pixel"),
        (torch.zeros(3, 4, 0), "no pixel"),
        (Image.new("RGB", (0, 5)), "no pixel"),
        (np.zeros((5, 5, 5), np.uint8), "1 to 4 channels"),
        (np.zeros(5, np.uint8), "not \\[5\\]"),
        (np.zeros((2, 3, 4, 4), np.uint8), "batch of 2"),
        (np.full((2, 2, 3), np.nan), "not finite"),
        (np.full((2, 2, 3), -1.5), "from -1.5 to -1.5"),
        (np.full((2, 2, 3), 300), "from 300 to 300"),
        (np.full((2, 2, 3), 1.05), "clip them to 1"),
        (np.array([["a"]]), "give numbers"),
        (7, "not a int"),
        (None, "not a NoneType"),
        ("https://example.org/a.png", "download"),
        (io.StringIO("text"), "mode 'rb'"),
        (io.BytesIO(b""), "The open file"),
    ],
)
def test_what_is_not_an_image_is_refused_in_words(wrong, words: str):
    with pytest.raises(InputError, match=words):
        as_rgb(wrong)


def test_folders_and_missing_files_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="is a folder"):
        as_rgb(tmp_path)
    with pytest.raises(InputError, match=r"nothing\.png"):
        as_rgb(tmp_path / "nothing.png")
    with pytest.raises(InputError, match="Image 1 of the list"):
        list(as_images([RGB, 7]))
