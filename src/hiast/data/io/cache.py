"""A prepared cache: decoded images on disk, from which a window is read without decoding a whole file.

Each cached image holds the hash of the bytes that it was made from. An image whose file was touched since is hashed
again when it is read, and refused if its content has changed: a cache is never stale.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hiast.data.io.cached_image import (
    JPEG_TILES,
    ZSTD_TILES,
    CachedImage,
    Tiles,
    encode_image,
    open_image,
    replace_notes,
)
from hiast.data.io.images import MAX_PIXELS, ImageReader
from hiast.data.io.labels import Ids
from hiast.data.io.listing import Listing, Pair
from hiast.errors import InputError
from hiast.files import write_atomically

FORMATS: Mapping[str, Tiles | None] = {"raw": None, "zstd": ZSTD_TILES, "jpeg": JPEG_TILES}
"""How a cache can be written, by name: nothing is lost except with jpeg."""

SHARES: Mapping[str, float] = {"raw": 1.0, "zstd": 0.41, "jpeg": 0.16}
"""Approximate size of each, as a share of 3 bytes per pixel; measured on drawn scenes with the grain of a camera."""

_PREPARE = "run hiast-data-prepare"
_SETTLED = 2_000_000_000
"""Nanoseconds after which another write is sure to show in a file's times, on any file system."""


def cached_path(directory: Path, root: Path, image: Path) -> Path:
    """File of a cached image.

    Args:
        directory: Directory of the cache.
        root: Folder of the datasets; the image's path below it is its name, so that both can be moved together.
        image: Image file; one outside of ``root`` is named by its absolute path.
    """
    image, root = image.absolute(), root.absolute()
    name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.as_posix()
    digest = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return directory / digest[:2] / f"{digest}.tif"


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
        directory: Directory of the cache; made if it is missing.
        tiles: How to compress; None: raw, 3 bytes per pixel.
        threads: Images at a time; None: as many as there are processors.
        max_pixels: Larger images are refused.

    Yields:
        For each image, in order: whether it was written.

    Raises:
        InputError: An image cannot be read, or the directory cannot be written to.
        OSError: The disk is full.
    """
    threads = threads or os.cpu_count() or 1

    def write(pair: Pair) -> bool:
        target = cached_path(directory, root, pair.image)
        return prepare_image(pair.image, target, tiles, max_pixels, listing.images)

    with ThreadPoolExecutor(threads) as pool:
        # In slices, so that an error stops the work soon.
        for start in range(0, len(listing.pairs), 4 * threads):
            yield from pool.map(write, listing.pairs[start : start + 4 * threads])


def prepare_image(
    image: Path,
    target: Path,
    tiles: Tiles | None = None,
    max_pixels: int = MAX_PIXELS,
    images: ImageReader | None = None,
) -> bool:
    """Write one cached image unless it is up to date; returns whether it was written.

    Of an image that was touched or copied, but has the same content, the new times are noted and nothing is decoded.

    Raises:
        InputError: The image cannot be read, or changes while it is read; or the folder cannot be written to.
        OSError: The disk is full.
    """
    images = images or ImageReader()
    stamp = _stamp(image)
    known = _known(target, tiles, images)
    if known is not None and known["stamp"] == stamp:
        return False
    digest = _digest(image)
    notes = {
        "digest": digest,
        "stamp": stamp if _is_settled(stamp) else None,
        "settings": _settings(images),
    }
    if known is not None and known["digest"] == digest:
        if known["stamp"] != notes["stamp"]:
            write_atomically(target, replace_notes(target, notes))
        return False
    pixels = images.read(image, max_pixels)
    if _digest(image) != digest or _stamp(image) != stamp:
        raise InputError(
            f"{image} changes while it is read: wait until it is complete, then {_PREPARE} again."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The cache cannot be written to {target.parent.parent} ({error.strerror}): set data.cache_folder to a "
            "folder that can be written."
        ) from error
    write_atomically(target, encode_image(pixels, tiles, notes))
    return True


class CachedReader:
    """The pixels of a listing's images from the cache, of its labels from their files.

    Args:
        listing: Images and labels; the image files have to stay, since their content is what the cache stands for.
        root: Folder of the datasets, as given to ``prepare``.
        directory: Directory of the cache.
        max_pixels: Larger labels are refused.

    Raises:
        InputError: Some images are not in the cache.

    Examples:
        >>> from hiast.data import GTA5DataModule
        >>> from hiast.scenes import write_gta5
        >>> _ = write_gta5("data", 2, (64, 128))
        >>> listing = GTA5DataModule("data").listing("train", labeled=True)
        >>> list(prepare(listing, Path("data"), Path("cache")))
        [True, True]
        >>> CachedReader(listing, Path("data"), Path("cache")).image_size(listing.pairs[0])
        (64, 128)
    """

    def __init__(self, listing: Listing, root: Path, directory: Path, max_pixels: int = MAX_PIXELS) -> None:
        self.directory = directory
        self._targets = {pair.image: cached_path(directory, root, pair.image) for pair in listing.pairs}
        self.decode_label = listing.decode
        self.max_pixels = max_pixels
        self._settings = _settings(listing.images)
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
            InputError: As ``open``.
        """
        with self.open(pair) as image:
            return image.size

    @contextmanager
    def open(self, pair: Pair) -> Iterator[CachedImage]:
        """The cached image of a pair, open for its size and its pixels.

        Raises:
            InputError: The image is gone or its content has changed since it was prepared, or its cached file is
                missing, damaged, or made with other bands or another value range.
        """
        with ExitStack() as stack:
            try:
                image = stack.enter_context(open_image(self._targets[pair.image]))
                self._check(pair, image.notes)
            except OSError as error:
                raise InputError(
                    f"{pair.image} cannot be read from the cache {self.directory} ({error.strerror}): {_PREPARE}."
                ) from error
            yield image

    def label(self, pair: Pair) -> Ids:
        """Raw ids [H, W] of the label, decoded from its file."""
        assert pair.label is not None
        return self.decode_label(pair.label, self.max_pixels)

    def _check(self, pair: Pair, notes: Mapping[str, Any]) -> None:
        if notes.get("settings") != self._settings:
            raise InputError(
                f"{pair.image} was put into the cache with other bands or another value_range: {_PREPARE} again."
            )
        stamp = _stamp(pair.image)
        # A dataset that was copied has new times; its content, hashed once per process, decides.
        if stamp != notes["stamp"] and self._accepted.get(pair.image) != stamp:
            if _digest(pair.image) != notes["digest"]:
                raise InputError(
                    f"{pair.image} has changed since it was put into the cache: {_PREPARE} again."
                )
            if _is_settled(stamp):
                self._accepted[pair.image] = stamp


