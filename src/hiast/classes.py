"""Label spaces: the classes a scenario knows, their colors, and how raw ids on disk become class indices.

The ids and colors are those of the datasets' own documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORED = 255
"""The label of pixels that take no part: void ids, and target pixels without a trusted pseudo-label."""

Color = tuple[int, int, int]


def _color(values: Any) -> Color:
    """An RGB color of three numbers.

    Raises:
        ValueError: They are no color.
    """
    numbers = [] if isinstance(values, str) else [int(value) for value in values]
    if len(numbers) != 3 or not all(0 <= number <= 255 for number in numbers):
        raise ValueError(f"{values} is no color: give its red, green and blue, three numbers from 0 to 255.")
    return (numbers[0], numbers[1], numbers[2])


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a scenario or a dataset, in the order of their indices.

    Attributes:
        names: Class names; the position is the class index. At most 255, all different.
        colors: One RGB color (0..255) per class.
        reported: Means to report: title -> names of the classes averaged. Empty: one mean over all classes.

    Raises:
        ValueError: Names, colors and means do not fit together, or a color is none.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    reported: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "colors", tuple(_color(color) for color in self.colors))
        if not 2 <= len(self.names) <= 255:
            one = (
                f": name the background as a class too, [background, {self.names[0]}]"
                if len(self.names) == 1
                else ""
            )
            raise ValueError(f"A label space needs 2 to 255 classes, not {len(self.names)}{one}.")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"Class names must all differ: {', '.join(self.names)}.")
        if len(self.colors) != len(self.names):
            raise ValueError(f"{len(self.names)} classes need as many colors, not {len(self.colors)}.")
        reported = dict(self.reported) or {f"mIoU-{len(self.names)}": self.names}
        reported = {title: tuple(names) for title, names in reported.items()}
        for title, names in reported.items():
            unknown = [name for name in names if name not in self.names]
            if unknown:
                raise ValueError(f"{title} names classes that do not exist: {', '.join(unknown)}.")
            if not names:
                raise ValueError(f"{title} names no class: name those that it is the mean of.")
        object.__setattr__(self, "reported", MappingProxyType(reported))

    def __len__(self) -> int:
        return len(self.names)

    def __hash__(self) -> int:
        # A mapping proxy has no hash.
        return hash((self.names, self.colors))

    def __reduce__(self) -> tuple[type[LabelSpace], tuple[object, ...]]:
        # A mapping proxy cannot be pickled, and loader workers may be spawned.
        return (LabelSpace, (self.names, self.colors, dict(self.reported)))

    def index(self, name: str) -> int:
        """Index of the class called ``name``.

        Raises:
            ValueError: There is no such class; the message lists those that exist.
        """
        if name not in self.names:
            raise ValueError(f"There is no class '{name}'; the classes are {', '.join(self.names)}.")
        return self.names.index(name)

    def colorize(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Color picture uint8 [H, W, 3] of a label map uint8 [H, W]; ignored pixels are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        return palette[labels]

    def to_dict(self) -> dict[str, object]:
        """Plain lists and strings, for checkpoints and JSON; ``LabelSpace(**d)`` gives the space back."""
        return {
            "names": list(self.names),
            "colors": [list(color) for color in self.colors],
            "reported": {title: list(names) for title, names in self.reported.items()},
        }


_CITYSCAPES_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_CITYSCAPES_COLORS = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
    (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
    (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip


def _without(*dropped: str) -> tuple[str, ...]:
    return tuple(name for name in _CITYSCAPES_NAMES if name not in dropped)


CITYSCAPES_19 = LabelSpace(_CITYSCAPES_NAMES, _CITYSCAPES_COLORS)
"""The 19 evaluated classes of Cityscapes, which GTA5 shares."""

SYNTHIA_19 = LabelSpace(
    _CITYSCAPES_NAMES,
    _CITYSCAPES_COLORS,
    {
        "mIoU-16": _without("terrain", "truck", "train"),
        "mIoU-13": _without("terrain", "truck", "train", "wall", "fence", "pole"),
    },
)
"""The 19 classes with the two means that papers report for SYNTHIA, which lacks three of them."""

ROBOTCAR_9 = LabelSpace(
    ("sky", "person", "two-wheel", "automobile", "sign", "light", "building", "sidewalk", "road"),
    (
        (70, 130, 180), (220, 20, 60), (119, 11, 32), (0, 0, 142), (220, 220, 0), (250, 170, 30),
        (70, 70, 70), (244, 35, 232), (128, 64, 128),
    ),
)  # fmt: skip
"""The nine classes of Oxford RobotCar as annotated for domain adaptation."""

CITYSCAPES_IDS: Mapping[int, int] = MappingProxyType(
    {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
     28: 15, 31: 16, 32: 17, 33: 18}
)  # fmt: skip
"""Raw id -> class of Cityscapes labelIds files, and of GTA5, which uses the same ids."""

SYNTHIA_IDS: Mapping[int, int] = MappingProxyType(
    {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15,
     20: 16, 12: 17, 11: 18}
)  # fmt: skip
"""Raw id (first channel of the 16-bit PNG) -> class of SYNTHIA-RAND-CITYSCAPES."""

ROBOTCAR_IDS: Mapping[int, int] = MappingProxyType(
    {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 10: 7, 11: 8, 12: 8, 13: 8, 14: 8, 17: 8}
)
"""Raw id (first channel of the RGBA PNG) -> class of the RobotCar annotations."""

CITYSCAPES_TO_ROBOTCAR: Mapping[str, str | None] = MappingProxyType(
    dict.fromkeys(_CITYSCAPES_NAMES)
    | {"road": "road", "sidewalk": "sidewalk", "building": "building", "traffic light": "light",
       "traffic sign": "sign", "sky": "sky", "person": "person", "rider": "person", "car": "automobile",
       "truck": "automobile", "bus": "automobile", "motorcycle": "two-wheel", "bicycle": "two-wheel"}
)  # fmt: skip
"""Class map from the 19 classes to the nine of RobotCar; None drops a class to ignored."""


def map_classes(
    ids: Mapping[int, int], own: LabelSpace, wanted: LabelSpace, class_map: Mapping[str, str | None] | None
) -> dict[int, int]:
    """Raw id -> class index in ``wanted``, for a dataset whose own classes are ``own``.

    Args:
        ids: Raw id -> index in ``own``.
        own: The dataset's label space.
        wanted: The scenario's label space.
        class_map: Own class name -> wanted class name, or None to drop the class to ignored. A class that is
            not named keeps its name. None: no class is renamed.

    Raises:
        ValueError: A class is neither mapped nor of the same name in ``wanted``, or the map names a class
            that does not exist.
    """
    mapping = dict(class_map or {})
    for name in mapping:
        own.index(name)
    index: dict[int, int] = {}
    for position, name in enumerate(own.names):
        target = mapping.get(name, name)
        if target is None:
            continue
        if target not in wanted.names:
            raise ValueError(
                f"Class '{name}' has no place in the scenario's classes ({', '.join(wanted.names)}): "
                "map it to one of them, or to null to ignore it, in class_map."
            )
        index[position] = wanted.index(target)
    return {raw: index[position] for raw, position in ids.items() if position in index}


def lookup_table(ids: Mapping[int, int], size: int = 65536) -> NDArray[np.uint8]:
    """Table uint8 [size] that turns raw ids into classes; raw ids that are not named become 255."""
    table = np.full(size, IGNORED, np.uint8)
    for raw, index in ids.items():
        table[raw] = index
    return table
