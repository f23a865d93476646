"""Finding the files of a dataset and pairing images with labels by relative path, never by base name alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hiast.data.io.labels import Decode
from hiast.data.io.listing import Pair
from hiast.data.io.patterns import Found, Pattern, describe_files, search_files
from hiast.errors import InputError

log = logging.getLogger(__name__)


class MissingLabelsError(InputError):
    """Raised when labels are required but some images have none.

    Attributes:
        pairs: All images, with the labels that there are.
        orphans: Label files that belong to no image.
        decode: Reads the labels that there are; None: as the dataset's listing without labels says.
    """

    def __init__(
        self, message: str, pairs: tuple[Pair, ...], orphans: tuple[Path, ...], decode: Decode | None = None
    ) -> None:
        super().__init__(message)
        self.pairs = pairs
        self.orphans = orphans
        self.decode = decode


@dataclass(frozen=True)
class Files:
    """What two patterns find.

    Attributes:
        images: Image files, ordered by name.
        labels: The label files of each image: none, one, or several.
        orphans: Label files that belong to no image.
        beside: Files in the folders of the images that match neither pattern.
    """

    images: tuple[Found, ...]
    labels: tuple[tuple[Found, ...], ...]
    orphans: tuple[Path, ...]
    beside: tuple[Path, ...]


def list_files(root: Path, images: str, labels: str | None, dataset: str) -> Files:
    """Find images and, if a pattern is given, their labels. Files beside the images are logged once.

    Args:
        root: Folder that both patterns are relative to.
        images: Pattern of the images (see ``patterns.Pattern``).
        labels: Pattern of the labels; None leaves every image without label, and no label file is looked at.
        dataset: Name for messages.

    Raises:
        InputError: A folder is missing or empty, or the patterns do not fit together.
    """
    search = search_files(root, images, f"images of {dataset}")
    if labels is None:
        _log_beside(dataset, search.beside)
        return Files(search.found, ((),) * len(search.found), (), search.beside)
    label_files = search_files(root, labels, f"labels of {dataset}").found
    groups, orphans = group_labels(search.found, label_files, images, labels)
    known = {file.path for file in label_files}
    beside = tuple(path for path in search.beside if path not in known)
    _log_beside(dataset, beside)
    return Files(search.found, tuple(groups), tuple(orphans), beside)


def make_pairs(
    root: Path, images: str, labels: str | None, dataset: str
) -> tuple[tuple[Pair, ...], tuple[Path, ...]]:
    """Find images and, if a pattern is given, the label of each.

    Args:
        root: As for ``list_files``.
        images: As for ``list_files``.
        labels: As for ``list_files``.
        dataset: As for ``list_files``.

    Returns:
        The pairs, and the label files that belong to no image.

    Raises:
        InputError: As ``list_files``, or an image has several labels.
        MissingLabelsError: An image has no label.
    """
    files = list_files(root, images, labels, dataset)
    if labels is None:
        return tuple(Pair(file.name, file.path, None) for file in files.images), ()
    paths = only_labels(files.labels, labels)
    pairs = tuple(Pair(file.name, file.path, label) for file, label in zip(files.images, paths, strict=True))
    check_labeled(pairs, files.orphans, labels)
    return pairs, files.orphans


def check_labeled(
    pairs: tuple[Pair, ...], orphans: tuple[Path, ...], labels: str | None, decode: Decode | None = None
) -> None:
    """Refuse images without label.

    Args:
        pairs: All images.
        orphans: Label files that belong to no image.
        labels: Pattern of the label files; None: labels are annotations.
        decode: Reads the labels, for the error.

    Raises:
        MissingLabelsError: Says how many there are and what can be done.
    """
    missing = [pair.image for pair in pairs if pair.label is None]
    if missing:
        add = "annotate it" if labels is None else f"add a file that matches '{labels}'"
        raise MissingLabelsError(
            f"{len(missing)} of {len(pairs)} images have no label, such as {missing[0]}: {add}, name the images to use "
            "in a list file (train_list, val_list), or, in a dataset of your own, set unlabeled: skip.",
            pairs,
            orphans,
            decode,
        )


def _log_beside(dataset: str, beside: tuple[Path, ...]) -> None:
    if beside:
        _log_once(
            f"{dataset}: {len(beside)} other files beside the images are not used: {describe_files(beside)}."
        )


@lru_cache(maxsize=256)
def _log_once(text: str) -> None:
    log.info("%s", text)


def group_labels(
    images: Sequence[Found], labels: Sequence[Found], image_pattern: str, label_pattern: str
) -> tuple[list[tuple[Found, ...]], list[Path]]:
    """The labels of each image: those whose fields (or, without fields, wildcards) stand for the same.

    Args:
        images: Found by ``image_pattern``.
        labels: Found by ``label_pattern``.
        image_pattern: For example "images/{name}.jpg" or "**/*.jpg".
        label_pattern: For example "masks/{name}_ids.png" or "**/*.png". Where both patterns have fields in
            common these alone decide; else both have the same wildcards in the same order.

    Returns:
        The labels in the order of the images, and the label files that belong to no image.

    Raises:
        InputError: The patterns do not fit together, or two images share a label.
    """
    image_shape, label_shape = Pattern(image_pattern), Pattern(label_pattern)
    fields = [field for field in image_shape.fields if field in label_shape.fields]
    if not fields and image_shape.wildcards != label_shape.wildcards:
        raise InputError(
            f"The patterns '{image_pattern}' and '{label_pattern}' cannot be paired: write a field such as "
            "{name} in both."
        )

    def key(match: re.Match[str]) -> tuple[str, ...]:
        return tuple(match[field] for field in fields) if fields else match.groups()

    groups: dict[tuple[str, ...], list[Found]] = {}
    for label in labels:
        groups.setdefault(key(label.match), []).append(label)
    owners: dict[tuple[str, ...], Path] = {}
    for image in images:
        other = owners.setdefault(key(image.match), image.path)
        if other != image.path and key(image.match) in groups:
            raise InputError(
                f"{other} and {image.path} would share the label {groups[key(image.match)][0].path}: write a second "
                f"field that distinguishes them in both patterns, '{image_pattern}' and '{label_pattern}'."
            )
    suffix = images[0].path.suffix if images else ""
    if not any(match in groups for match in owners) and image_pattern.endswith("}") and suffix:
        bare = {tuple(text.removesuffix(suffix) for text in match) for match in owners}
        if bare & set(groups):
            raise InputError(
                f"The pattern '{image_pattern}' has no suffix, so its last field stands for '{images[0].path.name}': "
                f"write '{image_pattern}{suffix}'."
            )
    orphans = [label.path for match, group in groups.items() if match not in owners for label in group]
    return [tuple(groups.get(key(image.match), ())) for image in images], orphans


def only_labels(groups: Sequence[tuple[Found, ...]], label_pattern: str) -> list[Path | None]:
    """The one label of each image, None where there is none.

    Raises:
        InputError: An image has several.
    """
    for group in groups:
        if len(group) > 1:
            raise InputError(
                f"{group[0].path} and {group[1].path} are labels of one image: make the pattern '{label_pattern}' more "
                "precise, or set join_labels: true if there is a mask for each object."
            )
    return [group[0].path if group else None for group in groups]
