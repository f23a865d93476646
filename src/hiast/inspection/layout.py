"""The patterns that pair the files of two folders, found by looking at their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from hiast.data.io.listing import Pair
from hiast.data.io.pairing import Files, list_files
from hiast.data.io.patterns import IMAGE_SUFFIXES, describe_files
from hiast.errors import InputError
from hiast.files import absolute, walk_files

LABEL_SUFFIXES = IMAGE_SUFFIXES | {"npy", "npz"}
"""Suffixes of label files, in lower case and without dot."""

_PREFERRED = ("labelids", "labeltrainids", "label", "mask", "semantic", "seg", "gt", "annotation")
"""Words in the names of label files, the likeliest first, where an image has files of several kinds."""
_SEPARATORS = "_-. "
_SAMPLE = 30
_SAME = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tiff": "tif"}


@dataclass(frozen=True)
class Layout:
    """Where the files of a dataset lie, in the words of a dataset file.

    Attributes:
        root: Folder that the patterns are relative to.
        images: Pattern of the images.
        labels: Pattern of the labels; None: there are none.
        pairs: Images, each with its first label file.
        further: Label files of images that have several, but for the first.
        others: Label files of other kinds that the pattern leaves out, one of each kind.
    """

    root: Path
    images: str
    labels: str | None
    pairs: tuple[Pair, ...]
    further: tuple[Path, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def joined(self) -> bool:
        """Whether an image has several label files."""
        return bool(self.further)

    @property
    def labeled(self) -> tuple[Pair, ...]:
        """The pairs that have a label."""
        return tuple(pair for pair in self.pairs if pair.label is not None)

    def seen_from(self, root: Path) -> Layout:
        """The same files by patterns that are relative to a folder above."""
        inner = _below(self.root, root)
        labels = None if self.labels is None else inner + self.labels
        return replace(self, root=root, images=inner + self.images, labels=labels)


@dataclass(frozen=True, order=True)
class _Affixes:
    """What stands before and after the part that an image and its label have in common."""

    before: str = ""
    after: str = ""

    def core(self, stem: str) -> str | None:
        """The common part of a file's name; None: the name has another form."""
        folder, base = _split(stem)
        if len(base) <= len(self.before) + len(self.after) or not base.startswith(self.before):
            return None
        if not base.endswith(self.after):
            return None
        return folder + base[len(self.before) : len(base) - len(self.after) or None]


def find_layout(images: Path, labels: Path | None = None) -> Layout:
    """Find patterns for a folder of images and a folder of labels.

    Names are equal, or differ by what stands before and after the common part (``a_img.png`` and ``a_mask.png``); or
    an image has a folder of masks (``masks/a/0.png`` or ``a/masks/0.png`` beside ``a/images/a.png``).

    Args:
        images: Folder of images, with all folders below it.
        labels: Folder of their labels, which may be the same; None: there are none.

    Raises:
        InputError: A folder is missing or holds no images, or the names have nothing in common.
    """
    files = _files(images, IMAGE_SUFFIXES, "images")
    if labels is None:
        return _listed(images, f"{{name}}{_suffix(files)}", None, images)
    label_files = _files(labels, LABEL_SUFFIXES, "labels")
    one_folder = absolute(images) == absolute(labels)
    if one_folder:
        files, label_files = _photographs(files, label_files)
    images, labels = absolute(images), absolute(labels)
    root = Path(os.path.commonpath([images, labels]))
    of_images, of_labels = _below(images, root), _below(labels, root)
    by_folder = _by_folder(files, label_files, of_images, of_labels)
    if by_folder is not None:
        return _listed(root, *by_folder, images)
    chosen = _by_affixes(files, label_files, same=one_folder and files == label_files)
    if chosen is None and one_folder:
        shown = describe_files([Path(name) for name in files])
        raise InputError(
            f"labels: {labels} holds images and no labels beside them ({shown}): name the folder of the labels."
        )
    if chosen is None:
        raise InputError(
            f"The names of the images in {images} ({describe_files([Path(files[0])])}) and of the labels in {labels} "
            f"({describe_files([Path(label_files[0])])}) have nothing in common: write the patterns into the dataset "
            "file by hand; hiast-data-new name=NAME writes one to fill in."
        )
    of_image, of_label, others = chosen
    # A text before {name} stands in the name of the file, so that the folders need a field of their own.
    apart = any("/" in name for name in files) and bool(of_image.before or of_label.before)
    image_pattern = _pattern(of_images, of_image, apart, _suffix(files, of_image))
    label_pattern = _pattern(of_labels, of_label, apart, _suffix(label_files, of_label))
    return _listed(root, image_pattern, label_pattern, images, others)


