"""Any dataset from config: where images and labels lie, and what the ids or colors in the labels mean."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiast.classes import CITYSCAPES_19, IGNORED, Color, LabelSpace
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.images import ColorIds, Decode, read_first_channel, read_ids
from hiast.data.io.listing import Listing, SizeMismatch, Split, make_pairs
from hiast.errors import InputError


def list_folder(
    root: Path | str,
    images: str,
    labels: str | None,
    classes: LabelSpace,
    *,
    ids: Mapping[int, str | None] | None = None,
    label_colors: Mapping[str, str | None] | None = None,
    first_channel: bool = False,
    size_mismatch: SizeMismatch = "error",
    name: str = "folder",
) -> Listing:
    """List a dataset by patterns.

    Args:
        root: Folder that the patterns are relative to.
        images: Pattern of the images, PNG or JPEG: "rgb/{name}.jpg", "**/camera/*.png".
        labels: Pattern of the labels, PNG; None: there are no labels. Paired as ``paths.pair_files`` says.
        classes: The dataset's own classes.
        ids: Raw id -> class name, or None to ignore the id. By default id 0 is the first class, and so on.
        label_colors: For labels that hold colors: "red,green,blue" or "#rrggbb" -> class name, or None.
        first_channel: Ids are in the first (red) channel of labels with several channels.
        size_mismatch: What to do with a pair whose image and label differ in size.
        name: For messages.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or a table does not make sense.
    """
    if label_colors is not None and (ids is not None or first_channel):
        raise InputError(f"{name}: labels hold colors (label_colors) or ids (ids, first_channel), not both.")
    decode: Decode = read_first_channel if first_channel else read_ids
    named: Mapping[int, str | None] = dict(enumerate(classes.names)) if ids is None else ids
    texts = {raw: f"id {raw}" for raw in named}
    if label_colors is not None:
        table = {parse_color(color): position for position, color in enumerate(label_colors)}
        decode = ColorIds(table)
        named = {table[parse_color(color)]: label_colors[color] for color in label_colors}
        texts = {table[parse_color(color)]: f"the color '{color}'" for color in label_colors}
    for raw, class_name in named.items():
        _check_entry(raw, class_name, texts[raw], classes, name)
    pairs, orphans = make_pairs(Path(root), images, labels, name)
    return Listing(
        name=name,
        pairs=pairs,
        ids=_indices(named, classes),
        classes=classes,
        decode=decode,
        size_mismatch=size_mismatch,
        void=frozenset({IGNORED, *(raw for raw, class_name in named.items() if class_name is None)}),
        orphans=orphans,
    )


def _check_entry(raw: object, class_name: str | None, text: str, classes: LabelSpace, name: str) -> None:
    """Refuse an entry of an id or color table that makes no sense."""
    if not isinstance(raw, int) or not 0 <= raw <= 65535:
        raise InputError(f"{name}: the id '{raw}' is no whole number from 0 to 65535.")
    if class_name is not None and class_name not in classes.names:
        raise InputError(
            f"{name}: {text} stands for '{class_name}', which is none of its classes: {', '.join(classes.names)}."
        )


def _indices(ids: Mapping[int, str | None], classes: LabelSpace) -> dict[int, int]:
    return {raw: classes.names.index(class_name) for raw, class_name in ids.items() if class_name is not None}


def parse_color(text: str) -> Color:
    """(red, green, blue) of "red,green,blue" (0..255) or "#rrggbb".

    Raises:
        InputError: It is neither.
    """
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    parts = re.fullmatch(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*", text)
    color = tuple(int(part) for part in parts.groups()) if parts else ()
    if len(color) != 3 or max(color) > 255:
        raise InputError(
            f"'{text}' is no color: write 'red,green,blue' with numbers up to 255, or '#rrggbb'."
        )
    return color[0], color[1], color[2]


def label_space(names: Sequence[str], colors: Mapping[str, str] | None = None) -> LabelSpace:
    """Classes of an own dataset.

    Args:
        names: In the order of their indices.
        colors: Class name -> "red,green,blue" or "#rrggbb". A class without one gets that of the Cityscapes
            class of the same name, or one from around the color circle.

    Raises:
        InputError: Names are not usable, or a color is given to a class that does not exist.
    """
    given = dict(zip(CITYSCAPES_19.names, CITYSCAPES_19.colors, strict=True))
    for name, color in (colors or {}).items():
        if name not in names:
            raise InputError(f"A color is given to '{name}', which is no class: {', '.join(names)}.")
        given[name] = parse_color(color)
    try:
        return LabelSpace(tuple(names), tuple(given.get(name, _hue(i)) for i, name in enumerate(names)))
    except ValueError as error:
        raise InputError(str(error)) from error


def _hue(index: int) -> Color:
    # Steps of the golden ratio spread any number of hues evenly.
    red, green, blue = colorsys.hsv_to_rgb(index * 0.6180339887 % 1, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


class FolderDataModule(DatasetDataModule):
    """Any dataset from config.

    Args:
        data_root: Folder that the patterns are relative to.
        images: Pattern of the training images, see ``list_folder``.
        labels: Pattern of their labels; None: they have none.
        names: Class names; None: those of the scenario.
        ids: Raw id -> class name (or None to ignore it); None: id 0 is the first class, and so on.
        label_colors: For labels that hold colors: "red,green,blue" or "#rrggbb" -> class name.
        first_channel: Ids are in the first channel of labels with several channels.
        colors: Class name -> color, for pictures.
        val_images: Pattern of the validation images; None: see ``val_fraction`` and ``val_list``.
        val_labels: Pattern of their labels.
        name: For messages.
        classes: The scenario's classes; None: the dataset's own.
        class_map: The dataset's class name -> the scenario's, or None to ignore it.
        **options: As ``DatasetDataModule``.

    Raises:
        InputError: Names are missing or do not make sense, or ``val_labels`` is given alone.
    """

    reads_only = True

    def __init__(
        self,
        data_root: Path | str,
        images: str,
        labels: str | None = None,
        *,
        names: Sequence[str] | None = None,
        ids: Mapping[int, str | None] | None = None,
        label_colors: Mapping[str, str | None] | None = None,
        first_channel: bool = False,
        colors: Mapping[str, str] | None = None,
        val_images: str | None = None,
        val_labels: str | None = None,
        name: str = "folder",
        classes: LabelSpace | None = None,
        class_map: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> None:
        if val_labels is not None and val_images is None:
            raise InputError(f"{name}: val_labels is given without val_images; give both, or use val_list.")
        own = classes if names is None else label_space(names, colors)
        if own is None:
            raise InputError(f"{name}: give the names of its classes.")
        self.own_classes = own
        self.one_split = val_images is None
        self.patterns: dict[Split, tuple[str, str | None]] = {
            "train": (images, labels),
            "val": (val_images or images, val_labels if val_images else labels),
        }
        self.title = name
        self.ids = None if ids is None else dict(ids)
        self.label_colors = None if label_colors is None else dict(label_colors)
        self.first_channel = first_channel
        super().__init__(data_root, classes, class_map, **options)

    @property
    def own_classes_present(self) -> frozenset[str]:
        """The classes that the id or color table names."""
        table = self.ids if self.label_colors is None else self.label_colors
        if table is None:
            return frozenset(self.own_classes.names)
        return frozenset(name for name in table.values() if name is not None)

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        images, labels = self.patterns[split]
        if labeled and labels is None:
            raise InputError(
                f"{self.title}: the {split} images have no labels; give the pattern of the labels."
            )
        return list_folder(
            self.data_root,
            images,
            labels if labeled else None,
            self.own_classes,
            ids=self.ids,
            label_colors=self.label_colors,
            first_channel=self.first_channel,
            name=f"{self.title} {split}",
        )
