"""SegmentationDataset: the pairs of a listing, read on demand as RGB images and the scenario's classes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hiast.classes import LabelSpace, lookup_table, map_classes
from hiast.data.checks.label_ids import check_label_ids
from hiast.data.checks.screening import check_choices, describe_mismatch, mismatched_pairs, unreadable_pairs
from hiast.data.geometry import Window, resize_labels
from hiast.data.io.images import MAX_PIXELS, PLAIN_IMAGES, ImageFile, ImageReader
from hiast.data.io.label_colors import look_up
from hiast.data.io.labels import Decode, Ids
from hiast.data.io.listing import Listing, Pair, SizeMismatch, Unreadable
from hiast.data.io.raster import open_raster
from hiast.data.sample import Sample
from hiast.errors import InputError

log = logging.getLogger(__name__)


class OpenImage(Protocol):
    """An image that is open: its size is known, and windows of it can be read."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    def read(self, window: Window | None = None) -> NDArray[np.uint8]:
        """The image, or a window of it: uint8 [H, W, 3], RGB."""
        ...


class Reader(Protocol):
    """Where pixels come from: the files themselves, or a cache of them."""

    def image_size(self, pair: Pair) -> tuple[int, int]:
        """(height, width) of the image, without reading its pixels."""
        ...

    def open(self, pair: Pair) -> AbstractContextManager[OpenImage]:
        """Open the image of a pair once, for its size and its pixels."""
        ...

    def label(self, pair: Pair) -> Ids:
        """Raw ids [H, W] of the label, which exists."""
        ...


@dataclass(frozen=True)
class FileReader:
    """Decodes the files themselves.

    Args:
        decode_label: Reads raw ids from a label file.
        max_pixels: Larger images and labels are refused.
        images: Reads image files.
    """

    decode_label: Decode
    max_pixels: int = MAX_PIXELS
    images: ImageReader = PLAIN_IMAGES

    def image_size(self, pair: Pair) -> tuple[int, int]:
        """(height, width) of the image, from its header."""
        return self.images.size(pair.image, self.max_pixels)

    @contextmanager
    def open(self, pair: Pair) -> Iterator[ImageFile]:
        """The image of a pair, in memory; its pixels are decoded when they are asked for."""
        yield ImageFile(self.images, open_raster(pair.image, self.max_pixels))

    def label(self, pair: Pair) -> Ids:
        """Raw ids [H, W] of the label."""
        assert pair.label is not None
        return self.decode_label(pair.label, self.max_pixels)