@dataclass(frozen=True)
class Cache:
    """Where prepared images lie.

    Attributes:
        directory: Directory of the cached images.
        root: Dataset root; cached files are named by the image's path relative to it.
    """

    directory: Path
    root: Path

    def reader(self, listing: Listing, max_pixels: int = MAX_PIXELS) -> CachedReader:
        """A reader of a listing's images, and of its labels of at most ``max_pixels``.

        Raises:
            InputError: Some images are not in the cache.
        """
        return CachedReader(listing, self.root, self.directory, max_pixels)

    def digest(self, image: Path) -> str:
        """Hash of the content that the cached file of an image was made from.

        Raises:
            InputError: The cached file is missing or damaged.
        """
        try:
            with open_image(cached_path(self.directory, self.root, image)) as cached:
                return str(cached.notes["digest"])
        except OSError as error:
            raise InputError(
                f"{image} cannot be read from the cache {self.directory} ({error.strerror}): {_PREPARE}."
            ) from error


def _settings(images: ImageReader) -> list[Any]:
    """What decides about the pixels of an image besides its file, as JSON gives it back."""
    bands, value_range = images.bands, images.value_range
    return [None if bands is None else list(bands), None if value_range is None else list(value_range)]


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


def _known(target: Path, tiles: Tiles | None, images: ImageReader) -> Mapping[str, Any] | None:
    """Notes of a cached file; None where there is none, it is damaged, or it was made in another way."""
    if not target.is_file():
        return None
    try:
        with open_image(target) as image:
            notes = image.notes
    except InputError:
        return None  # Damaged: written anew.
    wanted = {"tiles": None if tiles is None else tiles.to_json(), "settings": _settings(images)}
    fits = all(notes.get(key) == value for key, value in wanted.items())
    return notes if fits and {"digest", "stamp"} <= notes.keys() else None
