"""Hundreds of damaged files: each is refused by name or gives exactly what was written; none hangs or eats memory."""

from __future__ import annotations

import os
import resource
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from PIL import Image

from hiast.data.datasets import gta5
from hiast.data.io.images import PLAIN_IMAGES, image_size, read_image
from hiast.data.io.label_colors import ColorIds
from hiast.data.io.labels import read_first_channel, read_ids
from hiast.data.loading.class_counts import count_class_pixels
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"
Read = Callable[[Path], np.ndarray]


def smooth(channels: int = 3) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 20, channels), dtype=np.uint8)
    return cv2.resize(coarse, (160, 96), interpolation=cv2.INTER_CUBIC).reshape(96, 160, channels)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def palette_label() -> bytes:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 34, (96, 160), dtype=np.uint8))
    image.putpalette(list(range(256)) * 3)
    return saved(image, "PNG")


def deep_label() -> bytes:
    pixels = np.random.default_rng(2).integers(0, 9000, (96, 160, 3), dtype=np.uint16)
    return cv2.imencode(".png", pixels)[1].tobytes()


WHOLE: dict[str, tuple[bytes, Read]] = {
    "image.png": (saved(Image.fromarray(smooth()), "PNG"), read_image),
    "rgba.png": (saved(Image.fromarray(smooth(4)), "PNG"), read_image),
    "palette_label.png": (palette_label(), read_ids),
    "deep_label.png": (deep_label(), read_first_channel),
    "palette.png": (saved(Image.fromarray(smooth()).quantize(64), "PNG"), read_image),
    "deep_gray.png": (cv2.imencode(".png", smooth(1).astype(np.uint16) * 257)[1].tobytes(), read_image),
    "gray_alpha.png": (saved(Image.fromarray(smooth()).convert("LA"), "PNG"), read_image),
    "image.jpg": (saved(Image.fromarray(smooth()), "JPEG", quality=90), read_image),
    "progressive.jpg": (saved(Image.fromarray(smooth()), "JPEG", progressive=True), read_image),
    "rotated.jpg": (
        saved(
            Image.fromarray(smooth()),
            "JPEG",
            exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
        ),
        read_image,
    ),
}
SAMPLES = list(WHOLE)
PNGS = [name for name in SAMPLES if name.endswith("png")]
JPEGS = [name for name in SAMPLES if name.endswith("jpg")]


def places(data: bytes) -> list[int]:
    """Places of a cut: in the signature, at and around the ends of parts, in the pixels, before the end."""
    starts = [0, 1, 2, 3, 4, 7, 8, 12, 16, 25, 33, 34, 40]
    inside = np.linspace(50, len(data) - 30, 24).astype(int).tolist()
    return sorted({*starts, *inside, *(len(data) - back for back in (20, 13, 12, 9, 8, 5, 4, 3, 2, 1))})


def cuts() -> Iterator[tuple[str, str, bytes]]:
    for name, (data, _) in WHOLE.items():
        for place in places(data):
            yield name, f"cut at {place} of {len(data)}", data[:place]
        for place in places(data)[10::4]:
            yield name, f"nothing but zeros from {place}", data[:place] + bytes(len(data) - place)
            yield name, f"{place} bytes, then the beginning again", data[:place] + data[:place]


def flips() -> Iterator[tuple[str, str, bytes]]:
    rng = np.random.default_rng(3)
    for name in PNGS:
        data = WHOLE[name][0]
        everywhere = [
            *range(45),
            *rng.integers(45, len(data), 60).tolist(),
            *range(len(data) - 16, len(data)),
        ]
        for place in everywhere:
            bit = int(rng.integers(8))
            yield name, f"bit {bit} of byte {place}", _flipped(data, place, bit)


def _flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def swaps() -> Iterator[tuple[str, str, bytes]]:
    for name, (data, _) in WHOLE.items():
        third = len(data) // 3
        if name in PNGS:
            yield name, "a part is missing", data[:third] + data[third + 100 :]
            yield name, "a part is there twice", data[:third] + data[third - 50 :]
        yield name, "text before it", b"<html>\n" + data
        yield name, "line ends converted", data.replace(b"\n", b"\r\n")
        yield name, "as text", data.decode("latin-1").encode("utf-8")


