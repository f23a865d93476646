"""What a dataset module produces: which files belong together, and what the ids in the label files mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from hiast.classes import LabelSpace
from hiast.data.io.images import Decode
from hiast.data.io.patterns import find_files, pair_files
from hiast.errors import InputError

Split = Literal["train", "val"]
SizeMismatch = Literal["error", "resize", "skip"]
"""What to do with a pair whose image and label differ in size: stop, resize the label by nearest neighbor
when it is read, or drop the pair from the dataset."""


@dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
        name: Unique: the image's path below the dataset's image folder, with "/", without suffix.
        image: Image file.
        label: Label file, or None.
    """

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Listing:
    """The files of one split of a dataset, ordered by name.

    Attributes:
        name: Of dataset and split, for messages.
        pairs: At least one; names differ.
        ids: Raw id in the label files -> index in ``classes``; ids that are not named are ignored.
        classes: The dataset's own classes.
        decode: Reads raw ids from a label file.
        size_mismatch: What to do by default with a pair whose image and label differ in size.
        absent: Names of own classes that have an id but that no image contains.
        void: Raw ids that are known to stand for no class.
        orphans: Label files that belong to no image.

    Raises:
        InputError: There is no pair, or two of the same name.
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

    def without(self, names: Collection[str]) -> Listing:
        """The listing less some names.

        Raises:
            InputError: Nothing is left.
        """
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair.name not in names))

    def keep(self, list_file: Path | str) -> Listing:
        """The images that a text file names, one per line, with or without suffix; # starts a comment line.

        Raises:
            InputError: The file cannot be read, names nothing, or names an image that does not exist.
        """
        path = Path(list_file)
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The list file {path} cannot be read: {error}.") from error
        known = {pair.name: pair for pair in self.pairs}
        known |= {pair.name + pair.image.suffix: pair for pair in self.pairs}
        wanted = {}
        for line in lines:
            if line and not line.startswith("#"):
                if line not in known:
                    raise InputError(f"{path} names '{line}', which {self.name} does not hold.")
                wanted[known[line].name] = known[line]
        if not wanted:
            raise InputError(f"{path} names no image; write one name per line.")
        return replace(self, pairs=tuple(wanted[name] for name in sorted(wanted)))

    def hold_out(self, fraction: float, seed: int, split: Split) -> Listing:
        """One side of a seeded division into training and validation images.

        Args:
            fraction: Share of the images for validation, rounded, at least one; between 0 and 1.
            seed: Of the division.
            split: The side wanted.

        Raises:
            InputError: The fraction is out of range or leaves a side empty.
        """
        count = max(1, round(fraction * len(self.pairs)))
        if not 0 < fraction < 1 or count >= len(self.pairs):
            raise InputError(
                f"val_fraction {fraction} does not divide {self.name} ({len(self.pairs)} images)."
            )
        held = set(np.random.default_rng(seed).permutation(len(self.pairs))[:count].tolist())
        pairs = tuple(pair for i, pair in enumerate(self.pairs) if (i in held) == (split == "val"))
        return replace(self, name=f"{self.name} {split}", pairs=pairs)


class MissingLabelsError(InputError):
    """Labels are wanted and some images have none.

    Attributes:
        pairs: All images, with the labels that there are.
        orphans: Label files that belong to no image.
    """

    def __init__(self, message: str, pairs: tuple[Pair, ...], orphans: tuple[Path, ...]) -> None:
        super().__init__(message)
        self.pairs = pairs
        self.orphans = orphans


def make_pairs(
    root: Path, images: str, labels: str | None, dataset: str
) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """Find images and, if a pattern is given, their labels.

    Args:
        root: Folder that both patterns are relative to.
        images: Pattern of the images (see ``hiast.data.io.patterns.Pattern``).
        labels: Pattern of the labels; None leaves every image without label, and no label file is looked at.
        dataset: Name for messages.

    Returns:
        The pairs, and the label files that belong to no image.

    Raises:
        InputError: A folder is missing or empty, or the patterns do not fit together.
        MissingLabelsError: An image has no label.
    """
    found = find_files(root, images, f"images of {dataset}")
    if labels is None:
        return tuple(Pair(file.name, file.path, None) for file in found), ()
    label_files = find_files(root, labels, f"labels of {dataset}")
    paths, orphans = pair_files(found, label_files, images, labels)
    pairs = tuple(Pair(file.name, file.path, label) for file, label in zip(found, paths, strict=True))
    missing = [pair.image for pair in pairs if pair.label is None]
    if missing:
        raise MissingLabelsError(
            f"{len(missing)} of {len(pairs)} images have no label, such as {missing[0]}: add a file that "
            f"matches '{labels}', or name the images to use in a list file.",
            pairs,
            tuple(orphans),
        )
    return pairs, tuple(orphans)
