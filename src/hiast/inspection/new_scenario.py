"""The three files of a scenario on own data, filled in by looking at its folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hiast.counted import counted
from hiast.data.io.patterns import IMAGE_SUFFIXES
from hiast.errors import InputError
from hiast.files import walk_files
from hiast.inspection.annotations import WITH_BACKGROUND
from hiast.inspection.class_names import is_placeholder
from hiast.inspection.crops import propose_sizes
from hiast.inspection.layout import find_layout
from hiast.inspection.proposal import (
    FolderProposal,
    dumped,
    fill_in,
    folder_keys,
    look_at_folder,
    look_at_labeled,
    scenario_keys,
)

_VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")
_CODED = {
    "ids": "ids",
    "colors": "colors",
    "first_channel": "ids in the first channel",
    "threshold": "soft masks",
    "annotations": "annotations",
}
_VAL_FRACTION = 0.2
"""Share of a target that is kept for validation where all of its images have labels."""
_SHOWN = 30
"""Values that are listed in a line."""


@dataclass(frozen=True)
class Folders:
    """Folders of own data.

    Attributes:
        images: Images of the source.
        labels: Their labels: a folder, or a JSON file of annotations.
        target: Images or videos of the target; None: not known yet.
        val_images: Labeled images of the target.
        val_labels: Their labels; without ``val_images`` labels of a part of the images in ``target``.
    """

    images: Path
    labels: Path
    target: Path | None = None
    val_images: Path | None = None
    val_labels: Path | None = None


def fill_in_scenario(
    folders: Folders, templates: Mapping[str, str], names: Sequence[str] = (), video: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Look at the folders and fill the templates in.

    Args:
        folders: What to look at.
        templates: Texts of the templates "source", "target", "video" and "scenario".
        names: Class names that the user gives, in the order of the values in the labels.
        video: Whether a target that is not known yet is made of videos.

    Returns:
        Texts of the files "source", "target" and "scenario", and what was found, in lines.

    Raises:
        InputError: A folder is missing or empty, or images and labels cannot be paired or read.
    """
    source = look_at_labeled(folders.images, folders.labels, names)
    if len(source.names) < 2:
        raise InputError(
            f"The labels in {folders.labels} hold one class ({', '.join(source.names) or 'none'}), and two are needed: "
            "give names=[background,NAME] if 0 is the background, or other labels."
        )
    text, target, said = _target(folders, templates, source, video)
    sizes = propose_sizes(source.sizes, target.sizes if target is not None else ())
    source_keys = _located(source.layout.root) | folder_keys(source)
    texts = {
        "source": fill_in(_with_places(templates["source"], source_keys), source_keys),
        "target": text,
        "scenario": fill_in(templates["scenario"], scenario_keys(source, sizes)),
    }
    return texts, [*_report("source", source), *said, *_unnamed(source)]


def _unnamed(source: FolderProposal) -> list[str]:
    """What to do about classes that got a placeholder as their name."""
    if not any(is_placeholder(name) for name in source.names):
        return []
    return [
        "No list and no known colors name the classes: write their names in place of "
        f"{source.names[0]}, ... into the files below, the same names on both sides."
    ]


def _target(
    folders: Folders, templates: Mapping[str, str], source: FolderProposal, video: bool
) -> tuple[str, FolderProposal | None, list[str]]:
    """Text of the target's file, what was found in its images, and the same in lines."""
    if folders.target is None:
        if folders.val_images is not None or folders.val_labels is not None:
            raise InputError("val_images and val_labels belong to a target: add target=DIR.")
        said = "target: not known yet; fill in its file, or add target=DIR."
        return templates["video" if video else "target"], None, [said]
    ends = Counter(Path(name).suffix.lower() for name in walk_files(folders.target))
    suffixes = sorted(end for end in ends if end in _VIDEOS)
    images = sum(count for end, count in ends.items() if end[1:] in IMAGE_SUFFIXES)
    if suffixes and images:
        videos = sum(ends[end] for end in suffixes)
        raise InputError(
            f"target: {folders.target} holds {counted(images, 'image')} and {counted(videos, 'video')}: name a folder "
            "of one kind, or move the others elsewhere."
        )
    if suffixes:
        pattern = "**/*" + (
            suffixes[0] if len(suffixes) == 1 else f".{{{','.join(s[1:] for s in suffixes)}}}"
        )
        keys = _located(folders.target.absolute()) | {"videos": dumped(pattern)}
        return fill_in(templates["video"], keys), None, [f"target: videos {pattern} in {folders.target}"]
    if folders.val_labels is None:
        if folders.val_images is not None:
            raise InputError("val_images is given without val_labels: add val_labels=DIR.")
        return _unlabeled(folders.target, templates["target"])
    if folders.val_images is None:
        return _partly_labeled(folders.target, folders.val_labels, templates["target"], source)
    target = look_at_folder(find_layout(folders.target))
    val = look_at_labeled(folders.val_images, folders.val_labels, like=source)
    root = Path(os.path.commonpath([target.layout.root, val.layout.root]))
    seen = (replace(found, layout=found.layout.seen_from(root)) for found in (target, val))
    keys = _located(root) | folder_keys(next(seen)) | folder_keys(next(seen), val=True) | _mapped(val, source)
    said_of_both = [*_report("target", target), *_report("target validation", val)]
    return fill_in(_with_places(templates["target"], keys), keys), target, said_of_both


