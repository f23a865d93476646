"""Any dataset from config: where images and labels lie, and what the ids or colours in the labels mean."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hiast.classes import CITYSCAPES_19, IGNORED, Colour, LabelSpace
from hiast.data.decode import ColourIds, Decode, read_first_channel, read_ids
from hiast.data.listing import Listing, SizeMismatch, make_pairs
from hiast.errors import InputError


def listing(
    root: Path | str,
    images: str,
    labels: str | None,
    classes: LabelSpace,
    *,
    ids: Mapping[int, str | None] | None = None,
    label_colours: Mapping[str, str | None] | None = None,
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
        label_colours: For labels that hold colours: "red,green,blue" or "#rrggbb" -> class name, or None.
        first_channel: Ids are in the first (red) channel of labels with several channels.
        size_mismatch: What to do with a pair whose image and label differ in size.
        name: For messages.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or a table does not make sense.
    """
    if label_colours is not None and (ids is not None or first_channel):
        raise InputError(
            f"{name}: labels hold colours (label_colours) or ids (ids, first_channel), not both."
        )
    decode: Decode = read_first_channel if first_channel else read_ids
    named: Mapping[int, str | None] = dict(enumerate(classes.names)) if ids is None else ids
    texts = {raw: f"id {raw}" for raw in named}
    if label_colours is not None:
        table = {parse_colour(colour): position for position, colour in enumerate(label_colours)}
        decode = ColourIds(table)
        named = {table[parse_colour(colour)]: label_colours[colour] for colour in label_colours}
        texts = {table[parse_colour(colour)]: f"the colour '{colour}'" for colour in label_colours}
    for raw, class_name in named.items():
        _check_entry(raw, class_name, texts[raw], classes, name)
    pairs, orphans = make_pairs(Path(root), images, labels, name)
    return Listing(
        *(name, pairs, _indices(named, classes), classes, decode, size_mismatch),
        void=frozenset({IGNORED, *(raw for raw, class_name in named.items() if class_name is None)}),
        orphans=orphans,
    )


def _check_entry(raw: object, class_name: str | None, text: str, classes: LabelSpace, name: str) -> None:
    """Refuse an entry of an id or colour table that makes no sense."""
    if not isinstance(raw, int) or not 0 <= raw <= 65535:
        raise InputError(f"{name}: the id '{raw}' is no whole number from 0 to 65535.")
    if class_name is not None and class_name not in classes.names:
        raise InputError(
            f"{name}: {text} stands for '{class_name}', which is none of its classes: {', '.join(classes.names)}."
        )


def _indices(ids: Mapping[int, str | None], classes: LabelSpace) -> dict[int, int]:
    return {raw: classes.names.index(class_name) for raw, class_name in ids.items() if class_name is not None}


def parse_colour(text: str) -> Colour:
    """(red, green, blue) of "red,green,blue" (0..255) or "#rrggbb".

    Raises:
        InputError: It is neither.
    """
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    parts = re.fullmatch(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*", text)
    colour = tuple(int(part) for part in parts.groups()) if parts else ()
    if len(colour) != 3 or max(colour) > 255:
        raise InputError(
            f"'{text}' is no colour: write 'red,green,blue' with numbers up to 255, or '#rrggbb'."
        )
    return colour[0], colour[1], colour[2]


def label_space(names: Sequence[str], colours: Mapping[str, str] | None = None) -> LabelSpace:
    """Classes of an own dataset.

    Args:
        names: In the order of their indices.
        colours: Class name -> "red,green,blue" or "#rrggbb". A class without one gets that of the Cityscapes
            class of the same name, or one from around the colour circle.

    Raises:
        InputError: Names are not usable, or a colour is given to a class that does not exist.
    """
    given = dict(zip(CITYSCAPES_19.names, CITYSCAPES_19.colours, strict=True))
    for name, colour in (colours or {}).items():
        if name not in names:
            raise InputError(f"A colour is given to '{name}', which is no class: {', '.join(names)}.")
        given[name] = parse_colour(colour)
    try:
        return LabelSpace(tuple(names), tuple(given.get(name, _hue(i)) for i, name in enumerate(names)))
    except ValueError as error:
        raise InputError(str(error)) from error


def _hue(index: int) -> Colour:
    # Steps of the golden ratio spread any number of hues evenly.
    red, green, blue = colorsys.hsv_to_rgb(index * 0.6180339887 % 1, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
