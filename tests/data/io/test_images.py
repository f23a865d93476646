"""Every kind of PNG and JPEG against Pillow, or against the array that was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from hiast.data.io.images import PLAIN_IMAGES, image_size, read_image
from hiast.data.io.label_colors import ColorIds
from hiast.data.io.labels import label_size, read_first_channel, read_ids
from hiast.errors import InputError


def picture(height: int = 30, width: int = 46, channels: int = 3, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def test_rgb_png_comes_back_in_rgb_order(tmp_path: Path) -> None:
    pixels = picture()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_modes_become_rgb_without_alpha(tmp_path: Path, mode: str) -> None:
    base = Image.fromarray(picture())
    image = base.convert("L").convert("LA") if mode == "LA" else base.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(picture(channels=1)[..., 0]))
    image.save(tmp_path / "a.png")
    reference = image.convert("L") if mode in ("LA", "1") else image
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(reference.convert("RGB")))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 65536, (9, 11, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    wanted = (pixels[..., ::-1] if channels == 3 else pixels[..., 2::-1] if channels == 4 else pixels) >> 8
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.broadcast_to(wanted, (9, 11, 3)))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(tmp_path: Path, mode: str, progressive: bool) -> None:
    Image.fromarray(picture()).convert(mode).save(tmp_path / "a.jpg", quality=95, progressive=progressive)
    reference = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB")).astype(int)
    assert np.abs(read_image(tmp_path / "a.jpg") - reference).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_pixels_and_size(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(path, exif=exif)
    reference = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    assert image_size(path) == PLAIN_IMAGES.check(path).size == reference.shape[:2]
    assert np.abs(read_image(path) - reference).max() <= 3


def test_a_jpeg_with_stray_bytes_before_a_segment_is_whole(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", quality=95)
    data = (tmp_path / "a.jpg").read_bytes()
    wanted = read_image(tmp_path / "a.jpg")
    for marker in (b"\xff\xda", b"\xff\xdb", b"\xff\xc4"):
        for stray in (b"\0", b"\xff", b"\r\n", bytes(9)):
            place = data.index(marker)
            (tmp_path / "a.jpg").write_bytes(data[:place] + stray + data[place:])
            assert PLAIN_IMAGES.check(tmp_path / "a.jpg").size == image_size(tmp_path / "a.jpg") == (30, 46)
            np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), wanted)


def test_a_jpeg_that_was_transferred_as_text_is_refused(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(InputError, match="transfer in text mode"):
        read_image(tmp_path / "a.jpg")


def test_size_behind_a_large_profile(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", icc_profile=bytes(200_000))
    assert image_size(tmp_path / "a.jpg") == (30, 46)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"])
def test_the_size_is_read_without_pixels(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a", kind)
    if kind != "TIFF":  # Its directory may lie at the end.
        (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:9000])
    assert image_size(tmp_path / "a") == (300, 400)


def test_gamma_transparency_and_profile_change_nothing(tmp_path: Path) -> None:
    pixels = picture()
    Image.fromarray(pixels).save(
        tmp_path / "a.png", icc_profile=b"x" * 200, transparency=(1, 2, 3), gamma=0.3
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("palette", [True, False])
def test_ids_are_stored_values_at_any_depth(tmp_path: Path, bits: int, palette: bool) -> None:
    rng = np.random.default_rng(bits)
    ids = rng.integers(0, 2**bits, (13, 21), dtype=np.uint8)
    path = tmp_path / "a.png"
    if palette:
        image = Image.fromarray(ids)
        image.putpalette(rng.integers(0, 256, 3 * 2**bits, dtype=np.uint8).tobytes())
        image.save(path, bits=bits)
    else:
        path.write_bytes(gray_png(ids, bits))
    np.testing.assert_array_equal(read_ids(path), ids)


def gray_png(ids: np.ndarray, bits: int) -> bytes:
    """A gray PNG of any depth, packed by hand: Pillow writes 1 and 8 bits only."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = []
    for row in ids:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_sixteen_bit_ids_keep_all_bits(tmp_path: Path) -> None:
    ids = np.random.default_rng(3).integers(0, 65536, (7, 9), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), ids)
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_first_channel_is_red(tmp_path: Path, dtype: type, channels: int) -> None:
    pixels = np.random.default_rng(4).integers(0, np.iinfo(dtype).max, (7, 9, channels)).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)  # OpenCV's order: blue, green, red
    np.testing.assert_array_equal(read_first_channel(tmp_path / "a.png"), pixels[..., 2])


def test_three_equal_channels_are_ids_and_colors_are_not(tmp_path: Path) -> None:
    ids = picture(channels=1)[..., 0]
    Image.fromarray(np.dstack([ids] * 3)).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "gray.png"), ids)
    Image.fromarray(picture()).save(tmp_path / "colors.png")
    with pytest.raises(InputError, match=r"colors\.png holds colors"):
        read_ids(tmp_path / "colors.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colors_to_ids(tmp_path: Path, mode: str) -> None:
    table = {(128, 64, 128): 0, (0, 0, 142): 7, (255, 255, 255): 300}
    ids = np.random.default_rng(5).choice([0, 7, 300, 65535], (8, 12))
    colors = {raw: color for color, raw in table.items()} | {65535: (1, 2, 3)}
    pixels = np.array([[colors[raw] for raw in row] for row in ids.tolist()], np.uint8)
    image = Image.fromarray(pixels)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(ColorIds(table)(tmp_path / "a.png"), ids)


def test_unknown_colors_are_counted(tmp_path: Path) -> None:
    # More than one block of rows.
    pixels = np.random.default_rng(6).integers(0, 2, (530, 2000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    unknown = ColorIds({(0, 0, 0): 4, (1, 1, 1): 5}).unknown(tmp_path / "a.png")
    wanted = Counter(map(tuple, pixels.reshape(-1, 3).tolist()))
    assert unknown == {"{},{},{}".format(*c): n for c, n in wanted.items() if sum(c) not in (0, 3)}


def test_jpeg_labels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(picture(channels=1)[..., 0]).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(InputError, match=r"a\.png is a JPEG"):
        read_ids(tmp_path / "a.png")


def test_labels_that_note_an_orientation_are_refused(tmp_path: Path) -> None:
    ids = picture(channels=1)[..., 0]
    for orientation in (1, 3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(ids).save(path, exif=exif)
        for read in (read_ids, read_first_channel, ColorIds({}), label_size):
            if orientation == 1:
                read(path)  # type: ignore[operator]
            else:
                with pytest.raises(
                    InputError, match=rf"{orientation}\.png notes an EXIF orientation \({orientation}\)"
                ):
                    read(path)  # type: ignore[operator]
    assert label_size(tmp_path / "1.png") == ids.shape


def test_limit_on_pixels(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 30 * 46).shape == (30, 46, 3)
    with pytest.raises(InputError, match=r"a\.png declares 46 x 30 pixels"):
        read_image(tmp_path / "a.png", 30 * 46 - 1)
