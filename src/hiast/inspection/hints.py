"""Likely causes of what looks wrong in the values of images and labels, with the key of the dataset file that helps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hiast.classes import IGNORED
from hiast.counted import counted
from hiast.data.io.label_colors import ColorIds
from hiast.data.io.labels import MINUS_ONE
from hiast.inspection.codings import id_colors
from hiast.inspection.deep_images import DeepImages
from hiast.inspection.file_set import Part, Summary

Severity = Literal["error", "warning", "note"]
"""error: training would fail. warning: it runs, probably not as wanted. note: worth knowing."""

_FEW_LEVELS = 64
"""A quarter of the gray levels, or less, is a small part of the range of 16 bits."""
_USUAL_IGNORE = {MINUS_ONE: "-1, or 65535", 254: "254", IGNORED: "255"}


@dataclass(frozen=True)
class Hint:
    """A likely cause.

    Attributes:
        severity: How bad it is.
        text: A sentence or two.
        details: One line each.
    """

    severity: Severity
    text: str
    details: tuple[str, ...] = ()


def find_hints(part: Part, summary: Summary) -> Iterator[Hint]:
    """Likely causes of what looks wrong in one part."""
    for look in (
        _unseen_images,
        _strays,
        _value_range,
        _palettes,
        _gray_labels,
        _one_class,
        _usual_ignore,
        _multiples,
    ):
        hint = look(part, summary)
        if hint is not None:
            yield hint


def _unseen_images(part: Part, summary: Summary) -> Hint | None:
    unseen = part.listing.unseen
    if not unseen:
        return None
    suffixes = ", ".join(sorted({path.suffix for path in unseen}))
    text = (
        f"{len(unseen)} more images ({suffixes}) lie beside the {summary.images} that the pattern matches, and are not "
        "used: add their suffix to the pattern, such as {name}.{jpg,png}, or move them away."
    )
    return Hint("warning", text, tuple(map(str, unseen)))


def _strays(part: Part, summary: Summary) -> Hint | None:
    unseen = set(part.listing.unseen)
    strays = [path for path in part.listing.beside if path not in unseen]
    if not strays:
        return None
    return Hint("note", f"{len(strays)} other files beside the images are not used.", tuple(map(str, strays)))


def _value_range(part: Part, summary: Summary) -> Hint | None:
    """Values of more than 8 bits: those that need a range, and those that the range does not fit."""
    deep = summary.deep
    if part.listing.images.value_range is not None:
        return _unfit_range(part.listing.images.value_range, deep)
    if not deep.refused:
        return _few_levels(deep)
    conflict = deep.conflict()
    if conflict is not None:
        return Hint("error", conflict)
    wanted = deep.wanted_range()
    advice = "set value_range in the dataset file to the camera's range"
    if wanted is not None:
        low, high = wanted
        advice = (
            f"all values lie between {low:g} and {high:g}: set value_range: [{low:g}, {high:g}] in the dataset file, "
            "or the camera's range"
        )
    which = f"{counted(deep.refused, 'image')} would be black, or hold values that are not 8 bits"
    return Hint("error", f"{which}; {advice}.")


def _unfit_range(value_range: tuple[float, float], deep: DeepImages) -> Hint | None:
    """A range that leaves nothing of images, or that nothing needs."""
    low, high = value_range
    if not deep.images:
        text = f"value_range: [{low:g}, {high:g}] has no effect: no image here has more than 8 bits."
        return Hint("note", text)
    if not deep.flat:
        return None
    text = (
        f"value_range: [{low:g}, {high:g}] makes almost one gray value of {len(deep.flat):,} of "
        f"{counted(deep.images, 'image')} of more than 8 bits, which hold {'; '.join(map(str, deep.types.values()))}."
    )
    return Hint("error" if 2 * len(deep.flat) > deep.images else "warning", text, tuple(map(str, deep.flat)))


def _few_levels(deep: DeepImages) -> Hint | None:
    """16 bits of which the upper eight hold little, such as thermal images."""
    for found in deep.types.values():
        low, high = found.low, found.high
        levels = (int(high) >> found.bits - 8) - (int(low) >> found.bits - 8) + 1
        if levels <= _FEW_LEVELS and low < high:
            text = (
                f"{counted(found.images, 'image')} of 16 bits use the values from {low:g} to {high:g} only, of which "
                f"{levels} of 256 gray levels are left: set value_range: [{low:g}, {high:g}] in the dataset file, or "
                "the range of the camera."
            )
            return Hint("warning", text)
    return None


def _palettes(part: Part, summary: Summary) -> Hint | None:
    """Palettes that were sorted anew for each file."""
    permuted = summary.palettes.permuted()
    if permuted is None:
        return None
    text = (
        f"Labels are read by the indices of their palettes, and palettes differ from file to file: {permuted}. If "
        "colors stand for the classes, name them by label_colors in place of ids in the dataset file."
    )
    return Hint("warning", text)


def _gray_labels(part: Part, summary: Summary) -> Hint | None:
    """Ids beside colors, of which the color table knows nothing."""
    labels, table = summary.gray_labels, part.listing.decode
    if not labels or not isinstance(table, ColorIds):
        return None
    if any(id_colors([color]) for color in table.named(part.listing.ids)):
        return None  # Grays next to black are colors of classes here.
    text = (
        f"{counted(len(labels), 'label')} of {summary.images:,} hold ids as gray values where label_colors expects "
        "colors; their pixels are ignored. Save all labels in one coding."
    )
    return Hint("error", text, tuple(map(str, labels)))


def _one_class(part: Part, summary: Summary) -> Hint | None:
    """Masks of 0 and 255 without ids: everything is one class, and the other one is ignored."""
    present = [part.classes.names[index] for index in summary.class_pixels.nonzero()[0]]
    lost = {raw: pixels for raw, pixels in summary.raw.items() if raw in part.listing.assumed}
    if len(part.classes) < 2 or len(present) != 1 or not lost or isinstance(part.listing.decode, ColorIds):
        return None
    used = next(raw for raw in summary.raw if raw in part.ids)
    missing = [name for name in part.listing.classes.names if name not in present]
    raw, pixels = max(lost.items(), key=lambda item: item[1])
    share = 100 * pixels / sum(summary.raw.values())
    text = (
        f"Every pixel is of class {present[0]} or ignored; there is no pixel of {', '.join(missing)}. {share:.2f} % of "
        f"the pixels hold {raw}, which is ignored unless it is named: it probably stands for {missing[0]}. Write "
        f"ids: {{{used}: {present[0]}, {raw}: {missing[0]}}} in the dataset file, or {raw}: null to ignore it."
    )
    return Hint("error", text)


def _usual_ignore(part: Part, summary: Summary) -> Hint | None:
    """Unknown ids that usually mark pixels to ignore."""
    if isinstance(part.listing.decode, ColorIds):
        return None
    found = [raw for raw in sorted(summary.unknown) if raw in _USUAL_IGNORE]
    if not found:
        return None
    values = " and ".join(_USUAL_IGNORE[raw] for raw in found)
    entries = ", ".join(f"{raw}: null" for raw in found)
    text = f"The value {values} usually marks pixels to ignore: if so here, add {entries} to ids."
    return Hint("note", text)


def _multiples(part: Part, summary: Summary) -> Hint | None:
    """Ids that were multiplied by a number to make them visible."""
    if isinstance(part.listing.decode, ColorIds) or not summary.unknown:
        return None
    used = [raw for raw in summary.raw if raw not in (0, MINUS_ONE)]
    factor = math.gcd(*used) if used else 1
    if factor == 1 or len(used) < 2 or max(used) // factor >= len(part.listing.classes):
        return None
    if set(part.listing.ids) != set(range(len(part.listing.classes))):
        return None
    text = f"All ids are multiples of {factor}: if they were multiplied to make them visible, set id_factor: {factor}."
    return Hint("warning", text)