def _files(folder: Path, suffixes: frozenset[str], what: str) -> list[str]:
    if not folder.is_dir():
        raise InputError(f"{what}: there is no folder {folder}.")
    every = [name for name in walk_files(folder) if not name.rpartition("/")[2].startswith(".")]
    found = sorted(name for name in every if Path(name).suffix[1:].lower() in suffixes)
    if not found:
        there = f"; there are {describe_files([Path(name) for name in every])}" if every else ""
        raise InputError(f"{what}: {folder} holds no {what}{there}.")
    return found


def _photographs(files: list[str], labels: list[str]) -> tuple[list[str], list[str]]:
    """The photographs among the files of one folder, and the others; all of them twice if all are of one kind."""
    lossy = [name for name in files if _suffix([name]) in (".jpg", ".webp")]
    rest = [name for name in labels if name not in set(lossy)]
    return (lossy, rest) if lossy and rest else (files, labels)


def _below(folder: Path, root: Path) -> str:
    inner = absolute(folder).relative_to(root).as_posix()
    return "" if inner == "." else f"{inner}/"


def _listed(
    root: Path, images: str, labels: str | None, folder: Path, others: tuple[str, ...] = ()
) -> Layout:
    root = absolute(root)
    files: Files = list_files(root, images, labels, folder.name)
    pairs = tuple(
        Pair(image.name, image.path, group[0].path if group else None)
        for image, group in zip(files.images, files.labels, strict=True)
    )
    further = tuple(file.path for group in files.labels for file in group[1:])
    return Layout(root, images, labels, pairs, further, others)


def _by_folder(
    files: Sequence[str], labels: Sequence[str], of_images: str, of_labels: str
) -> tuple[str, str] | None:
    """Patterns of images that have a folder of masks each; None: they have not."""
    twice = re.compile(r"(?P<name>[^/]+)/(?P<inner>[^/]+)/(?P=name)\.\w+")
    found = [match for name in files if (match := twice.fullmatch(name))]
    if found and of_images == of_labels:
        inner = {match["inner"] for match in found}
        beside = {parts[1] for name in labels if len(parts := name.split("/")) == 3} - inner
        if len(inner) == 1 and len(beside) == 1:
            masks = [name for name in labels if name.split("/")[1:2] == [next(iter(beside))]]
            image_suffix = _suffix([match.group() for match in found])
            return (
                f"{of_images}{{name}}/{inner.pop()}/{{name}}{image_suffix}",
                f"{of_labels}{{name}}/{beside.pop()}/*{_suffix(masks)}",
            )
    stems = {_stem(name) for name in files}
    if all(name.rpartition("/")[0] in stems for name in labels):
        return f"{of_images}{{name}}{_suffix(files)}", f"{of_labels}{{name}}/*{_suffix(labels)}"
    return None


