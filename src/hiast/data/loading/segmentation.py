"""SegmentationDataset: the pairs of a listing, read on demand as RGB images and the scenario's classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hiast.classes import IGNORED, LabelSpace, lookup_table, map_classes
from hiast.data.checks.screening import Unreadable as Unreadable
from hiast.data.checks.screening import check_choices, describe_mismatch, mismatched_pairs, unreadable_pairs
from hiast.data.geometry import Window, resize_labels
from hiast.data.io import images
from hiast.data.io.images import MAX_PIXELS, UNKNOWN_COLOR, ColorIds, Decode, Ids, look_up
from hiast.data.io.listing import Listing, Pair, SizeMismatch
from hiast.data.sample import Sample
from hiast.errors import InputError

log = logging.getLogger(__name__)


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
        return images.image_size(pair.image, self.max_pixels)

    def image(self, pair: Pair, window: Window | None = None) -> NDArray[np.uint8]:
        """The image, or a window of it: uint8 [H, W, 3], RGB."""
        pixels = images.read_image(pair.image, self.max_pixels)
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
        max_pixels: Larger pictures are refused.
        skipped: Names of pairs to drop -> why, as found before; nothing is checked then. None: nothing is known.

    Attributes:
        names: Unique names of the images, in order.
        skipped: Names of the dropped pairs -> why.
        ids: Raw id in the label files -> class index of the scenario.
        classes_present: Class indices of the scenario that the labels can hold.

    Raises:
        InputError: Classes do not fit together, a setting is none of the choices, or no pair is left.
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
        self.reader: Reader = reader or FileReader(listing.decode, max_pixels)
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
            raise InputError(f"{pair.image} has no label; a labeled dataset is needed here.")
        labels = look_up(self._table, self.reader.label(pair))
        size = self.image_size(index)
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
            InputError: No pixel of any label has an id of the table, or a label cannot be read.
        """
        first = np.linspace(0, len(self) - 1, min(count, len(self))).astype(int).tolist()
        if any(map(self._holds_class, first)):
            return
        log.info(
            "%d labels of %s hold no class; looking at all %d.", len(first), self.listing.name, len(self)
        )
        with ThreadPoolExecutor() as pool:
            # In slices, so that one label with a class ends it soon.
            for start in range(0, len(self), 64):
                if any(pool.map(self._holds_class, range(start, min(start + 64, len(self))))):
                    return
        raise InputError(self._no_class(first))

    def _holds_class(self, index: int) -> bool:
        return bool((look_up(self._table, self.reader.label(self.listing.pairs[index])) != IGNORED).any())

    def _no_class(self, indices: Sequence[int]) -> str:
        """What is wrong where no label holds a class: what some of them hold, and what was looked for."""
        decode, pairs = self.listing.decode, [self.listing.pairs[index] for index in indices]
        raw = sorted({int(value) for pair in pairs for value in np.unique(self.reader.label(pair))})
        if not isinstance(decode, ColorIds):
            return (
                f"The labels of {self.listing.name} hold the ids {_some(raw, ', ')}, none of which is in its id table "
                f"({_some(sorted(self.ids), ', ')}): use the label files that hold ids, or put the table right."
            )
        colors = decode.named(raw)
        if UNKNOWN_COLOR in raw:
            colors += sorted(
                {c for pair in pairs if pair.label for c in decode.unknown(pair.label, self.max_pixels)}
            )
        return (
            f"The labels of {self.listing.name} hold the colors {_some(colors, '; ')}, none of which stands for a "
            f"class in its color table ({_some(decode.named(self.ids), '; ')}): use the label files that hold these, "
            "or put the table right."
        )

    def _drop(self, dropped: Mapping[str, str]) -> None:
        dropped = {pair.name: dropped[pair.name] for pair in self.listing.pairs if pair.name in dropped}
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


def _some(values: Sequence[object], separator: str) -> str:
    return separator.join(map(str, values[:12])) + (f"{separator}..." if len(values) > 12 else "")