def _unlabeled(folder: Path, template: str) -> tuple[str, FolderProposal, list[str]]:
    found = look_at_folder(find_layout(folder))
    keys: dict[str, str | None] = _located(found.layout.root) | folder_keys(found)
    keys |= dict.fromkeys(("val_images", "val_labels", "names", "ids", "class_map"))
    return fill_in(template, keys), found, _report("target", found)


def _partly_labeled(
    folder: Path, labels: Path, template: str, source: FolderProposal
) -> tuple[str, FolderProposal, list[str]]:
    """Images of which a part has labels: these are for validation; where all have labels, some of them."""
    found = look_at_labeled(folder, labels, like=source)
    keys: dict[str, str | None] = _located(found.layout.root) | folder_keys(found) | _mapped(found, source)
    keys |= {"val_images": None, "val_labels": None, "unlabeled": None}
    said = _report("target", found)
    if len(found.layout.labeled) < len(found.layout.pairs):
        keys["val"] = "labeled"
    else:
        keys["val_fraction"] = str(_VAL_FRACTION)
        said.append(
            f"  All images have labels: {100 * _VAL_FRACTION:.0f} % of them are for validation (val_fraction)."
        )
    return fill_in(_with_places(template, keys), keys), found, said


def _located(root: Path) -> dict[str, str | None]:
    return {"data_root": dumped(str(root))}


def _mapped(found: FolderProposal, source: FolderProposal) -> dict[str, str | None]:
    """Classes of the target's labels that the scenario does not have are ignored, until somebody maps them."""
    strange = [name for name in found.names if name not in source.names]
    return {"class_map": dumped(dict.fromkeys(strange)) if strange else "null"}


def _with_places(template: str, keys: Mapping[str, str | None]) -> str:
    """The template with a line for keys that only the source's template shows."""
    shown = {line.removeprefix("# ").partition(":")[0] for line in template.splitlines()}
    missing = [f"# {key}:\n" for key, value in keys.items() if value is not None and key not in shown]
    return template + "".join(missing)


def _report(role: str, found: FolderProposal) -> list[str]:
    """What was found, in lines."""
    layout = found.layout
    size = " x ".join(_span({size[axis] for size in found.sizes}) for axis in (1, 0))
    lines = [
        f"{role}: {counted(len(layout.pairs), 'image')} of {size} pixels, {layout.images} in {layout.root}"
    ]
    if found.kind is None or found.meaning is None or found.table is None:
        return lines
    shown = [
        f"{value}: {name or 'ignored'} ({100 * found.table.share(value):.2f} %)"
        for value, name in found.meaning.items()
        if value in found.table.values
    ]
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    notes = found.annotations
    coded = f"{notes.path}, {notes.format}" if notes is not None else layout.labels
    lines.append(f"  {counted(len(layout.labeled), 'label')}, {coded}, {_CODED[found.kind]}")
    lines.append(f"  {'; '.join(shown[:_SHOWN])}{more}")
    if found.remark is not None:
        lines.append(f"  {found.remark}")
    if notes is not None and "background" not in notes.options:
        choice = "; to make them a class: names=[background,...]" if notes.format in WITH_BACKGROUND else ""
        lines.append(f"  Pixels that nothing covers are ignored{choice}.")
    if notes is not None and notes.options.get("ignored"):
        lines.append(f"  Other classes are ignored: {', '.join(notes.options['ignored'])}")
    if layout.joined:
        lines.append("  Images have several label files, which are laid over each other (join_labels).")
    if layout.others:
        lines.append(f"  Label files of other kinds are left out: {', '.join(layout.others)}")
    return lines


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"