def _by_affixes(
    files: Sequence[str], labels: Sequence[str], same: bool
) -> tuple[_Affixes, _Affixes, tuple[str, ...]] | None:
    """What stands around the common part in the names of images and labels, and in those of other label files."""
    stems, label_stems = [_stem(name) for name in files], {_stem(name) for name in labels}
    sample = stems[:: max(1, len(stems) // _SAMPLE)][:_SAMPLE]
    pairs: Counter[tuple[_Affixes, _Affixes]] = Counter()
    by_folder: dict[str, list[str]] = {}
    for stem in sorted(label_stems):
        by_folder.setdefault(_split(stem)[0], []).append(stem)
    for of_image in _affixes(stems):
        for stem in sample:
            core = of_image.core(stem)
            folder, base = _split(core or "")
            for other in by_folder.get(folder, ()) if base else ():
                found = _around(base, _split(other)[1])
                if found is not None and not (same and other == stem):
                    pairs[of_image, found] += 1
    least = min(2, len(stems), len(label_stems))
    matches = {pair: _matches(pair, stems, label_stems) for pair, count in pairs.items() if count >= least}
    if not matches:
        return None
    best = max(matches.values())
    good = sorted((pair for pair, count in matches.items() if count == best), key=_preference)
    of_image, of_label = good[0]
    kinds = {label for image, label in good[1:] if image == of_image and not label.before}
    others = tuple(sorted(f"{{name}}{kind.after}" for kind in kinds if kind.after[:1] in _SEPARATORS))
    return of_image, of_label, others


def _matches(pair: tuple[_Affixes, _Affixes], stems: Sequence[str], label_stems: set[str]) -> int:
    """Number of images that have a label."""
    of_image, of_label = pair
    count = 0
    for stem in stems:
        core = of_image.core(stem)
        if core is not None:
            folder, base = _split(core)
            count += f"{folder}{of_label.before}{base}{of_label.after}" in label_stems
    return count


def _preference(pair: tuple[_Affixes, _Affixes]) -> tuple[object, ...]:
    of_image, of_label = pair
    text = f"{of_label.before}{of_label.after}".lower()
    plain = pair == (_Affixes(), _Affixes())
    word = next((place for place, word in enumerate(_PREFERRED) if word in text), len(_PREFERRED))
    length = len(of_image.before) + len(of_image.after)
    return not plain, word, -length if text else length, len(text), of_image, of_label


def _affixes(stems: Sequence[str]) -> list[_Affixes]:
    """What may be taken away from all names of images alike: whole words at both ends."""
    bases = [_split(stem)[1] for stem in stems]
    before = _shared_start(bases)
    after = _shared_start([base[::-1] for base in bases])[::-1]
    starts = [""] + [before[: i + 1] for i, letter in enumerate(before) if letter in _SEPARATORS]
    ends = [""] + [after[i:] for i, letter in enumerate(after) if letter in _SEPARATORS]
    return [_Affixes(start, end) for start, end in product(starts, ends)]


def _shared_start(names: Sequence[str]) -> str:
    """The letters that all names begin with; none if there is one name only."""
    first, last = min(names), max(names)
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length] if len(names) > 1 else ""


def _around(core: str, base: str) -> _Affixes | None:
    """What stands around ``core`` in a name; None: it does not stand there as a word of its own."""
    before, found, after = base.partition(core)
    if not found or (after and after[0] not in _SEPARATORS) or (before and before[-1].isdigit()):
        return None
    return _Affixes(before, after)


def _pattern(folder: str, affixes: _Affixes, apart: bool, suffix: str) -> str:
    inner = "{folder}/" if apart else ""
    return f"{folder}{inner}{affixes.before}{{name}}{affixes.after}{suffix}"


def _suffix(files: Sequence[str], affixes: _Affixes | None = None) -> str:
    """The suffix of files in a pattern: ".png", or ".{jpg,png}" where there are several."""
    chosen = [name for name in files if affixes is None or affixes.core(_stem(name)) is not None]
    names = [Path(name).suffix[1:].lower() for name in chosen or files]
    kinds = sorted({_SAME.get(name, name) for name in names})
    return f".{kinds[0]}" if len(kinds) == 1 else f".{{{','.join(kinds)}}}"


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _split(stem: str) -> tuple[str, str]:
    folder, slash, base = stem.rpartition("/")
    return folder + slash, base
