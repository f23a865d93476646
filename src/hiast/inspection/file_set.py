"""One part of a scenario's data, such as the target's validation images, and what its files add up to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hiast.classes import LabelSpace, map_classes
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.listing import Listing, SizeMismatch, Split
from hiast.errors import InputError
from hiast.inspection.codings import Palettes, id_colors
from hiast.inspection.deep_images import DeepImages
from hiast.inspection.scan import FileFacts, PairFacts
from hiast.inspection.values import ValueTable

Domain = Literal["source", "target"]


@dataclass(frozen=True)
class Part:
    """Files that are used in one role.

    Attributes:
        title: Title for people, such as "source train: GTA5".
        domain: Side of the adaptation.
        split: Role of the files.
        listing: The files; labels only where training or validation reads them.
        labeled: Whether labels are read.
        classes: The scenario's classes.
        ids: Raw id -> class index of the scenario.
        size_mismatch: What training does with a label of another size than its image.
        max_pixels: Training refuses larger pictures.
    """

    title: str
    domain: Domain
    split: Split
    listing: Listing
    labeled: bool
    classes: LabelSpace
    ids: Mapping[int, int]
    size_mismatch: SizeMismatch
    max_pixels: int


def find_part(module: DatasetDataModule, domain: Domain, split: Split) -> Part:
    """The files of a datamodule that a run uses in one role; frames of videos are extracted first.

    Raises:
        InputError: Files are missing altogether, or the classes do not fit together.
    """
    labeled = domain == "source" or split == "val"
    module.prepare_data()
    listing = module.files(split, labeled=labeled, incomplete=True)
    try:
        ids = map_classes(listing.ids, listing.classes, module.classes, module.class_map)
    except ValueError as error:
        raise InputError(f"{listing.name}: {error}") from error
    role = f"{domain} {split}"
    return Part(
        title=role if listing.name in (role, split) else f"{role}: {listing.name}",
        domain=domain,
        split=split,
        listing=listing,
        labeled=labeled,
        classes=module.classes,
        ids=ids,
        size_mismatch=module.size_mismatch or listing.size_mismatch,
        max_pixels=module.max_pixels,
    )


@dataclass
class Summary:
    """What the files of a part add up to.

    Attributes:
        images: Number of images.
        bytes: Size of images and labels together.
        sizes: (height, width) of the images -> how many.
        unreadable: Files that training cannot read.
        without_label: Images that should have a label and have none.
        mismatches: Pairs whose image and label differ in size.
        nothing_known: Labels without a single pixel of a class.
        class_pixels: int64 [C].
        class_images: int64 [C], images that hold a class.
        void_pixels: Pixels with ids that are known to mean no class, or whose class the scenario ignores.
        unknown: Raw ids that the table does not name -> pixels.
        colors: Colors that the color table does not name -> pixels.
        digests: Content of images -> files that have it.
        raw: Raw ids -> pixels, of all labels.
        deep: Images of more than 8 bits.
        found: Every id or color in the labels.
        palettes: Palettes of labels that are read by their indices.
        gray_labels: Labels of ids where the color table expects colors.
    """

    images: int
    class_pixels: NDArray[np.int64]
    class_images: NDArray[np.int64]
    bytes: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    unreadable: list[FileFacts] = field(default_factory=list)
    without_label: list[Path] = field(default_factory=list)
    mismatches: list[PairFacts] = field(default_factory=list)
    nothing_known: list[Path] = field(default_factory=list)
    void_pixels: int = 0
    unknown: Counter[int] = field(default_factory=Counter)
    colors: Counter[str] = field(default_factory=Counter)
    digests: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    raw: Counter[int] = field(default_factory=Counter)
    deep: DeepImages = field(default_factory=DeepImages)
    found: ValueTable = field(default_factory=ValueTable)
    palettes: Palettes = field(default_factory=Palettes)
    gray_labels: list[Path] = field(default_factory=list)

    @property
    def copies(self) -> list[list[Path]]:
        """Groups of images of the same content."""
        return [paths for paths in self.digests.values() if len(paths) > 1]


def summarize(part: Part, facts: Iterable[PairFacts]) -> Summary:
    """Add the facts of all files up."""
    count = len(part.classes)
    summary = Summary(len(part.listing.pairs), np.zeros(count, np.int64), np.zeros(count, np.int64))
    for fact in facts:
        _add_image(summary, fact.image)
        if fact.label is not None:
            _add_label(summary, part, fact, fact.label)
        elif part.labeled:
            summary.without_label.append(fact.image.path)
    return summary


def _add_image(summary: Summary, image: FileFacts) -> None:
    summary.bytes += image.bytes
    if image.error is not None:
        summary.unreadable.append(image)
    if image.size is not None:
        summary.sizes[image.size] += 1
    if image.digest is not None:
        summary.digests[image.digest].append(image.path)
    if image.deep is not None:
        summary.deep.add(image.path, image.deep)


def _add_label(summary: Summary, part: Part, fact: PairFacts, label: FileFacts) -> None:
    summary.bytes += label.bytes
    if fact.found and (not summary.found.values or summary.found.colors == fact.of_colors):
        summary.found.colors = fact.of_colors
        summary.found.add(fact.image.path, fact.found)
    if label.error is not None:
        summary.unreadable.append(label)
        return
    if fact.image.size not in (None, label.size):
        summary.mismatches.append(fact)
    summary.palettes.add(label.path, fact.palette)
    if fact.of_colors and id_colors(fact.found) & fact.colors.keys():
        summary.gray_labels.append(label.path)
    summary.colors.update(fact.colors)
    summary.raw.update(fact.ids)
    present = set()
    for raw, pixels in fact.ids.items():
        if raw in part.ids:
            summary.class_pixels[part.ids[raw]] += pixels
            present.add(part.ids[raw])
        elif raw in part.listing.void or raw in part.listing.ids:
            summary.void_pixels += pixels
        else:
            summary.unknown[raw] += pixels
    summary.class_images[sorted(present)] += 1
    if not present:
        summary.nothing_known.append(label.path)
