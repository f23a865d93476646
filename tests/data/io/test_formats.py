"""Every format of images: read as written, checked as read, refused when cut, and what needs a setting says which."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from hiast.data.io import raster
from hiast.data.io.images import PLAIN_IMAGES, ImageReader, ValueRangeError, image_size, read_image
from hiast.data.io.sniff import image_format
from hiast.errors import InputError

READER = ImageReader()


def smooth(height: int = 60, width: int = 92, channels: int = 3, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, channels), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def pillow(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(smooth()).convert(mode).save(file, kind, **options)
    return file.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def heic() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = BytesIO()
    pillow_heif.from_pillow(Image.fromarray(smooth())).save(file, quality=95)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
RGB = smooth()
FILES: dict[str, Callable[[], bytes]] = {
    "png": lambda: pillow("PNG"),
    "gray.png": lambda: pillow("PNG", "L"),
    "palette.png": lambda: pillow("PNG", "P"),
    "jpeg": lambda: pillow("JPEG", quality=95),
    "rotated.jpeg": lambda: pillow("JPEG", quality=95, exif=EXIF),
    "cmyk.jpeg": lambda: pillow("JPEG", "CMYK", quality=95),
    "webp": lambda: pillow("WEBP", quality=95),
    "lossless.webp": lambda: pillow("WEBP", lossless=True),
    "rotated.webp": lambda: pillow("WEBP", lossless=True, exif=EXIF),
    "bmp": lambda: pillow("BMP"),
    "palette.bmp": lambda: pillow("BMP", "P"),
    "gif": lambda: pillow("GIF"),
    "jp2": lambda: pillow("JPEG2000"),
    "lossy.jp2": lambda: pillow("JPEG2000", irreversible=True, quality_layers=[8]),
    "ppm": lambda: pillow("PPM"),
    "pgm": lambda: pillow("PPM", "L"),
    "pbm": lambda: pillow("PPM", "1"),
    "avif": lambda: pillow("AVIF", quality=95),
    "heic": heic,
    "tiff": lambda: tiff(RGB, photometric="rgb"),
    "lzw.tiff": lambda: tiff(RGB, photometric="rgb", compression="lzw"),
    "tiles.tiff": lambda: tiff(RGB, photometric="rgb", compression="zlib", tile=(32, 48), predictor=True),
    "zstd.tiff": lambda: tiff(RGB, photometric="rgb", compression="zstd"),
    "jpeg.tiff": lambda: tiff(RGB, photometric="rgb", compression="jpeg", tile=(32, 48)),
    "planar.tiff": lambda: tiff(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate"),
    "big.tiff": lambda: tiff(RGB, photometric="rgb", bigtiff=True, byteorder=">"),
    "gray.tiff": lambda: tiff(RGB[..., 0], photometric="minisblack"),
    "inverted.tiff": lambda: tiff(255 - RGB[..., 0], photometric="miniswhite"),
    "palette.tiff": lambda: pillow("TIFF", "P"),
    "one_bit.tiff": lambda: pillow("TIFF", "1"),
    "cmyk.tiff": lambda: pillow("TIFF", "CMYK"),
    "alpha.tiff": lambda: pillow("TIFF", "RGBA"),
    "deep.tiff": lambda: tiff(RGB.astype(np.uint16) * 257, photometric="rgb"),
    "rotated.tiff": lambda: tiff(RGB, photometric="rgb", extratags=[(274, 3, 1, 6, True)]),
}
LOSSY = {"jpeg": 3, "webp": 60, "jp2": 40, "avif": 60, "heic": 60}


def needs(name: str) -> None:
    if name == "heic" and (find_spec("pillow_heif") is None or find_spec("PIL.AvifImagePlugin") is None):
        pytest.skip("needs pillow-heif and a Pillow of its time")
    if name == "avif" and find_spec("PIL.AvifImagePlugin") is None:
        pytest.skip("needs a Pillow with AVIF")


def reference(name: str, data: bytes) -> np.ndarray:
    """The image as Pillow shows it, or as it was written where Pillow cannot."""
    if name in ("deep.tiff", "planar.tiff", "zstd.tiff", "big.tiff"):
        return RGB
    if name == "rotated.tiff":
        return np.rot90(RGB, -1)
    if name == "heic":
        return RGB
    return np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))


@pytest.mark.parametrize("name", list(FILES))
def test_each_format_is_read_as_written_and_checked_as_read(tmp_path: Path, name: str) -> None:
    needs(name)
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    wanted = reference(name, path.read_bytes())
    pixels = read_image(path)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.shape == wanted.shape == (*image_size(path), 3) == (*PLAIN_IMAGES.check(path).size, 3)
    most = next((value for suffix, value in LOSSY.items() if name.endswith(suffix)), 0)
    assert np.abs(pixels.astype(int) - wanted).max() <= (3 if name == "jpeg.tiff" else most)
    assert np.abs(pixels.astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("name", list(FILES))
def test_check_refuses_exactly_what_reading_refuses(tmp_path: Path, name: str) -> None:
    """Cuts, flipped bits, lost and doubled parts: both agree, and what both accept has the size of the header."""
    needs(name)
    data = FILES[name]()
    rng = np.random.default_rng(len(name))
    changed = [data[:place] for place in np.linspace(0, len(data) - 1, 25).astype(int)]
    for place in [*range(0, 40, 3), *rng.integers(40, len(data), 25).tolist()]:
        changed.append(data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :])
    changed += [
        data[: len(data) // 2] + data[len(data) // 2 + 9 :],
        data[: len(data) // 3] * 2,
        data + bytes(50),
    ]
    path = tmp_path / name
    accepted = 0
    for content in changed:
        path.write_bytes(content)
        outcomes = []
        for function in (READER.read, READER.check, READER.size):
            try:
                outcomes.append(function(path))
            except InputError as error:
                assert str(path) in str(error)
                outcomes.append(None)
        pixels, facts, size = outcomes
        assert (pixels is None) == (facts is None)
        if pixels is not None:
            accepted += 1
            assert pixels.shape[:2] == facts.size == size
    assert accepted >= 1  # Bytes behind the end do no harm.


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("gif",)])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    needs(name)
    data = FILES[name]()
    for share in (0.0, 0.1, 0.5, 0.9, 0.99):
        (tmp_path / name).write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)


def test_a_file_that_ends_in_zeros_is_an_interrupted_download(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for kind in ("WEBP", "AVIF"):
        needs(kind.lower())
        Image.fromarray(noise).save(tmp_path / kind, kind)
        data = (tmp_path / kind).read_bytes()
        (tmp_path / kind).write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        with pytest.raises(InputError, match="interrupted download"):
            read_image(tmp_path / kind)


def test_gif_shows_its_first_image(tmp_path: Path) -> None:
    first, second = (Image.fromarray(smooth(seed=seed)).quantize(64) for seed in (1, 2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), np.asarray(first.convert("RGB")))


def test_content_decides_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pillow("WEBP", lossless=True))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    for content, message in (
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"%PDF-1.7", "a PDF"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\3\4", "a zip archive"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "not an image that can be read"),
        (b"hello", "convert it to PNG, or remove it"),
        (b'{"shapes": []}', "a JSON file; annotations are read by the key format"),
    ):
        (tmp_path / "a.png").write_bytes(content)
        for function in (read_image, image_size, PLAIN_IMAGES.check):
            with pytest.raises(InputError, match=message):
                function(tmp_path / "a.png")


def test_formats_by_extras_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        raster, "_EXTRAS", {"HEIC": ("no_such_package", "X"), "AVIF": ("no_such_package", "X")}
    )
    for brand in (b"heic", b"avif"):
        (tmp_path / "a").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(100))
        assert image_format((tmp_path / "a").read_bytes()) == brand.decode().upper()
        with pytest.raises(InputError, match=r"pip install 'hiast\[heif\]'"):
            read_image(tmp_path / "a")


def bands(count: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, np.iinfo(dtype).max, (20, 30, count)).astype(dtype)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_three_of_several_bands(tmp_path: Path, planar: str, dtype: type) -> None:
    pixels = bands(5, dtype)
    stored = np.moveaxis(pixels, 2, 0) if planar == "separate" else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar)
    eight = (pixels >> (8 * np.dtype(dtype).itemsize - 8)).astype(np.uint8)
    np.testing.assert_array_equal(
        ImageReader(bands=(4, 3, 1)).read(tmp_path / "a.tif"), eight[..., [3, 2, 0]]
    )
    np.testing.assert_array_equal(ImageReader(bands=(2,)).read(tmp_path / "a.tif"), eight[..., [1, 1, 1]])
    for function in (read_image, PLAIN_IMAGES.check):
        with pytest.raises(
            InputError, match=r"a\.tif has 5 bands: choose one or three.*bands, such as \[3, 2, 1\]"
        ):
            function(tmp_path / "a.tif")
    with pytest.raises(InputError, match="has 5 bands: bands cannot be"):
        ImageReader(bands=(6, 1, 2)).read(tmp_path / "a.tif")


def test_four_bands_without_alpha_need_a_choice_and_pages_are_bands(tmp_path: Path) -> None:
    pixels = bands(4)
    tifffile.imwrite(tmp_path / "nir.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(InputError, match="has 4 bands"):
        read_image(tmp_path / "nir.tif")
    tifffile.imwrite(tmp_path / "alpha.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.tif"), pixels[..., :3])
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for number in range(3):
            file.write(pixels[..., number], photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(
        ImageReader(bands=(3, 2, 1)).read(tmp_path / "pages.tif"), pixels[..., [2, 1, 0]]
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2"])
def test_twelve_bits_in_sixteen_are_refused_until_a_range_is_set(tmp_path: Path, suffix: str) -> None:
    gray = np.linspace(0, 4095, 600).astype(np.uint16).reshape(20, 30)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(gray).save(path)
    for function in (read_image, PLAIN_IMAGES.check):
        with pytest.raises(ValueRangeError, match=r"from 0 to 4095.*value_range.*\[0, 4095\]") as failure:
            function(path)
        assert (failure.value.low, failure.value.high) == (0, 4095)
    reader = ImageReader(value_range=(0, 4095))
    wanted = np.rint(gray.astype(float) * 255 / 4095)
    np.testing.assert_array_equal(reader.read(path), np.dstack([wanted] * 3))
    assert reader.check(path).high == 4095


def test_ranges_are_linear_and_clipped(tmp_path: Path) -> None:
    kelvin = np.array([[29000, 29500], [30000, 31000]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), kelvin)
    pixels = ImageReader(value_range=(29500, 30500)).read(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels[..., 0], [[0, 0], [128, 255]])
    assert PLAIN_IMAGES.check(tmp_path / "a.png").low == 29000
    tifffile.imwrite(tmp_path / "f.tif", np.array([[np.nan, -1], [0.5, np.inf]], np.float32))
    with pytest.raises(
        ValueRangeError, match=r"values of type float32 from -1 to 0.5.*set value_range.*\[-1, 0.5\]"
    ):
        read_image(tmp_path / "f.tif")
    pixels = ImageReader(value_range=(0, 1)).read(tmp_path / "f.tif")
    np.testing.assert_array_equal(pixels[..., 0], [[0, 0], [128, 255]])


def test_black_images_of_sixteen_bits_are_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 5), np.uint16))
    assert read_image(tmp_path / "a.png").max() == 0


def test_packed_twelve_bits_are_twelve_bits(tmp_path: Path) -> None:
    values = np.arange(0, 4096, 64, dtype=np.uint16).reshape(4, 16)
    try:
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", bitspersample=12)
    except NotImplementedError:
        pytest.skip("this version of imagecodecs does not write them")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], values >> 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": (0, 1, 2)}, "bands is .* counted from 1"),
        ({"bands": (1, 2)}, "one or three"),
        ({"bands": ("red", "green", "blue")}, "one or three numbers"),
        ({"value_range": (5, 5)}, "the lower one first"),
        ({"value_range": (0, float("inf"))}, "two numbers"),
        ({"value_range": ("a", "b")}, "two numbers"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageReader(**settings)


def test_a_tiff_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", smooth(), photometric="rgb")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.tiffcomment(tmp_path / "a.tif", "x")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(6000)
        file.pages[0].tags["ImageWidth"].overwrite(9000)
    with pytest.raises(InputError, match=r"a\.tif is damaged or cut off"):
        read_image(tmp_path / "a.tif")