class SegmentationDataset(Dataset[Sample]):
    """Images, with labels in the scenario's classes where the listing has any.

    Args:
        listing: The files, and what the ids in the labels mean.
        classes: The scenario's classes; None: the dataset's own.
        class_map: The dataset's class name -> the scenario's, or None to ignore it; a class that is not named
            keeps its name.
        reader: Source of the pixels; None: the files.
        unreadable: "stop": a file that cannot be read stops the run with its path. "skip": all files are
            checked now, and pairs with such a file are dropped for good, logged and kept in ``skipped``.
        size_mismatch: What to do with a pair whose image and label differ in size; None: as the listing says.
            "skip" checks all headers now.
        max_pixels: Larger images and labels are refused.
        skipped: Names of pairs to drop -> why, as found by an earlier check; nothing is checked then. None: nothing
            is known.

    Attributes:
        names: Unique names of the images, in order.
        skipped: Names of the dropped pairs -> why.
        ids: Raw id in the label files -> class index of the scenario.
        classes_present: Class indices of the scenario that the labels can hold.

    Raises:
        InputError: Classes do not fit together, a setting is none of the choices, or no pair is left.

    Examples:
        >>> from hiast.data import GTA5DataModule
        >>> from hiast.scenes import write_gta5
        >>> _ = write_gta5("data", 2, (64, 128))
        >>> dataset = SegmentationDataset(GTA5DataModule("data").listing("train", labeled=True))
        >>> dataset[0]["label"].shape, dataset.names
        (torch.Size([64, 128]), ('00001', '00002'))
    """

    def __init__(
        self,
        listing: Listing,
        classes: LabelSpace | None = None,
        class_map: Mapping[str, str | None] | None = None,
        *,
        reader: Reader | None = None,
        unreadable: Unreadable = "stop",
        size_mismatch: SizeMismatch | None = None,
        max_pixels: int = MAX_PIXELS,
        skipped: Mapping[str, str] | None = None,
    ) -> None:
        check_choices(unreadable, size_mismatch)
        self.listing = listing
        self.classes = classes or listing.classes
        self.reader: Reader = reader or FileReader(listing.decode, max_pixels, listing.images)
        self.max_pixels = max_pixels
        self.size_mismatch = size_mismatch or listing.size_mismatch
        try:
            ids = map_classes(listing.ids, listing.classes, self.classes, class_map)
        except ValueError as error:
            raise InputError(f"{listing.name}: {error}") from error
        absent = {listing.classes.index(name) for name in listing.absent}
        self.classes_present = frozenset(ids[raw] for raw in ids if listing.ids[raw] not in absent)
        self.skipped: dict[str, str] = {}
        self.ids = ids
        self._table = lookup_table(ids)
        self._mismatches: set[str] = set()
        if skipped is not None:
            self._drop(skipped)
        else:
            if unreadable == "skip":
                self._drop(unreadable_pairs(listing, max_pixels))
            if self.size_mismatch == "skip" and listing.labeled:
                self._drop(mismatched_pairs(self.listing, self.reader.image_size, max_pixels))
        self.names = tuple(pair.name for pair in self.listing.pairs)

    @property
    def labeled(self) -> bool:
        """Whether every image has a label."""
        return self.listing.labeled

    def __len__(self) -> int:
        return len(self.listing.pairs)

    def __getitem__(self, index: int) -> Sample:
        """The image at full size, with its label where there is one.

        Raises:
            InputError: A file cannot be read.
        """
        pair = self.listing.pairs[index]
        image = self.read_image(index)
        sample: Sample = {"image": to_planes(image), "name": pair.name}
        if pair.label is not None:
            sample["label"] = torch.from_numpy(self.read_label(index, (image.shape[0], image.shape[1])))
        return sample

    def open_image(self, index: int) -> AbstractContextManager[OpenImage]:
        """Open an image once, for its size and for windows of its pixels.

        Raises:
            InputError: The file cannot be read.
        """
        return self.reader.open(self.listing.pairs[index])

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels, from its header."""
        return self.reader.image_size(self.listing.pairs[index])

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """The image, uint8 [H, W, 3], RGB.

        Raises:
            InputError: The file cannot be read.
        """
        with self.open_image(index) as image:
            return image.read()

    def read_image_window(self, index: int, window: Window) -> NDArray[np.uint8]:
        """A window of the image, uint8 [h, w, 3], RGB.

        Raises:
            InputError: The file cannot be read.
        """
        with self.open_image(index) as image:
            return image.read(window)

    def read_label(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Classes of the scenario, uint8 [H, W] at the size of the image, 255 = ignored.

        Args:
            index: Index of the pair.
            size: (height, width) of its image; None: it is read from the image's header.

        Raises:
            InputError: There is no label, it cannot be read, or its size is not the image's.
        """
        pair = self.listing.pairs[index]
        if pair.label is None:
            raise InputError(f"{pair.image} has no label; a labeled dataset is needed here.")
        labels = look_up(self._table, self.reader.label(pair))
        size = size or self.image_size(index)
        if labels.shape == size:
            return labels
        if self.size_mismatch != "resize":
            raise InputError(
                f"{describe_mismatch(pair, size, labels.shape)}: replace one, or set size_mismatch."
            )
        if pair.name not in self._mismatches:
            self._mismatches.add(pair.name)
            log.warning("%s: the label is resized.", describe_mismatch(pair, size, labels.shape))
        return resize_labels(labels, *size)

    def check_ids(self, count: int = 4) -> None:
        """Look at some labels, evenly spread, to see that the id table fits; at every label if these hold no class.

        Raises:
            InputError: No pixel of any label has an id of the table, the labels hold train ids where label ids are
                expected, or a label cannot be read.
        """
        check_label_ids(self.listing, self.ids, self.reader.label, self.max_pixels, count)

    def _drop(self, dropped: Mapping[str, str]) -> None:
        dropped = {pair.name: dropped[pair.name] for pair in self.listing.pairs if pair.name in dropped}
        for reason in dropped.values():
            log.warning("Skipped for the whole run: %s", reason)
        if dropped:
            log.warning("%s: %d of %d images skipped.", self.listing.name, len(dropped), len(self))
            self.skipped |= dropped
            self.listing = self.listing.without(dropped)


def to_planes(image: NDArray[np.uint8]) -> Tensor:
    """Tensor uint8 [3, H, W] of an image uint8 [H, W, 3].

    Raises:
        InputError: It is not such an image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"An image of type {image.dtype} and shape {list(image.shape)} was given; uint8 [H, W, 3] is needed."
        )
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(np.ascontiguousarray(image), list(planes))
    return torch.from_numpy(planes)
