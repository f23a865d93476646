#!/usr/bin/env python3
"""Compare ways to keep decoded images on disk from which random crops are read.

    python benchmarks/cache.py [--images 4] [--windows 20] [--folder DIR]

Drawn scenes of Cityscapes' size are written as PNG with about its 2.4 MB, decoded, and written again in each way: as
the files of the cache, and in tiles of the same size in a bare container, each compressed by itself. Before anything
is timed, the windows of all lossless ways are compared with the decoded PNG. Then every window is read in all ways in
turn. Time is the processor's, of one
thread, files being in memory; the output is Markdown.

The cache took tifffile instead of our own container after this comparison (3 scenes, 12 windows of each size,
median; "own" is the format of version 0.1):

|      | MB, own | MB, TIFF | ms, 700 x 1400, own | TIFF | ms, 512 x 1024, own | TIFF | ms to write, own | TIFF |
|------|--------:|---------:|--------------------:|-----:|--------------------:|-----:|-----------------:|-----:|
| raw  |    6.30 |     6.29 |                 0.8 |  1.0 |                 0.5 |  0.8 |                2 |   10 |
| zstd |    2.65 |     2.65 |                10.0 | 10.1 |                 6.8 |  7.0 |               43 |   45 |
| jpeg |    0.98 |     0.98 |                15.1 | 15.3 |                10.0 | 10.3 |               16 |   20 |
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import imagecodecs as ic
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiast.data.geometry import Window
from hiast.data.io.cached_image import JPEG_TILES, ZSTD_TILES, Tiles, encode_image, open_image
from hiast.data.io.images import read_image
from loader import camera_picture

SIZE = 1024, 2048
WINDOWS = ((700, 1400), (512, 1024))
ROWS, COLUMNS = ZSTD_TILES.height, ZSTD_TILES.width
Pixels = NDArray[np.uint8]


class Way(Protocol):
    """Writes an image to a file and reads windows of it."""

    def write(self, path: Path, image: Pixels) -> None:
        """Write the whole image."""

    def read(self, path: Path, window: Window) -> Pixels:
        """Read a window."""


class PngFile:
    """The file as it comes, decoded whole: no cache."""

    def write(self, path: Path, image: Pixels) -> None:
        """Write a PNG."""
        Image.fromarray(image).save(path, "PNG")

    def read(self, path: Path, window: Window) -> Pixels:
        """Decode all, give a window."""
        return np.asarray(window.of(read_image(path)))


class CacheFile:
    """The file of the library's cache: a TIFF, raw or in tiles."""

    def __init__(self, tiles: Tiles | None) -> None:
        self.tiles = tiles

    def write(self, path: Path, image: Pixels) -> None:
        """Write as ``hiast-data-prepare`` does."""
        path.write_bytes(encode_image(image, self.tiles, {}))

    def read(self, path: Path, window: Window) -> Pixels:
        """Read the tiles that the window meets, or copy it from the mapped file."""
        with open_image(path) as image:
            return np.array(image.read(window))


class TiledFile:
    """Compressed tiles one after another; where each starts is kept here."""

    def __init__(self, encode: Callable[[Pixels], bytes], decode: Callable[[bytes], Pixels]) -> None:
        self.encode, self.decode = encode, decode
        self.starts: dict[Path, list[int]] = {}

    def write(self, path: Path, image: Pixels) -> None:
        """Compress tile by tile."""
        tiles = [
            self.encode(np.ascontiguousarray(image[top : top + ROWS, left : left + COLUMNS]))
            for top in range(0, SIZE[0], ROWS)
            for left in range(0, SIZE[1], COLUMNS)
        ]
        path.write_bytes(b"".join(tiles))
        self.starts[path] = np.cumsum([0, *map(len, tiles)]).tolist()

    def read(self, path: Path, window: Window) -> Pixels:
        """Decode the tiles that the window meets."""
        first = window.top // ROWS, window.left // COLUMNS
        last = (window.top + window.height - 1) // ROWS, (window.left + window.width - 1) // COLUMNS
        pixels = np.empty(((last[0] - first[0] + 1) * ROWS, (last[1] - first[1] + 1) * COLUMNS, 3), np.uint8)
        with path.open("rb") as file:
            for row in range(first[0], last[0] + 1):
                for column in range(first[1], last[1] + 1):
                    number = row * (SIZE[1] // COLUMNS) + column
                    start, end = self.starts[path][number : number + 2]
                    file.seek(start)
                    top, left = (row - first[0]) * ROWS, (column - first[1]) * COLUMNS
                    pixels[top : top + ROWS, left : left + COLUMNS] = self.decode(file.read(end - start))
        return Window(
            window.top - first[0] * ROWS, window.left - first[1] * COLUMNS, window.height, window.width
        ).of(pixels)


def shaped(content: bytes) -> Pixels:
    """The values of a tile."""
    return np.frombuffer(content, np.uint8).reshape(ROWS, COLUMNS, 3)


def opencv_png() -> TiledFile:
    """PNG at OpenCV's fastest."""
    fast = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return TiledFile(
        lambda tile: bytes(cv2.imencode(".png", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), fast)[1]),
        lambda content: cv2.cvtColor(
            cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        ),
    )


