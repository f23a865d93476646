"""What is wrong with the data, in sentences: what stops a training, and what makes it worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hiast.classes import LabelSpace
from hiast.counted import counted
from hiast.data.io.label_colors import UNKNOWN_COLOR, ColorIds
from hiast.data.io.listing import SizeMismatch, Unreadable
from hiast.inspection.codings import is_small_id
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.hints import Severity as Severity
from hiast.inspection.hints import find_hints
from hiast.inspection.scan import FileFacts
from hiast.inspection.value_rows import as_yaml

Checked = tuple[Part, Summary]

_ADVICE = "make them equal, or set size_mismatch of the dataset to resize or skip"
_MISMATCHES: Mapping[SizeMismatch, tuple[Severity, str]] = {
    "error": ("error", _ADVICE),
    "resize": ("warning", "the label is resized"),
    "skip": ("warning", "the pair is left out"),
}
"""How bad labels of another size are, and what happens or helps."""


@dataclass(frozen=True)
class Finding:
    """One thing to say.

    Attributes:
        severity: How bad it is.
        part: What it is about.
        text: A sentence or two.
        details: One line each, such as files; all of them.
    """

    severity: Severity
    part: str
    text: str
    details: tuple[str, ...] = ()


def of_part(part: Part, summary: Summary, unreadable: Unreadable) -> list[Finding]:
    """Everything about one part.

    Args:
        part: Files.
        summary: What they add up to.
        unreadable: What training does with a file that cannot be read.
    """
    checks: tuple[Callable[[Part, Summary], Finding | None], ...] = (
        _without_label,
        _orphans,
        _mismatches,
        _unknown_ids,
        _nothing_known,
        _copies,
    )
    found = (check(part, summary) for check in checks)
    hints = (
        Finding(hint.severity, part.title, hint.text, hint.details) for hint in find_hints(part, summary)
    )
    return [
        *_unreadable(part, summary, unreadable),
        *(finding for finding in found if finding is not None),
        *hints,
    ]


def of_domains(parts: Sequence[Checked], classes: LabelSpace) -> list[Finding]:
    """What shows only when parts are seen together: classes that a side lacks, images in two parts."""
    found = [*_absent_classes(parts, classes)]
    for number, (part, summary) in enumerate(parts):
        for other, other_summary in parts[number + 1 :]:
            shared = sorted(summary.digests.keys() & other_summary.digests.keys())
            if shared:
                lines = tuple(f"{summary.digests[d][0]} = {other_summary.digests[d][0]}" for d in shared)
                what = f"{counted(len(shared), 'image')} of {part.title} and {other.title} are identical"
                why = ": scores on them mean little" if "val" in (part.split, other.split) else ""
                found.append(Finding("warning", part.title, f"{what}{why}.", lines))
    if not any(part.domain == "target" and part.split == "val" for part, _ in parts):
        text = (
            "There are no labeled target images to validate with: no mIoU is measured, and the checkpoint is "
            "selected without labels."
        )
        found.append(Finding("note", "target", text))
    return found


def of_crops(parts: Sequence[Checked], smallest: Mapping[str, int]) -> list[Finding]:
    """Images that are lower than the smallest window that is cut from them, so that every crop shows too much.

    Args:
        parts: Files.
        smallest: Domain -> ``min_height`` of its crop in pixels.
    """
    found = []
    for part, summary in parts:
        wanted = smallest.get(part.domain, 0) if part.split == "train" else 0
        low = sum(count for (height, _), count in summary.sizes.items() if height < wanted)
        if low:
            height = min(height for height, _ in summary.sizes)
            text = (
                f"{counted(low, 'image')} of {summary.images:,} are lower than the {wanted} pixels of the smallest "
                f"window that data.{part.domain}_crop cuts (min_height), down to {height}: whole images are enlarged "
                "instead. Choose height, width, min_height, max_height and validation.size for images of this size."
            )
            found.append(Finding("warning", part.title, text))
    return found


def _unreadable(part: Part, summary: Summary, unreadable: Unreadable) -> Iterator[Finding]:
    if not summary.unreadable:
        return
    count = counted(len(summary.unreadable), "file")
    lines = tuple(str(file.error) for file in summary.unreadable)
    colors = [pair for pair in summary.unreadable if "holds colors where" in str(pair.error)]
    if colors and (summary.found.colors or any(map(is_small_id, summary.raw))):
        yield _colored(part, summary, colors)
        if len(colors) == len(summary.unreadable):
            return
    one = len(summary.unreadable) == 1
    if unreadable == "skip":
        text = f"{count} cannot be read; {'its image is' if one else 'their images are'} left out of the whole run."
        yield Finding("warning", part.title, text, lines)
        return
    advice = ""
    if len(summary.unreadable) < summary.images:
        advice = f", or set data.unreadable=skip to leave {'its image' if one else 'their images'} out"
    text = f"{count} cannot be read: replace {'it' if one else 'them'}{advice}."
    yield Finding("error", part.title, text, lines)


def _colored(part: Part, summary: Summary, colored: Sequence[FileFacts]) -> Finding:
    """Labels that hold colors where ids are expected: all of them, or some."""
    count = counted(len(colored), "file")
    if any(map(is_small_id, summary.raw)):
        text = (
            f"Labels hold colors where ids are expected ({count}), and other labels hold ids: save all labels in one "
            "coding."
        )
        return Finding("error", part.title, text, _lines([file.path for file in colored]))
    text = (
        f"Labels hold colors where ids are expected ({count}): name the colors with label_colors in the dataset file, "
        "as the report lists them ready to be copied."
    )
    return Finding("error", part.title, text, tuple(as_yaml(part, summary).splitlines()))


def _without_label(part: Part, summary: Summary) -> Finding | None:
    if not summary.without_label:
        return None
    count = f"{len(summary.without_label)} of {counted(summary.images, 'image')}"
    text = (
        f"{count} have no label: add the labels, name the images to use in a list file, or, in a dataset of your own, "
        "set unlabeled: skip."
    )
    return Finding("error", part.title, text, _lines(summary.without_label))


def _orphans(part: Part, summary: Summary) -> Finding | None:
    if not part.listing.orphans:
        return None
    count = counted(len(part.listing.orphans), "label")
    return Finding("warning", part.title, f"{count} without an image.", _lines(part.listing.orphans))


def _mismatches(part: Part, summary: Summary) -> Finding | None:
    if not summary.mismatches:
        return None
    lines = tuple(
        f"{pair.image.path}: {_size(pair.image.size)}, label {_size(pair.label.size)}"
        for pair in summary.mismatches
        if pair.label is not None
    )
    count = counted(len(summary.mismatches), "label")
    severity, then = _MISMATCHES[part.size_mismatch]
    return Finding(severity, part.title, f"{count} of another size than the image: {then}.", lines)


def _unknown_ids(part: Part, summary: Summary) -> Finding | None:
    if not summary.unknown:
        return None
    total = int(summary.class_pixels.sum()) + summary.void_pixels + sum(summary.unknown.values())
    if isinstance(part.listing.decode, ColorIds):
        share = 100 * summary.unknown[UNKNOWN_COLOR] / total
        text = (
            f"{share:.2f} % of the pixels have colors that the color table does not name; they are ignored."
        )
        lines = tuple(
            f"{color}: {100 * pixels / total:.2f} %" for color, pixels in summary.colors.most_common(50)
        )
        return Finding("warning", part.title, text, lines)
    lines = tuple(
        f"id {raw}: {100 * pixels / total:.2f} % of the pixels"
        for raw, pixels in sorted(summary.unknown.items(), key=lambda item: -item[1])
    )
    text = f"{counted(len(lines), 'id')} that the id table does not name; their pixels are ignored."
    return Finding("warning", part.title, text, lines)


def _nothing_known(part: Part, summary: Summary) -> Finding | None:
    if not summary.nothing_known or not summary.class_pixels.any():
        return None
    count = counted(len(summary.nothing_known), "label")
    text = f"{count} without a single pixel of a class."
    return Finding("warning", part.title, text, _lines(summary.nothing_known))


def _copies(part: Part, summary: Summary) -> Finding | None:
    if not summary.copies:
        return None
    lines = tuple(" = ".join(map(str, paths)) for paths in summary.copies)
    text = f"{counted(len(lines), 'image')} there more than once, under different names."
    return Finding("warning", part.title, text, lines)


def _absent_classes(parts: Sequence[Checked], classes: LabelSpace) -> list[Finding]:
    source, target = held_classes(parts, "source", "train"), held_classes(parts, "target", "val")
    found = []
    if source is not None:
        lacking = [name for name in classes.names if name not in source]
        if lacking:
            text = (
                f"The source holds no pixel of {', '.join(lacking)}: these classes cannot be learned from it, and "
                "hard-class augmentation has nothing to gain from them."
            )
            found.append(Finding("warning", "source", text))
    if source is not None and target is not None:
        lacking = [name for name in classes.names if name in source and name not in target]
        if lacking:
            text = (
                f"The target can be expected to lack {', '.join(lacking)}: found in the source, not in the target's "
                "validation labels. Pseudo-labels of such classes are false, and they have no IoU."
            )
            found.append(Finding("note", "target", text))
    return found


def held_classes(parts: Sequence[Checked], domain: str, split: str) -> set[str] | None:
    """Names of the classes of which there is a pixel; None where no label was counted."""
    chosen = [(p, s) for p, s in parts if p.domain == domain and p.split == split and p.labeled]
    if not any(summary.class_pixels.any() for _, summary in chosen):
        return None
    return {p.classes.names[i] for p, s in chosen for i in s.class_pixels.nonzero()[0]}


def _lines(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(map(str, paths))


def _size(size: tuple[int, int] | None) -> str:
    return "unknown" if size is None else f"{size[1]} x {size[0]}"
