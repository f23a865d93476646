"""Labels that are not one file per image: several masks of one image, or annotations read by ``hiast.formats``."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.images import image_size
from hiast.data.io.labels import Decode, Ids, describe_decode, label_size
from hiast.data.io.sniff import MAX_PIXELS
from hiast.errors import InputError
from hiast.formats import AnnotationReader


@dataclass(frozen=True)
class Mask:
    """One of several masks of an image.

    Attributes:
        path: Mask file.
        raw: Raw id of the pixels that the mask covers; None: the mask's own ids.
    """

    path: Path
    raw: int | None = None


@dataclass(frozen=True)
class JoinedLabels:
    """Reads labels that consist of several mask files, such as one for each object or one for each class.

    The masks of an image are laid over each other in the order of their names: where a mask covers the image, it
    counts; the last one wins.

    Args:
        decode: Reads raw ids from one mask file.
        groups: First mask file of an image -> all of them.
        background: Raw id of pixels that no mask covers.
        uncovered: Raw ids in a mask where it does not cover the image.
    """

    decode: Decode
    groups: Mapping[Path, tuple[Mask, ...]]
    background: int = 0
    uncovered: frozenset[int] = frozenset({0})

    def __call__(self, path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
        """Raw ids uint16 [H, W] of the image whose first mask file is ``path``.

        Raises:
            InputError: A mask cannot be read, or masks of one image differ in size.
        """
        joined: NDArray[np.uint16] | None = None
        for mask in self.groups[path]:
            ids = self.decode(mask.path, max_pixels)
            if joined is None:
                joined = np.full(ids.shape, self.background, np.uint16)
            if ids.shape != joined.shape:
                raise InputError(
                    f"{mask.path} has {ids.shape[1]} x {ids.shape[0]} pixels and {path} "
                    f"{joined.shape[1]} x {joined.shape[0]}: masks of one image have to be of one size."
                )
            here = np.ones(ids.shape, np.bool_)
            for raw in self.uncovered:
                here &= ids != raw
            joined[here] = ids[here] if mask.raw is None else mask.raw
        assert joined is not None
        return joined

    def describe(self) -> str:
        """The reader of the masks, and names, sizes and times of all mask files."""
        files = [
            (str(mask.path), mask.raw, status.st_size, status.st_mtime_ns)
            for masks in self.groups.values()
            for mask in masks
            for status in (mask.path.stat(),)
        ]
        return repr((describe_decode(self.decode), self.background, sorted(self.uncovered), files))

    def size(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
        """(height, width) of the first mask, from its header."""
        return label_size(path, max_pixels, self.decode)


@dataclass(frozen=True)
class AnnotationLabels:
    """Reads labels through an annotation reader, by the file of the image that they belong to.

    Args:
        reader: The annotations.
        items: Image file -> name of the image in the annotations.
        any_size: Annotations of another size than the image are read too, at their own size.
    """

    reader: AnnotationReader
    items: Mapping[Path, str]
    any_size: bool = False

    def __call__(self, path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
        """Class indices uint8 [H, W] of the image ``path``, 255 for ignored pixels.

        Raises:
            InputError: The annotations are damaged, or of another size than the image and ``any_size`` is not set.
        """
        name = self.items[path]
        try:
            ids: Ids = self.reader.read(name, image_size(path, max_pixels))
        except InputError:
            if not self.any_size:
                raise
            # Readers refuse another size. What else is wrong is said again.
            ids = self.reader.read(name)
        return ids

    def describe(self) -> str:
        """What decides about the labels, besides the images; of a reader of one's own nothing is known."""
        describe = getattr(self.reader, "describe", None)
        reader = repr(self.reader) if describe is None else describe()
        return repr((reader, sorted((path.name, name) for path, name in self.items.items()), self.any_size))

    def size(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
        """(height, width) of the image; with ``any_size`` that of its annotations, which are read for it."""
        if not self.any_size:
            return image_size(path, max_pixels)
        height, width = self(path, max_pixels).shape
        return height, width


def match_items(reader: AnnotationReader, images: Mapping[str, Path], dataset: str) -> dict[Path, str]:
    """Image files -> names in the annotations; images without annotations are left out.

    Names are compared as paths below the image folder, then by their last part, where that is unique on both sides.
    The ending ``_leftImg8bit`` of Cityscapes' images is left out, where the names would not fit otherwise.

    Args:
        reader: The annotations.
        images: Name of each image -> its file.
        dataset: Name for messages.

    Raises:
        InputError: No image has annotations.
    """
    items = set(reader.items())
    matched = _match(items, images) or _match(
        items, {name.removesuffix("_leftImg8bit"): path for name, path in images.items()}
    )
    if not matched:
        examples = f"'{next(iter(images))}' and '{next(iter(sorted(items)), '')}'"
        raise InputError(
            f"{dataset}: none of its {len(images)} images is named in the annotations ({len(items)} images): "
            f"names are compared without suffix, such as {examples}."
        )
    return matched


def _match(items: Set[str], images: Mapping[str, Path]) -> dict[Path, str]:
    matched = {path: name for name, path in images.items() if name in items}
    if matched:
        return matched
    by_base = _unique_base_names(items)
    by_image = _unique_base_names(images, images)
    return {path: by_base[base] for base, path in by_image.items() if base in by_base}


def _unique_base_names(names: Any, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Last part of each path -> its value (by default the path itself), where no other path has that last part."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition("/")[2], []).append(name)
    return {
        base: values[paths[0]] if values else paths[0] for base, paths in found.items() if len(paths) == 1
    }
