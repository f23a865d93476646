"""SegmentationDataset: the pairs of a listing, read on demand as RGB images and the scenario's classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hiast.classes import IGNORED, LabelSpace, lookup_table, map_classes
from hiast.data import decode
from hiast.data.decode import MAX_PIXELS, Decode, Ids
from hiast.data.listing import Listing, Pair, SizeMismatch
from hiast.data.sample import Sample
from hiast.data.transforms import Window, resize_labels
from hiast.errors import InputError

log = logging.getLogger(__name__)

Unreadable = Literal["stop", "skip"]


class Reader(Protocol):
    """Where pixels come from; a cache can stand in for the files."""

    def image_size(self, pair: Pair) -> tuple[int, int]:
        """(height, width) of the image."""
        ...

    def image(self, pair: Pair, window: Window | None = None) -> NDArray[np.uint8]:
        """The image, or a window of it: uint8 [H, W, 3], RGB."""
        ...

    def label(self, pair: Pair) -> Ids:
        """Raw ids [H, W] of the label, which exists."""
        ...


@dataclass(frozen=True)
class FileReader:
    """Decodes the files themselves.

    Args:
        decode_label: Reads raw ids from a label file.
        max_pixels: Larger pictures are refused.
    """

    decode_label: Decode
    max_pixels: int = MAX_PIXELS

    def image_size(self, pair: Pair) -> tuple[int, int]:
        """(height, width) of the image, from its header."""
        return decode.image_size(pair.image, self.max_pixels)

    def image(self, pair: Pair, window: Window | None = None) -> NDArray[np.uint8]:
        """The image, or a window of it: uint8 [H, W, 3], RGB."""
        pixels = decode.read_image(pair.image, self.max_pixels)
        return pixels if window is None else window.of(pixels)

    def label(self, pair: Pair) -> Ids:
        """Raw ids [H, W] of the label."""
        assert pair.label is not None
        return self.decode_label(pair.label, self.max_pixels)


class SegmentationDataset(Dataset[Sample]):
    """Images, with labels in the scenario's classes where the listing has any.

    Args:
        listing: Files and their ids.
        classes: The scenario's classes; None: the dataset's own.
        class_map: The dataset's class name -> the scenario's, or None to ignore it; a class that is not named
            keeps its name.
        reader: Source of the pixels; None: the files.
        unreadable: "stop": a file that cannot be read stops the run with its path. "skip": all files are
            checked now, and pairs with such a file are dropped for good, logged and kept in ``skipped``.
        size_mismatch: What to do with a pair whose image and label differ in size; None: as the listing says.
            "skip" checks all headers now.

    Attributes:
        names: Unique names of the images, in order.
        skipped: Names of the dropped pairs -> why.
        ids: Raw id in the label files -> class index of the scenario.
        classes_present: Class indices of the scenario that the labels can hold.

    Raises:
        InputError: Classes do not fit together, or no pair is left.
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
    ) -> None:
        self.listing = listing
        self.classes = classes or listing.classes
        self.reader: Reader = reader or FileReader(listing.decode)
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
        if unreadable == "skip":
            self._drop(_check_files)
        if self.size_mismatch == "skip" and listing.labelled:
            self._drop(partial(_check_sizes, self.reader))
        self.names = tuple(pair.name for pair in self.listing.pairs)

    @property
    def labelled(self) -> bool:
        """Whether every image has a label."""
        return self.listing.labelled

    def __len__(self) -> int:
        return len(self.listing.pairs)

    def __getitem__(self, index: int) -> Sample:
        """The image at full size, with its label where there is one.

        Raises:
            InputError: A file cannot be read.
        """
        pair = self.listing.pairs[index]
        sample: Sample = {"image": to_planes(self.read_image(index)), "name": pair.name}
        if pair.label is not None:
            sample["label"] = torch.from_numpy(self.read_label(index))
        return sample

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels, from its header."""
        return self.reader.image_size(self.listing.pairs[index])

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """The image, uint8 [H, W, 3], RGB.

        Raises:
            InputError: The file cannot be read.
        """
        return self.reader.image(self.listing.pairs[index])

    def read_image_window(self, index: int, window: Window) -> NDArray[np.uint8]:
        """A window of the image, uint8 [h, w, 3], RGB.

        Raises:
            InputError: The file cannot be read.
        """
        return self.reader.image(self.listing.pairs[index], window)

    def read_label(self, index: int) -> NDArray[np.uint8]:
        """Classes of the scenario, uint8 [H, W] at the size of the image, 255 = ignored.

        Raises:
            InputError: There is no label, it cannot be read, or its size is not the image's.
        """
        pair = self.listing.pairs[index]
        if pair.label is None:
            raise InputError(f"{pair.image} has no label; a labelled dataset is needed here.")
        labels = self._table[self.reader.label(pair)]
        size = self.image_size(index)
        if labels.shape == size:
            return labels
        if self.size_mismatch != "resize":
            raise InputError(f"{_mismatch(pair, size, labels.shape)}: replace one, or set size_mismatch.")
        if pair.name not in self._mismatches:
            self._mismatches.add(pair.name)
            log.warning("%s: the label is resized.", _mismatch(pair, size, labels.shape))
        return resize_labels(labels, *size)

    def check_ids(self, count: int = 4) -> None:
        """Look at some labels, evenly spread, to see that the id table fits at all.

        Raises:
            InputError: None of their pixels has an id of the table, or a label cannot be read.
        """
        seen: set[int] = set()
        for index in np.linspace(0, len(self) - 1, min(count, len(self))).astype(int).tolist():
            labels = self.reader.label(self.listing.pairs[index])
            if bool((self._table[labels] != IGNORED).any()):
                return
            seen.update(np.unique(labels).tolist())
        raise InputError(
            f"The labels of {self.listing.name} hold the ids {_some(seen)}, none of which is in its id table "
            f"({_some(set(self.ids))}): use the label files that hold ids, or put the table right."
        )

    def _drop(self, check: Callable[[Pair], str | None]) -> None:
        with ThreadPoolExecutor() as pool:
            reasons = list(pool.map(check, self.listing.pairs))
        dropped = {
            pair.name: reason for pair, reason in zip(self.listing.pairs, reasons, strict=True) if reason
        }
        for reason in dropped.values():
            log.warning("Skipped for the whole run: %s", reason)
        if dropped:
            log.warning("%s: %d of %d images skipped.", self.listing.name, len(dropped), len(self))
            self.skipped |= dropped
            self.listing = self.listing.without(dropped)


def to_planes(image: NDArray[np.uint8]) -> Tensor:
    """Tensor uint8 [3, H, W] of an image uint8 [H, W, 3]."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(np.ascontiguousarray(image), list(planes))
    return torch.from_numpy(planes)


def _check_files(pair: Pair) -> str | None:
    try:
        decode.verify(pair.image)
        if pair.label is not None:
            decode.verify(pair.label)
    except InputError as error:
        return str(error)
    return None


def _check_sizes(reader: Reader, pair: Pair) -> str | None:
    assert pair.label is not None
    size, label_size = reader.image_size(pair), decode.image_size(pair.label)
    return None if size == label_size else f"{_mismatch(pair, size, label_size)}."


def _mismatch(pair: Pair, size: tuple[int, ...], label_size: tuple[int, ...]) -> str:
    return f"{pair.image} has {size[1]} x {size[0]} pixels and {pair.label} {label_size[1]} x {label_size[0]}"


def _some(ids: set[int]) -> str:
    first = sorted(ids)[:12]
    return ", ".join(map(str, first)) + (", ..." if len(ids) > len(first) else "")
