"""Reading masks laid out as PASCAL VOC or as CVAT's "Segmentation mask 1.1", which is the same with a list of colors.

``SegmentationClass`` holds a PNG per image, of palette indices or of colors; ``labelmap.txt``, if there is one, names
the classes and their colors; ``ImageSets/Segmentation`` holds lists of the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED, Color
from hiast.errors import InputError
from hiast.formats.items import Labels, Size
from hiast.formats.names import Key, NameTable, voc_colors
from hiast.formats.pictures import Picture, check_size, from_colors, from_values, read_png
from hiast.formats.source import Files

MASKS = "SegmentationClass"
OBJECTS = "SegmentationObject"
LISTS = "ImageSets/Segmentation"
IMAGES = "JPEGImages"
LABELMAP = "labelmap.txt"

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The classes of PASCAL VOC in the order of their indices."""
_BORDER: Color = (224, 224, 192)


class VocReader:
    """Reads PASCAL VOC and CVAT's "Segmentation mask 1.1", from a folder or a zip file.

    With ``labelmap.txt`` the masks hold its colors, directly or in their palette, or its line numbers as values.
    Without it, the values (or the colors of the VOC color map) count the classes: those of PASCAL VOC if all
    ``classes`` are among them, else ``classes`` in their order. The value 255, which marks borders, is ignored.

    Args:
        path: Folder or zip file with ``SegmentationClass``, or a folder of masks.
        classes: Class names in the order of their indices.
        ignored: Further names in ``labelmap.txt`` whose pixels are ignored.
        subset: Name of a list in ``ImageSets/Segmentation``, such as "train"; None: all masks.

    Raises:
        InputError: Something is missing or does not fit; the message names the file.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        ignored: Iterable[str] = (),
        subset: str | None = None,
    ) -> None:
        self._names = NameTable.of(classes, ignored)
        self.classes = self._names.classes
        self._files = Files(path)
        self._root, self._folder = self._find_masks()
        by_color, by_value = self._tables()
        self._palettes_count = self._root + LABELMAP in self._files
        self._colors = self._names.split(by_color)
        self._values = self._names.split(by_value)
        self._masks = self._files.named(self._folder, ".png")
        self._items = self._list(subset)

    def _find_masks(self) -> tuple[str, str]:
        """Folder of the dataset, "" or ending with "/", and folder of the masks."""
        for name in self._files.names(suffix=".png"):
            parts = name.split("/")
            if MASKS in parts[:-1]:
                root = "".join(f"{part}/" for part in parts[: parts.index(MASKS)])
                return root, root + MASKS
        if not self._files.names(suffix=".png"):
            raise InputError(
                f"{self._files.path} holds no masks: a PNG file per image is expected in {MASKS}."
            )
        return "", ""

    def _tables(self) -> tuple[dict[Color, str], dict[int, str]]:
        """Color -> name, and value -> name."""
        file = self._root + LABELMAP
        if file in self._files:
            entries = parse_labelmap(self._files.text(file), self._files.where(file))
            # Lines without a color have the one that the color map gives to their number.
            known = [(name, color or voc_colors()[number]) for number, (name, color) in enumerate(entries)]
        else:
            names = VOC_NAMES if set(self.classes) <= set(VOC_NAMES) else self.classes
            known = list(zip(names, voc_colors(), strict=False))
        colors = {color: name for name, color in reversed(known)}
        colors.setdefault(_BORDER, "void")
        return colors, {number: name for number, (name, _) in enumerate(known)}

    def _list(self, subset: str | None) -> tuple[str, ...]:
        masks = self._masks
        if subset is None:
            return tuple(masks)
        file = f"{self._root}{LISTS}/{subset}.txt"
        lines = [line.strip() for line in self._files.text(file).splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        missing = sorted(set(wanted) - set(masks))
        if missing:
            raise InputError(f"{self._files.where(file)} names '{missing[0]}', which has no mask in {MASKS}.")
        return tuple(sorted(wanted))

    def items(self) -> tuple[str, ...]:
        """Names of the labeled images, sorted."""
        return self._items

    def read(self, name: str, size: Size | None = None) -> Labels:
        """Label map uint8 [H, W] of an image: class indices, 255 for ignored.

        Args:
            name: One of ``items()``.
            size: (height, width) of the image, to be compared; None: not compared.

        Raises:
            InputError: The mask is missing, damaged, of another size, or holds what stands for no class.
        """
        file = self._masks.get(name, f"{self._folder}/{name}.png" if self._folder else f"{name}.png")
        where = self._files.where(file)
        picture = read_png(self._files.read(file), where)
        colors = self._colors_of(picture, where)
        if colors is not None:
            labels = from_colors(colors, self._colors[0], where, self._colors[1])
        else:
            indices, unknown = self._values
            labels = from_values(picture.values, indices | {IGNORED: IGNORED}, where, unknown)
        return check_size(labels, size, where)

    def _colors_of(self, picture: Picture, where: object) -> NDArray[np.uint8] | None:
        """RGB colors [H, W, 3] of a mask that is read by its colors; None: by its values.

        Image editors sort palettes anew, so that where ``labelmap.txt`` knows all colors of a palette, they count and
        not their order.

        Raises:
            InputError: ``labelmap.txt`` knows a part of the colors, and their order says otherwise.
        """
        if picture.palette is None or not self._palettes_count:
            return picture.values if picture.values.ndim == 3 else None
        colors = picture.colors(where)
        used = {int(value): _color(picture.palette[value]) for value in np.unique(picture.values)}
        known = self._colors[0].keys() | self._colors[1].keys()
        lacking = [color for color in used.values() if color not in known]
        if not lacking:
            return colors
        for value, color in used.items():
            by_color, by_value = self._name_of(self._colors, color), self._name_of(self._values, value)
            if by_color is not None and by_value is not None and by_color != by_value:
                raise InputError(
                    f"{where}: {LABELMAP} has color {list(color)} of its palette for {by_color}, but its index {value} "
                    f"is that of {by_value}, and {LABELMAP} lacks color {list(lacking[0])}. Add that color to "
                    f"{LABELMAP} if colors count, or remove all colors there if indices count."
                )
        return None

    def _name_of(self, table: tuple[dict[Key, int], dict[Key, str]], key: Key) -> str | None:
        """The class of a color or value, "ignored", or a name that is no class here; None for what is unknown."""
        indices, unknown = table
        if key not in indices:
            return unknown.get(key)
        return "ignored pixels" if indices[key] == IGNORED else self.classes[indices[key]]

    def image(self, name: str) -> Path | None:
        """The image file, if it lies in ``JPEGImages`` of the folder."""
        return self._files.image(self._root + IMAGES, name)


def _color(values: NDArray[np.uint8]) -> Color:
    return int(values[0]), int(values[1]), int(values[2])


def parse_labelmap(text: str, where: object) -> list[tuple[str, Color | None]]:
    """Names and colors of a ``labelmap.txt``: lines "name:red,green,blue:parts:actions".

    Raises:
        InputError: A line is of another form, or two lines have the same name.
    """
    entries: list[tuple[str, Color | None]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        parts = rest.split(":")[0].split(",")
        if rest and parts != [""]:
            if len(parts) != 3 or not all(part.strip().isdigit() and int(part) < 256 for part in parts):
                raise InputError(
                    f"{where}, line {number}: '{line.strip()}' should be 'name:red,green,blue::'."
                )
            color = (int(parts[0]), int(parts[1]), int(parts[2]))
        else:
            color = None
        if not name or name in [known for known, _ in entries]:
            raise InputError(f"{where}, line {number}: the name '{name}' is empty or occurs twice.")
        entries.append((name, color))
    if not 1 <= len(entries) <= 256:
        raise InputError(f"{where} names {len(entries)} classes; 1 to 256 are expected.")
    return entries
