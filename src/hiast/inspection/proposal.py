"""Configuration files for own data: templates whose values are filled in by looking at the files."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from hiast.classes import IGNORED
from hiast.data.checks.label_ids import count_ids
from hiast.data.io.images import ImageReader, ValueRangeError, image_size
from hiast.data.io.label_groups import match_items
from hiast.data.io.listing import Pair
from hiast.errors import InputError
from hiast.files import absolute
from hiast.inspection.annotations import Annotations, find_annotations
from hiast.inspection.class_names import PLACEHOLDER, is_placeholder, name_values
from hiast.inspection.crops import ScenarioSizes, Windows
from hiast.inspection.deep_images import DeepImages, DeepValues
from hiast.inspection.layout import Layout, find_layout
from hiast.inspection.values import Kind, Value, ValueTable, look_at_labels

LOOKED_AT = 200
"""Label files that are opened to find the values in a large dataset, spread evenly; hiast-data-check opens all."""


@dataclass(frozen=True)
class FolderProposal:
    """What was found in a folder of images and a folder of labels.

    Attributes:
        layout: Where the files lie.
        sizes: (height, width) of some images.
        kind: How the labels are coded; None: there are none.
        meaning: Value -> class, or None to ignore it.
        table: Values of the labels that were looked at.
        value_range: Values of images of more than 8 bits that would be too dark otherwise; None: 8 bits are enough.
        annotations: Annotations of another program in the place of label files; None: there are none.
        remark: Why the labels are read in this way, where that is not obvious.
    """

    layout: Layout
    sizes: tuple[tuple[int, int], ...]
    kind: Kind | None = None
    meaning: Mapping[Value, str | None] | None = None
    table: ValueTable | None = None
    value_range: tuple[float, float] | None = None
    annotations: Annotations | None = None
    remark: str | None = None

    @property
    def names(self) -> list[str]:
        """Class names in the order of the values."""
        return list(dict.fromkeys(name for name in (self.meaning or {}).values() if name is not None))


def look_at_labeled(
    images: Path, labels: Path, names: Sequence[str] = (), like: FolderProposal | None = None
) -> FolderProposal:
    """Look at a folder of images and at its labels: a folder of label files, or annotations of another program.

    Args:
        images: Folder of the images.
        labels: Folder, or JSON file.
        names: Class names that the user gives.
        like: Labels of the same scenario, see ``look_at_folder``.

    Raises:
        InputError: A folder is missing, or images and labels cannot be paired or read.
    """
    annotations = find_annotations(labels, images, names)
    if annotations is None:
        return look_at_folder(find_layout(images, labels), names, like)
    layout = find_layout(images)
    reader = annotations.open()
    matched = match_items(reader, {pair.name: pair.image for pair in layout.pairs}, images.name)
    pairs = tuple(replace(pair, label=pair.image if pair.image in matched else None) for pair in layout.pairs)
    layout = replace(layout, pairs=pairs)
    folder = annotations.path if annotations.path.is_dir() else annotations.path.parent
    layout = layout.seen_from(Path(os.path.commonpath([layout.root, absolute(folder)])))
    sizes, value_range = _look_at_images(pairs)
    table = ValueTable()
    for pair in _spread(layout.labeled, LOOKED_AT):
        ids = reader.read(matched[pair.image], image_size(pair.image))
        table.add(pair.image, dict(count_ids(ids).items()))
    meaning: dict[Value, str | None] = {**dict(enumerate(annotations.names)), IGNORED: None}
    return FolderProposal(layout, sizes, "annotations", meaning, table, value_range, annotations)


def look_at_folder(
    layout: Layout, names: Sequence[str] = (), like: FolderProposal | None = None
) -> FolderProposal:
    """Look at the images and labels of a layout.

    Args:
        layout: Where they lie.
        names: Class names that the user gives, in the order of the values in the labels.
        like: Labels of the same scenario: values that they hold too have the same meaning here.

    Raises:
        InputError: No image can be read, no ``value_range`` serves all images, or labels cannot be read.
    """
    sizes, value_range = _look_at_images(layout.pairs)
    if layout.labels is None:
        return FolderProposal(layout, sizes, value_range=value_range)
    labels = [pair.label for pair in _spread(layout.labeled, LOOKED_AT) if pair.label is not None]
    # At random, since every so many of them might all be of the same class.
    labels += random.Random(0).sample(layout.further, min(len(layout.further), 5 * LOOKED_AT))
    values = look_at_labels(labels)
    kind, table = values.kind, values.table
    if like is not None and like.kind == kind and like.meaning is not None:
        meaning = {
            value: like.meaning.get(value) for value in {**like.meaning, **dict.fromkeys(table.frequent)}
        }
        return FolderProposal(layout, sizes, kind, meaning, table, value_range, remark=values.remark)
    folders = list(dict.fromkeys([labels[0].parent, *_above(labels[0].parent, layout.root)]))
    meaning = name_values(kind, table, folders, names, layout.labels)
    if like is not None and "colors" in (kind, like.kind):
        meaning = _apart(meaning, like.names)
    return FolderProposal(layout, sizes, kind, meaning, table, value_range, remark=values.remark)


def _apart(meaning: Mapping[Value, str | None], taken: Sequence[str]) -> dict[Value, str | None]:
    """Other placeholders than those of labels with another coding: class_0 of a color is not class_0 of an id."""
    return {
        value: f"target_{name.removeprefix(PLACEHOLDER)}"
        if name is not None and name in taken and is_placeholder(name)
        else name
        for value, name in meaning.items()
    }


def folder_keys(found: FolderProposal, *, val: bool = False) -> dict[str, str | None]:
    """Values of a dataset file as YAML text, by key; None: the key is not needed.

    Args:
        found: What was found.
        val: The files are for validation: the keys are val_images and val_labels.
    """
    prefix = "val_" if val else ""
    keys: dict[str, str | None] = {f"{prefix}images": dumped(found.layout.images), "class_map": "null"}
    if found.value_range is not None:
        keys["value_range"] = dumped(list(found.value_range))
    if found.annotations is not None:
        return keys | _annotation_keys(found.annotations, found, prefix)
    if found.layout.labels is None:
        return keys
    keys |= {f"{prefix}labels": dumped(found.layout.labels), "names": dumped(found.names)}
    meaning = dict(found.meaning or {})
    if found.kind == "colors":
        assert found.table is not None
        lines = [f'\n  "{color}": {dumped(name)}' for color, name in meaning.items()]
        keys |= {"ids": None, "label_colors": "".join(lines)}
    else:
        keys["ids"] = dumped({_id(raw): name for raw, name in meaning.items()})
    if found.kind == "first_channel":
        keys["first_channel"] = "true"
    if found.kind == "threshold":
        keys["threshold"] = "128"
    if found.layout.joined:
        keys["join_labels"] = "true"
    return keys | _skipped(found)


def _annotation_keys(annotations: Annotations, found: FolderProposal, prefix: str) -> dict[str, str | None]:
    path = annotations.path.absolute()
    keys: dict[str, str | None] = {
        f"{prefix}labels": None,
        "ids": None,
        "names": dumped(list(annotations.names)),
        "format": annotations.format,
        f"{prefix}annotations": dumped(path.relative_to(found.layout.root).as_posix()),
    }
    if annotations.options:
        keys["format_options"] = dumped(dict(annotations.options))
    return keys | _skipped(found)


def _skipped(found: FolderProposal) -> dict[str, str | None]:
    return {"unlabeled": "skip"} if len(found.layout.labeled) < len(found.layout.pairs) else {}


def scenario_keys(source: FolderProposal, sizes: ScenarioSizes) -> dict[str, str | None]:
    """The same for a scenario, whose classes have the colors of the labels if those are colored."""
    colors: dict[str, str] = {}
    if source.kind == "colors":
        for color, name in (source.meaning or {}).items():
            if name is not None:
                colors.setdefault(name, str(color))
    return {
        "  names": dumped(list(source.names)),
        "  colors": dumped(colors) if colors else None,
        "validation": f"{{size: {list(sizes.validation)}}}",
        "  source_crop": _crop(sizes, sizes.source),
        "  target_crop": _crop(sizes, sizes.target),
    }


def fill_in(template: str, keys: Mapping[str, str | None]) -> str:
    r"""A template with other values.

    Args:
        template: YAML text with a line for each key, which may be a comment that shows the key.
        keys: Key, with the spaces before it -> YAML text of the value; None: the line becomes a comment.

    Raises:
        InputError: The template has no such key.

    Examples:
        >>> print(fill_in("ids: {0: road}\n# threshold: 128   # soft masks", {"ids": None, "threshold": "100"}))
        # ids: {0: road}
        threshold: 100
    """
    lines = template.splitlines()
    for key, value in keys.items():
        places = [place for place, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{key}:")]
        if not places and value is not None:
            raise InputError(f"The template holds no line for {key.strip()}.")
        for place in places[:1]:
            end = place + 1
            while end < len(lines) and lines[end].startswith("#   "):  # the rest of an example
                end += 1
            if value is None:
                lines[place] = "# " + lines[place].removeprefix("# ")
            else:
                lines[place:end] = [f"{key}:{value}" if value.startswith("\n") else f"{key}: {value}"]
    return "\n".join(lines) + ("\n" if template.endswith("\n") else "")


def dumped(value: Any) -> str:
    """YAML of a value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=100_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _id(raw: Value) -> int | str:
    return -1 if raw == 65535 else raw


