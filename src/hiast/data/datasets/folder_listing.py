"""Listing a folder of images and its labels by patterns."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

from hiast.classes import IGNORED, LabelSpace
from hiast.data.datasets.label_tables import LabelCoding, LabelTable
from hiast.data.io.images import ImageReader
from hiast.data.io.label_colors import UNKNOWN_COLOR, ColorIds
from hiast.data.io.label_groups import AnnotationLabels, JoinedLabels, Mask, match_items
from hiast.data.io.labels import Decode
from hiast.data.io.listing import Listing, Pair, SizeMismatch
from hiast.data.io.pairing import Files, check_labeled, list_files, only_labels
from hiast.data.io.patterns import Found, Pattern
from hiast.errors import InputError
from hiast.formats import AnnotationReader

log = logging.getLogger(__name__)

Unlabeled = Literal["error", "skip"]
"""What to do with images that have no label where labels are needed: stop, or leave them out."""


def list_folder(
    root: Path | str,
    images: str,
    labels: str | None,
    classes: LabelSpace,
    *,
    coding: LabelCoding | None = None,
    reader: ImageReader | None = None,
    size_mismatch: SizeMismatch = "error",
    unlabeled: Unlabeled = "error",
    join_labels: bool = False,
    annotations: AnnotationReader | None = None,
    name: str = "folder",
) -> Listing:
    """List a dataset by patterns.

    Args:
        root: Folder that the patterns are relative to.
        images: Pattern of the images, see ``patterns.Pattern``: "rgb/{name}.{jpg,png}", "**/camera/*.png".
        labels: Pattern of the labels; None: there are no labels. Paired as ``patterns.group_labels`` says.
        classes: The dataset's own classes.
        coding: How label files are coded; None: id 0 is the first class, and so on, as it is for annotations.
        reader: Reads the images; None: without settings.
        size_mismatch: What to do with a pair whose image and label differ in size.
        unlabeled: What to do with images that have no label.
        join_labels: Several label files of one image are laid over each other, see ``label_groups.JoinedLabels``. A
            field ``{class}`` in the pattern of the labels names the class of a mask.
        annotations: Labels of another program; ``labels`` is None then.
        name: Name for messages.

    Raises:
        InputError: A folder is missing or empty, or a table does not make sense.
        MissingLabelsError: An image has no label, and ``unlabeled`` is "error".
    """
    coded = LabelCoding() if coding is None or annotations is not None else coding
    table = coded.table(classes, name)
    files = list_files(Path(root), images, labels, name)
    pairs, decode = _pair(files, labels, classes, table, join_labels, annotations, name)
    if isinstance(decode, AnnotationLabels):
        decode = replace(decode, any_size=size_mismatch != "error")
    if labels is not None or annotations is not None:
        if unlabeled == "skip":
            pairs = _labeled(pairs, name)
        check_labeled(pairs, files.orphans, labels, decode)
    return Listing(
        name=name,
        pairs=pairs,
        ids=table.indices(classes),
        classes=classes,
        decode=decode,
        size_mismatch=size_mismatch,
        void=table.void,
        orphans=files.orphans,
        images=reader or ImageReader(),
        beside=files.beside,
        assumed=table.assumed,
    )


def _pair(
    files: Files,
    labels: str | None,
    classes: LabelSpace,
    table: LabelTable,
    join_labels: bool,
    annotations: AnnotationReader | None,
    name: str,
) -> tuple[tuple[Pair, ...], Decode]:
    """The pairs, labeled or not, and the reader of their labels."""
    decode = table.decode
    if annotations is not None:
        matched = match_items(annotations, {file.name: file.path for file in files.images}, name)
        decode = AnnotationLabels(annotations, matched)
        paths = [file.path if file.path in matched else None for file in files.images]
    elif labels is None:
        paths = [None] * len(files.images)
    elif join_labels:
        masks = [tuple(_mask(file, classes, table, name) for file in group) for group in files.labels]
        background: int | None = table.background
        if "class" in Pattern(labels).fields:
            background = table.raw_id("background")
        if background is None:
            background = UNKNOWN_COLOR if isinstance(decode, ColorIds) else IGNORED
        groups = {group[0].path: group for group in masks if group}
        decode = JoinedLabels(decode, groups, background, table.uncovered)
        paths = [group[0].path if group else None for group in masks]
    else:
        paths = only_labels(files.labels, labels)
    pairs = (Pair(file.name, file.path, path) for file, path in zip(files.images, paths, strict=True))
    return tuple(pairs), decode


def _mask(file: Found, classes: LabelSpace, table: LabelTable, name: str) -> Mask:
    fields = file.match.groupdict()
    if "class" not in fields:
        return Mask(file.path)
    raw = table.raw_id(fields["class"])
    if raw is None:
        raise InputError(
            f"{name}: {file.path} is a mask of the class '{fields['class']}', which is none of its classes: "
            f"{', '.join(classes.names)}."
        )
    return Mask(file.path, raw)


def _labeled(pairs: tuple[Pair, ...], name: str) -> tuple[Pair, ...]:
    labeled = tuple(pair for pair in pairs if pair.label is not None)
    if len(labeled) < len(pairs):
        log.warning(
            "%s: %d of %d images have no label and are left out.", name, len(pairs) - len(labeled), len(pairs)
        )
    if not labeled:
        raise InputError(
            f"{name}: none of its {len(pairs)} images has a label; check the pattern of the labels."
        )
    return labeled
