"""A prepared cache: decoded images on disk, from which a window is read without decoding a whole PNG.

Each cached image knows the hash of the bytes that it was made from. An image whose file was touched since is hashed
again when it is read, and refused if the content is another one: a cache is never stale.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hiast.data.geometry import Window
from hiast.data.io.cache_file import JPEG_TILES, ZSTD_TILES, Tiles, pack, read_header, read_pixels, with_notes
from hiast.data.io.images import MAX_PIXELS, Ids, read_image
from hiast.data.io.listing import Listing, Pair
from hiast.errors import InputError
from hiast.files import write_atomically

FORMATS: Mapping[str, Tiles | None] = {"raw": None, "zstd": ZSTD_TILES, "jpeg": JPEG_TILES}
"""How a cache can be written, by name: nothing is lost but with jpeg."""

SHARES: Mapping[str, float] = {"raw": 1.0, "zstd": 0.41, "jpeg": 0.16}
"""Bytes of each, of 3 per pixel, about; measured on drawn scenes with the grain of a camera."""

_PREPARE = "run hiast-data-prepare"
_SETTLED = 2_000_000_000
"""Nanoseconds after which another write is sure to show in a file's times, on any file system."""


def cached_path(directory: Path, root: Path, image: Path) -> Path:
    """Where the cached picture of an image lies.

    Args:
        directory: Of the cache.
        root: Folder of the datasets; the image's path below it is its name, so that both can move together.
        image: Image file; one outside ``root`` goes by its absolute path.
    """
    image, root = image.absolute(), root.absolute()
    name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.as_posix()
    digest = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return directory / digest[:2] / f"{digest}.picture"