def wrong_types() -> Iterator[tuple[str, str, bytes]]:
    for name in SAMPLES:
        for text in (
            b"<html>404</html>",
            b"PK\3\4" + bytes(60),
            b"version https://git-lfs.github.com/spec/v1\n",
            b"%PDF-1.7\n",
            b"\0\0\0\x18ftypmp42" + bytes(100),
            b"RIFF\0\0\0\0AVI LIST" + bytes(100),
            b"\xd0\xcf\x11\xe0" + bytes(600),
            b"BM" + bytes(60),
            b"\x93NUMPY\1\0" + bytes(60),
        ):
            yield name, f"{text[:8]!r}", text
        yield name, "zero bytes", b""
        yield name, "zeros", bytes(5000)
        yield name, "a signature and no more", PNG
        yield name, "signature and zeros", PNG + bytes(500)
        yield name, "noise behind a JPEG signature", b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, depth: int = 8, color: int = 2, pixels: bytes = b"", palette: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    colors = chunk(b"PLTE", palette) if palette else b""
    return PNG + chunk(b"IHDR", header) + colors + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def false_headers() -> Iterator[tuple[str, str, bytes]]:
    """Right checksums, wrong content: huge or impossible sizes, too few or broken pixels."""
    for name in PNGS:
        for width, height in [
            (2**31 - 1, 2**31 - 1),
            (2**32 - 1, 1),
            (100_000, 100_000),
            (14_000, 14_000),
            (0, 5),
            (5, 0),
        ]:
            yield name, f"{width} x {height} declared", png(width, height, pixels=bytes(3000))
        for depth, color in [(8, 1), (3, 0), (16, 3), (4, 2), (0, 0), (8, 7)]:
            yield name, f"depth {depth}, color type {color}", png(4, 4, depth, color, bytes(100))
        for color, depth, channels in [
            (0, 8, 1),
            (0, 16, 2),
            (2, 8, 3),
            (3, 8, 1),
            (4, 8, 2),
            (6, 8, 4),
            (6, 16, 8),
        ]:
            kind = f" of color type {color} and {depth} bits"
            make = partial(png, 40, 40, depth, color, palette=bytes(768) if color == 3 else b"")
            row = 1 + 40 * channels
            yield name, "half of the pixels" + kind, make(pixels=bytes(row * 20))
            yield name, "one byte less" + kind, make(pixels=bytes(row * 40 - 1))
            yield name, "no pixels" + kind, make()
            yield name, "unknown filter" + kind, make(pixels=(b"\x09" + bytes(row - 1)) * 40)
        if "label" not in name:
            yield name, "palette without colors", png(40, 40, 8, 3, bytes(41 * 40))
        broken = PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0))
        yield name, "no compressed data", broken + chunk(b"IEND", b"")
        yield (
            name,
            "noise for compressed data",
            broken + chunk(b"IDAT", b"\x78\x9c" + b"noise" * 50) + chunk(b"IEND", b""),
        )
        yield name, "length beyond the file", broken + b"\xff\xff\xff\xffIDATxxxx"
    for name in JPEGS:
        data = WHOLE[name][0]
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
        for size in (b"\xff\xff\xff\xff", b"\0\0\0\x10", b"\0\x10\0\0", b"\x7f\xff\x7f\xff"):
            yield name, f"size {size.hex()}", data[:frame] + size + data[frame + 4 :]
        yield name, "no end", data[:-2]
        yield name, "end at once", data[:frame] + b"\xff\xd9"
        yield name, "no pixels", data[: data.find(b"\xff\xda")] + b"\xff\xd9"


VARIANTS = {
    "cuts": cuts,
    "flips": flips,
    "swaps": swaps,
    "wrong types": wrong_types,
    "false headers": false_headers,
}