def _crop(sizes: ScenarioSizes, windows: Windows) -> str:
    height, width = sizes.crop
    return (
        f"{{_target_: hiast.data.augmentation.weak.RandomSizedCrop, height: {height}, width: {width}, "
        f"min_height: {windows.min_height}, max_height: {windows.max_height}}}"
    )


def _look_at_images(pairs: Sequence[Pair]) -> tuple[tuple[tuple[int, int], ...], tuple[float, float] | None]:
    """Sizes of some images, and the range of their values if 8 bits of it would be nearly black.

    Raises:
        InputError: No image can be read, or no single range serves images of different types.
    """
    reader, sizes, deep = ImageReader(), [], DeepImages()
    errors = []
    for pair in _spread(pairs, LOOKED_AT):
        try:
            sizes.append(reader.size(pair.image))
        except InputError as error:
            errors.append(error)
    if not sizes:
        raise errors[0]
    for pair in _spread(pairs, 8):
        try:
            values = DeepValues.of(reader.check(pair.image))
        except ValueRangeError as error:
            values = DeepValues.of(error)
        except InputError:
            continue  # hiast-data-check names it.
        if values is not None:
            deep.add(pair.image, values)
    conflict = deep.conflict()
    if conflict is not None:
        raise InputError(conflict)
    return tuple(sizes), deep.wanted_range()


def _spread(pairs: Sequence[Pair], count: int) -> Sequence[Pair]:
    step = -(-len(pairs) // count)
    return pairs[:: max(1, step)]


def _above(folder: Path, root: Path) -> list[Path]:
    """Folders from a folder up to the one that holds the dataset."""
    return [parent for parent in folder.parents if parent.is_relative_to(root) or parent == root.parent]
