"""What a dataset module produces: which files belong together, and what the ids in the label files mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from hiast.classes import LabelSpace
from hiast.data.io.images import PLAIN_IMAGES, ImageReader
from hiast.data.io.labels import Decode
from hiast.data.io.list_files import find_list_file, read_list
from hiast.data.io.patterns import IMAGE_SUFFIXES
from hiast.errors import InputError
from hiast.files import absolute

Split = Literal["train", "val"]
Unreadable = Literal["stop", "skip"]
"""What to do with a file that cannot be read: end with its path, or leave it out."""
SizeMismatch = Literal["error", "resize", "skip"]
"""What to do with a pair whose image and label differ in size: stop, resize the label by nearest neighbor
when it is read, or drop the pair from the dataset."""


@dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
        name: Unique: the image's path below the dataset's image folder, with "/", without suffix.
        image: Image file.
        label: Label file, or None. Where one file holds the labels of many images, or several files those of one
            image, it is the file by which the label reader finds them.

    Examples:
        >>> Pair("trip/1", Path("images/trip/1.jpg"), Path("labels/trip/1.png")).name
        'trip/1'
    """

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Listing:
    """The files of one split of a dataset, ordered by name.

    Attributes:
        name: Name of dataset and split, for messages.
        pairs: One pair or more; names differ.
        ids: Raw id in the label files -> index in ``classes``; ids that are not named are ignored.
        classes: The dataset's own classes.
        decode: Reads raw ids from a label file.
        size_mismatch: What to do by default with a pair whose image and label differ in size.
        absent: Names of own classes that have an id but that no image contains.
        void: Raw ids that are known to stand for no class.
        orphans: Label files that belong to no image.
        images: Reads image files.
        beside: Files in the folders of the images that are not used: foreign files, images of another suffix.
        assumed: Those of ``void`` that the user has not named.

    Raises:
        InputError: There is no pair, or two of the same name.

    Examples:
        >>> from hiast.data import GTA5DataModule
        >>> from hiast.scenes import write_gta5
        >>> _ = write_gta5("data", 2, (64, 128))
        >>> listing = GTA5DataModule("data").listing("train", labeled=True)
        >>> [pair.name for pair in listing.pairs], listing.ids[7]
        (['00001', '00002'], 0)
    """

    name: str
    pairs: tuple[Pair, ...]
    ids: Mapping[int, int]
    classes: LabelSpace
    decode: Decode
    size_mismatch: SizeMismatch = "error"
    absent: frozenset[str] = frozenset()
    void: frozenset[int] = frozenset()
    orphans: tuple[Path, ...] = ()
    images: ImageReader = PLAIN_IMAGES
    beside: tuple[Path, ...] = ()
    assumed: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        # A read-only view of a table cannot be sent to a worker.
        object.__setattr__(self, "ids", dict(self.ids))
        if not self.pairs:
            raise InputError(f"{self.name} holds no images.")
        seen: dict[str, Pair] = {}
        for pair in self.pairs:
            other = seen.setdefault(pair.name, pair)
            if other is not pair:
                raise InputError(f"{other.image} and {pair.image} have the same name: rename one of them.")

    @property
    def labeled(self) -> bool:
        """Whether every image has a label file."""
        return all(pair.label is not None for pair in self.pairs)

    @property
    def unseen(self) -> tuple[Path, ...]:
        """Those of ``beside`` that seem to be images: visible files with an image's suffix."""
        return tuple(
            path
            for path in self.beside
            if path.suffix[1:].lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        )

    def without(self, names: Collection[str]) -> Listing:
        """The listing less some names.

        Raises:
            InputError: Nothing is left.
        """
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair.name not in names))

    def keep(self, list_file: Path | str, folders: Sequence[Path] = ()) -> Listing:
        """The images that a list file names, see ``list_files.read_list``.

        Args:
            list_file: Text file; a relative path is looked for in the current folder, then in ``folders``.
            folders: Further folders, such as the dataset's and that of its YAML file.

        Raises:
            InputError: The file cannot be read, names nothing, or names an image that does not exist.
        """
        path = find_list_file(list_file, folders)
        known = {pair.name: pair for pair in self.pairs}
        known |= {pair.name + pair.image.suffix: pair for pair in self.pairs}
        by_path = {absolute(pair.image): pair for pair in self.pairs}
        wanted = {}
        for line in read_list(path):
            places = (absolute(folder / line) for folder in (path.parent, Path(), *folders))
            pair = known.get(line) or next((by_path[place] for place in places if place in by_path), None)
            if pair is None:
                raise InputError(
                    f"{path} names '{line}', which {self.name} does not hold: write names such as "
                    f"'{self.pairs[0].name}'."
                )
            wanted[pair.name] = pair
        if not wanted:
            raise InputError(f"{path} names no image; write one name per line.")
        return replace(self, pairs=tuple(wanted[name] for name in sorted(wanted)))

    def hold_out(self, fraction: float, seed: int, split: Split) -> Listing:
        """One side of a seeded division into training and validation images.

        Args:
            fraction: Share of the images for validation, rounded, at least one; between 0 and 1.
            seed: Seed of the division.
            split: The side wanted.

        Raises:
            InputError: The fraction is out of range or leaves a side empty.
        """
        count = max(1, round(fraction * len(self.pairs)))
        if not 0 < fraction < 1 or count >= len(self.pairs):
            raise InputError(
                f"{fraction} of {self.name} ({len(self.pairs)} images) cannot be held out for validation: add images, "
                "or change val_fraction of the dataset or, in training, selection.source_fraction (0: none)."
            )
        held = set(np.random.default_rng(seed).permutation(len(self.pairs))[:count].tolist())
        pairs = tuple(pair for i, pair in enumerate(self.pairs) if (i in held) == (split == "val"))
        title = self.name.removesuffix(" train").removesuffix(" val")
        return replace(self, name=f"{title} {split}", pairs=pairs)