def prepare(
    listing: Listing,
    root: Path,
    directory: Path,
    *,
    tiles: Tiles | None = None,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[bool]:
    """Put the images of a listing into the cache, several at a time; those that are up to date are left alone.

    Args:
        listing: Images.
        root: Folder of the datasets.
        directory: Of the cache; made if it is missing.
        tiles: How to compress; None: raw, 3 bytes per pixel.
        threads: Images at a time; None: as many as there are processors.
        max_pixels: Larger pictures are refused.

    Yields:
        For each image, in order: whether it was written.

    Raises:
        InputError: An image cannot be read.
        OSError: The disk is full or cannot be written.
    """
    threads = threads or os.cpu_count() or 1

    def write(pair: Pair) -> bool:
        return prepare_image(pair.image, cached_path(directory, root, pair.image), tiles, max_pixels)

    with ThreadPoolExecutor(threads) as pool:
        # In slices, so that an error stops the work soon.
        for start in range(0, len(listing.pairs), 4 * threads):
            yield from pool.map(write, listing.pairs[start : start + 4 * threads])


def prepare_image(
    image: Path, target: Path, tiles: Tiles | None = None, max_pixels: int = MAX_PIXELS
) -> bool:
    """Write one cached picture unless it is up to date; returns whether it was written.

    Of an image that was touched or copied, but has the same content, the new times are noted and nothing is decoded.

    Raises:
        InputError: The image cannot be read, or changes while it is.
        OSError: The target cannot be written.
    """
    stamp = _stamp(image)
    known = _known(target, tiles)
    if known is not None and known["stamp"] == stamp:
        return False
    digest = _digest(image)
    notes = {"image": str(image), "digest": digest, "stamp": stamp if _is_settled(stamp) else None}
    if known is not None and known["digest"] == digest:
        if known["stamp"] != notes["stamp"]:
            write_atomically(target, with_notes(target, notes))
        return False
    pixels = read_image(image, max_pixels)
    if _digest(image) != digest or _stamp(image) != stamp:
        raise InputError(
            f"{image} changes while it is read: wait until it is complete, then {_PREPARE} again."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, pack(pixels, tiles, notes))
    return True


class CachedReader:
    """The pixels of a listing's images from the cache, of its labels from their files.

    Args:
        listing: Images and labels; the image files must still be there, for it is their content that is asked for.
        root: Folder of the datasets, as given to ``prepare``.
        directory: Of the cache.
        max_pixels: Larger labels are refused.

    Raises:
        InputError: Some images are not in the cache.
    """

    def __init__(self, listing: Listing, root: Path, directory: Path, max_pixels: int = MAX_PIXELS) -> None:
        self.directory = directory
        self._targets = {pair.image: cached_path(directory, root, pair.image) for pair in listing.pairs}
        self.decode_label = listing.decode
        self.max_pixels = max_pixels
        self._accepted: dict[Path, list[int]] = {}
        missing = [image for image, target in self._targets.items() if not target.is_file()]
        if missing:
            raise InputError(
                f"{len(missing)} images of {listing.name} such as {missing[0]} are not in the cache {directory}: "
                f"{_PREPARE}, or go without cache."
            )

    def image_size(self, pair: Pair) -> tuple[int, int]:
        """(height, width) of the image.

        Raises:
            InputError: As ``image``.
        """
        with self._open(pair) as file:
            height, width, _ = self._header(file, pair)["shape"]
        return height, width

    def image(self, pair: Pair, window: Window | None = None) -> NDArray[np.uint8]:
        """The image, or a window of it: uint8 [H, W, 3], RGB, read-only.

        Raises:
            InputError: The image is gone or has another content than when it was prepared, or its cached picture
                is missing or damaged.
        """
        with self._open(pair) as file:
            return read_pixels(file, self._header(file, pair), window)

    def label(self, pair: Pair) -> Ids:
        """Raw ids [H, W] of the label, decoded from its file."""
        assert pair.label is not None
        return self.decode_label(pair.label, self.max_pixels)

    def _open(self, pair: Pair) -> BinaryIO:
        try:
            return self._targets[pair.image].open("rb")
        except OSError as error:
            raise InputError(
                f"{pair.image} cannot be read from the cache {self.directory} ({error.strerror}): {_PREPARE}."
            ) from error

    def _header(self, file: BinaryIO, pair: Pair) -> dict[str, Any]:
        header = read_header(file)
        stamp = _stamp(pair.image)
        # A dataset that was copied has new times; its content, hashed once per process, decides.
        if stamp != header["stamp"] and self._accepted.get(pair.image) != stamp:
            if _digest(pair.image) != header["digest"]:
                raise InputError(
                    f"{pair.image} has changed since it was put into the cache: {_PREPARE} again."
                )
            if _is_settled(stamp):
                self._accepted[pair.image] = stamp
        return header


@dataclass(frozen=True)
class Cache:
    """Where prepared pictures lie.

    Attributes:
        directory: Of the pictures.
        root: Folder of the datasets that an image's path below it names its picture by.
    """

    directory: Path
    root: Path

    def reader(self, listing: Listing, max_pixels: int = MAX_PIXELS) -> CachedReader:
        """A reader of a listing's images, and of its labels of at most ``max_pixels``.

        Raises:
            InputError: Some images are not in the cache.
        """
        return CachedReader(listing, self.root, self.directory, max_pixels)


def _stamp(image: Path) -> list[int]:
    """What changes whenever a file is written: its size, and the times of its content and of its inode."""
    try:
        status = image.stat()
    except OSError as error:
        raise InputError(f"{image} cannot be read: {error.strerror}; put it back or remove it.") from error
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _digest(image: Path) -> str:
    return blake2b(image.read_bytes(), digest_size=16).hexdigest()


def _is_settled(stamp: list[int]) -> bool:
    return time.time_ns() - max(stamp[1:]) > _SETTLED


def _known(target: Path, tiles: Tiles | None) -> dict[str, Any] | None:
    """Header of a cached picture; None where there is none, it is damaged, or it is compressed otherwise."""
    if not target.is_file():
        return None
    try:
        with target.open("rb") as file:
            header = read_header(file)
    except InputError:
        return None  # Damaged: written anew.
    fits = header["tiles"] == (None if tiles is None else tiles.to_json()) and "digest" in header
    return header if fits and "stamp" in header else None