def less_green(tile: Pixels) -> Pixels:
    """Red and blue as differences to green."""
    tile = tile.copy()
    tile[..., 0] -= tile[..., 1]
    tile[..., 2] -= tile[..., 1]
    return tile


def plus_green(tile: Pixels) -> Pixels:
    """The inverse of ``less_green``, in place."""
    tile[..., 0] += tile[..., 1]
    tile[..., 2] += tile[..., 1]
    return tile


def compressors() -> dict[str, TiledFile]:
    """General compressors of bytes, with and without differences to the left neighbor; nothing is lost."""
    size = ROWS * COLUMNS * 3

    def left(tile: Pixels) -> bytes:
        return ic.delta_encode(tile, axis=1).tobytes()

    def right(content: bytes) -> Pixels:
        return ic.delta_decode(shaped(content), axis=1)

    def lz4(content: bytes) -> bytes:
        return ic.lz4_decode(content, out=size)

    def zstd(content: bytes) -> bytes:
        return ic.zstd_decode(content, out=size)

    def blosc(content: bytes) -> bytes:
        return ic.blosc2_encode(content, 1, compressor="zstd", shuffle="bitshuffle", typesize=1, numthreads=1)

    return {
        "lz4": TiledFile(lambda t: ic.lz4_encode(t.tobytes()), lambda c: shaped(lz4(c))),
        "left differences, lz4": TiledFile(lambda t: ic.lz4_encode(left(t)), lambda c: right(lz4(c))),
        "zstd 1": TiledFile(lambda t: ic.zstd_encode(t.tobytes(), 1), lambda c: shaped(zstd(c))),
        "left differences, zstd 1": TiledFile(lambda t: ic.zstd_encode(left(t), 1), lambda c: right(zstd(c))),
        "differences to green, then left, zstd 1": TiledFile(
            lambda t: ic.zstd_encode(left(less_green(t)), 1), lambda c: plus_green(right(zstd(c)))
        ),
        "blosc2 (bits shuffled, zstd 1)": TiledFile(
            lambda t: blosc(t.tobytes()), lambda c: shaped(ic.blosc2_decode(c, numthreads=1))
        ),
        "left differences, blosc2": TiledFile(
            lambda t: blosc(left(t)), lambda c: right(ic.blosc2_decode(c, numthreads=1))
        ),
    }


def lossless_codecs() -> dict[str, TiledFile]:
    """Picture formats that lose nothing."""
    return {
        "PNG, OpenCV (RLE)": opencv_png(),
        "PNG, libspng 1": TiledFile(lambda t: ic.spng_encode(t, 1), ic.spng_decode),
        "QOI": TiledFile(ic.qoi_encode, ic.qoi_decode),
        "WebP lossless, method 0": TiledFile(
            lambda t: ic.webp_encode(t, lossless=True, method=0), ic.webp_decode
        ),
        "JPEG XL lossless, effort 1": TiledFile(
            lambda t: ic.jpegxl_encode(t, lossless=True, effort=1, numthreads=1),
            lambda c: ic.jpegxl_decode(c, numthreads=1),
        ),
        "JPEG 2000 HT, reversible": TiledFile(lambda t: ic.htj2k_encode(t, reversible=True), ic.htj2k_decode),
        "JPEG-LS": TiledFile(ic.jpegls_encode, ic.jpegls_decode),
    }


def lossy_codecs() -> dict[str, TiledFile]:
    """Picture formats that lose a little."""
    return {
        "JPEG XL, distance 0.1, effort 1": TiledFile(
            lambda t: ic.jpegxl_encode(t, distance=0.1, effort=1, numthreads=1),
            lambda c: ic.jpegxl_decode(c, numthreads=1),
        ),
        "JPEG 2000 HT, step 0.004": TiledFile(
            lambda t: ic.htj2k_encode(t, 0.004, reversible=False), ic.htj2k_decode
        ),
        "JPEG-LS, near 2": TiledFile(lambda t: ic.jpegls_encode(t, 2), ic.jpegls_decode),
    }