@contextmanager
def limited_memory() -> Iterator[None]:
    """Fail where a file makes a reader ask for more than 1.5 GB beyond what is in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 1_500_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(autouse=True)
def memory_limit() -> Iterator[None]:
    with limited_memory():
        yield


def outcome(path: Path, read: Read, wanted: np.ndarray) -> str:
    """Either "refused" or "same"; anything else fails the test."""
    try:
        image_size(path)
        PLAIN_IMAGES.check(path)
        pixels = read(path)
    except InputError as error:
        assert str(path) in str(error)
        return "refused"
    assert pixels.dtype == wanted.dtype
    np.testing.assert_array_equal(pixels, wanted)
    return "same"


def judge(folder: Path, kind: str) -> tuple[int, int]:
    """How many files of a kind are refused by name, and how many are read unchanged; anything else raises."""
    refused = same = 0
    for name, what, data in VARIANTS[kind]():
        whole, read = WHOLE[name]
        (folder / "whole").write_bytes(whole)
        wanted = read(folder / "whole")
        path = folder / name
        path.write_bytes(data)
        try:
            result = outcome(path, read, wanted)
        except AssertionError as error:
            raise AssertionError(f"{name}, {what}") from error
        refused, same = refused + (result == "refused"), same + (result == "same")
    return refused, same


@pytest.mark.parametrize("kind", list(VARIANTS))
def test_damaged_files_are_refused_by_name_or_read_unchanged(tmp_path: Path, kind: str) -> None:
    refused, same = judge(tmp_path, kind)
    minimum = {"cuts": 450, "flips": 700, "swaps": 40, "wrong types": 120, "false headers": 250}
    assert refused >= minimum[kind], (refused, same)


def test_there_are_more_than_two_hundred_of_them() -> None:
    assert sum(len(list(make())) for make in VARIANTS.values()) > 1000


def changed_inside(data: bytes) -> Iterator[bytes]:
    rng = np.random.default_rng(4)
    for place in [*range(0, 700, 7), *rng.integers(0, len(data), 100).tolist()]:
        yield _flipped(data, place, int(rng.integers(8)))
    for place in np.linspace(0, len(data) - 200, 30).astype(int).tolist():
        yield data[:place] + data[place + 100 :]
        yield data[:place] + data[max(0, place - 50) :]


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_changed_inside_is_refused_or_a_picture_of_the_size_it_says(tmp_path: Path, name: str) -> None:
    """A JPEG holds no checksum, so changed pixels cannot be noticed; nothing else may go unnoticed."""
    path = tmp_path / name
    refused = 0
    for data in changed_inside(WHOLE[name][0]):
        path.write_bytes(data)
        try:
            size = image_size(path)
            pixels = read_image(path)
        except InputError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape == (*size, 3)
    assert refused >= 10


def test_things_that_are_not_files(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "ring_a.png").symlink_to(tmp_path / "ring_b.png")
    (tmp_path / "ring_b.png").symlink_to(tmp_path / "ring_a.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "missing")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "device.png").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    names = [path.name for path in tmp_path.iterdir()] + ["missing.png", "nul\0.png", "a" * 300 + ".png"]
    for name in names:
        path = tmp_path / name
        for read in (read_image, read_ids, read_first_channel, image_size, PLAIN_IMAGES.check):
            with pytest.raises(InputError) as failure:
                read(path)  # type: ignore[operator]
            assert str(path) in str(failure.value) or repr(str(path))[1:-1] in str(failure.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(WHOLE["image.png"][0])
    path.chmod(0)
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        read_image(path)


@pytest.mark.parametrize(
    "name",
    [
        "with space.png",
        "Straße.png",
        "日本語.jpg",
        "🚗.png",
        "a\nb.png",
        "%s{x}.png",
        "-rf.png",
        "no suffix",
        "x.PNG",
    ],
)
def test_odd_names_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    kind = "JPEG" if name.endswith("jpg") else "PNG"
    path.write_bytes(saved(Image.fromarray(smooth()), kind))
    assert read_image(path).shape == (96, 160, 3)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError) as failure:
        read_image(path)
    assert str(path) in str(failure.value)


def test_wrong_suffix_alone_does_no_harm(tmp_path: Path) -> None:
    others = (
        (f"{kind}.png", saved(Image.fromarray(smooth()), kind)) for kind in ("BMP", "GIF", "WEBP", "TIFF")
    )
    for name, data in (("a.jpg", WHOLE["image.png"][0]), ("b.png", WHOLE["image.jpg"][0]), *others):
        (tmp_path / name).write_bytes(data)
        reference = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(read_image(tmp_path / name) - reference).max() <= 3


def test_bytes_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    for name, (data, read) in WHOLE.items():
        (tmp_path / name).write_bytes(data)
        wanted = read(tmp_path / name)
        (tmp_path / name).write_bytes(data + b"\0" * 1000)
        np.testing.assert_array_equal(read(tmp_path / name), wanted)


def solid_png(width: int, height: int) -> bytes:
    """A valid PNG of one color, (7, 7, 7): the more pixels a small file can hold."""
    deflate = zlib.compressobj(9)
    row = b"\0" + b"\7" * (3 * width)
    content = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def test_a_small_file_of_many_pixels_is_read_in_little_more_memory_than_they_take(tmp_path: Path) -> None:
    data = solid_png(10_000, 10_000)  # As many as the largest cameras take; 0.3 GB as RGB.
    assert len(data) < 400_000
    for folder in ("GTA5/images", "GTA5/labels"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").write_bytes(data)
    path = tmp_path / "GTA5/labels/a.png"
    for read in (read_image, read_ids):
        assert (read(path)[::999, ::999] == 7).all()
    assert ColorIds({}).unknown(path) == {"7,7,7": 10**8}
    dataset = SegmentationDataset(replace(gta5.list_gta5(tmp_path), decode=ColorIds({(7, 7, 7): 7})))
    assert count_class_pixels(dataset)[0].tolist() == [10**8] + [0] * 18


def test_a_small_file_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(solid_png(12_001, 10_000))
    for read in (read_image, read_ids, image_size, PLAIN_IMAGES.check, ColorIds({})):
        with pytest.raises(InputError, match=r"a\.png declares 12001 x 10000 pixels.*raise max_pixels"):
            read(path)  # type: ignore[operator]


def table() -> Iterator[str]:
    """The table of docs/benchmarks/damaged_files.md, in Markdown."""
    yield "| damage | files | refused, with the path | read unchanged |"
    yield "|---|---:|---:|---:|"
    total = np.zeros(2, int)
    with TemporaryDirectory() as folder, limited_memory():
        for kind in VARIANTS:
            counts = judge(Path(folder), kind)
            total += counts
            yield f"| {kind} | {sum(counts)} | {counts[0]} | {counts[1]} |"
    yield f"| all | {total.sum()} | {total[0]} | {total[1]} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