@dataclass
class Contestant:
    """A way with what was measured of it."""

    title: str
    way: Way
    lossless: bool
    folder: Path
    bytes_per_image: float = 0.0
    writing: float = 0.0
    largest: int = 0
    mean: float = 0.0
    reading: dict[tuple[int, int], list[float]] = field(
        default_factory=lambda: {size: [] for size in WINDOWS}
    )

    def path(self, index: int) -> Path:
        """Where an image lies."""
        return self.folder / f"{index}.picture"

    def write(self, images: list[Pixels]) -> None:
        """Write all images; note time and size."""
        self.folder.mkdir()
        start = time.process_time()
        for index, image in enumerate(images):
            self.way.write(self.path(index), image)
        self.writing = (time.process_time() - start) / len(images)
        self.bytes_per_image = float(np.mean([self.path(i).stat().st_size for i in range(len(images))]))

    def check(self, images: list[Pixels], draws: list[tuple[int, Window]]) -> None:
        """Note what is lost.

        Raises:
            SystemExit: A lossless way gives other values.
        """
        whole = Window(0, 0, *SIZE)
        off = [
            np.abs(self.way.read(self.path(i), whole).astype(np.int16) - image)
            for i, image in enumerate(images)
        ]
        self.largest, self.mean = int(np.max(off)), float(np.mean(off))
        for index, window in draws if self.lossless else ():
            if not np.array_equal(self.way.read(self.path(index), window), window.of(images[index])):
                raise SystemExit(f"{self.title} gives other values for {window}.")

    def row(self) -> str:
        """A line of the table."""
        cells = [f"{self.bytes_per_image / 1e6:.2f}"]
        cells += [f"{np.mean(self.reading[size]) * 1e3:.1f}" for size in WINDOWS]
        lost = f"{self.largest}, {self.mean:.2f}" if self.largest else "nothing"
        return f"| {' | '.join([self.title, *cells, f'{self.writing * 1e3:.0f}', lost])} |"


def contestants(folder: Path) -> list[Contestant]:
    """All ways."""
    ways: dict[str, Way] = {
        "PNG file, decoded whole": PngFile(),
        "**TIFF, raw, memory map: `raw`**": CacheFile(None),
        "**TIFF, tiles of left differences, zstd 1: `zstd`**": CacheFile(ZSTD_TILES),
    }
    jpeg: dict[str, Way] = {"**TIFF, tiles of JPEG, quality 98, 4:4:4: `jpeg`**": CacheFile(JPEG_TILES)}
    lossless = {**ways, **compressors(), **lossless_codecs()}
    both = [(lossless, True), ({**jpeg, **lossy_codecs()}, False)]
    return [
        Contestant(title, way, exact, folder / str(number))
        for number, (title, way, exact) in enumerate(
            (title, way, exact) for ways, exact in both for title, way in ways.items()
        )
    ]


def draw_windows(count: int, images: int) -> Iterator[tuple[int, Window]]:
    """As many windows of each size, of the images in turn."""
    rng = np.random.default_rng(0)
    for number in range(count):
        for height, width in WINDOWS:
            top, left = rng.integers(SIZE[0] - height + 1), rng.integers(SIZE[1] - width + 1)
            yield number % images, Window(int(top), int(left), height, width)


def main() -> None:
    """Write the files, compare the pixels, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--windows", type=int, default=20, help="windows of each size")
    parser.add_argument("--folder", type=Path, help="where files are written; default: a temporary folder")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        images = []
        for index in range(options.images):
            path = Path(name) / f"{index}.png"
            Image.fromarray(camera_picture(index, SIZE)[0]).save(path)
            images.append(read_image(path))
        draws = list(draw_windows(options.windows, options.images))
        ways = contestants(Path(name))
        for one in ways:
            one.write(images)
            one.check(images, draws)
        for index, window in draws:
            for one in ways:
                start = time.process_time()
                one.way.read(one.path(index), window)
                one.reading[window.height, window.width].append(time.process_time() - start)
    sizes = " | ".join(f"ms: {height} x {width}" for height, width in WINDOWS)
    print(f"| | MB per image | {sizes} | ms: write an image | lost: largest, mean |\n|---|" + "---:|" * 5)
    print("\n".join(one.row() for one in ways))


if __name__ == "__main__":
    main()
