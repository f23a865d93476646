"""Mapillary Vistas v1.2 and v2.0: JPEG images, and palette PNGs of ids in folders of versions.

The map to the 19 classes is that of VFM-UDA (Englert et al., CVPRW 2024) for v1.2: only what Cityscapes would label so,
the rest is ignored. That for v2.0 gives the successors of the same classes the same place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.label_files import first_found
from hiast.data.io.archives import Archives
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs
from hiast.errors import InputError

Version = Literal["v1.2", "v2.0"]

_V1_2: Mapping[str, tuple[int, ...]] = {
    "road": (13, 24, 41),  # road, lane markings but crosswalks, manholes
    "sidewalk": (2, 15),  # curbs, sidewalks
    "building": (17,),
    "wall": (6,),
    "fence": (3,),
    "pole": (45, 47),  # poles, utility poles
    "traffic light": (48,),
    "traffic sign": (50,),  # fronts
    "vegetation": (30,),
    "terrain": (29,),
    "sky": (27,),
    "person": (19,),
    "rider": (20, 21, 22),  # bicyclists, motorcyclists, others
    "car": (55,),
    "truck": (61,),
    "bus": (54,),
    "train": (58,),  # vehicles on rails
    "motorcycle": (57,),
    "bicycle": (52,),
}
_V2_0: Mapping[str, tuple[int, ...]] = {
    # Road, lane markings (35 to 58) but crosswalks (45, 56), manholes.
    "road": (21, *(raw for raw in range(35, 59) if raw not in (45, 56)), 74),
    "sidewalk": (4, 24),  # curbs, sidewalks
    "building": (27,),
    "wall": (12,),
    "fence": (5,),
    "pole": (85, 88),  # poles, utility poles
    "traffic light": (90, 91, 92, 93, 94, 95),
    "traffic sign": (99, 100, 101, 103),  # fronts: direction, others, parking, temporary
    "vegetation": (64,),
    "terrain": (63,),
    "sky": (61,),
    "person": (30, 31),  # persons, groups
    "rider": (32, 33, 34),  # bicyclists, motorcyclists, others
    "car": (108,),
    "truck": (114,),
    "bus": (107,),
    "train": (111,),  # vehicles on rails
    "motorcycle": (110,),
    "bicycle": (105,),
}


def _by_id(table: Mapping[str, tuple[int, ...]]) -> Mapping[int, int]:
    return MappingProxyType({raw: CITYSCAPES_19.index(name) for name, raws in table.items() for raw in raws})


MAPILLARY_IDS: Mapping[Version, Mapping[int, int]] = MappingProxyType(
    {"v1.2": _by_id(_V1_2), "v2.0": _by_id(_V2_0)}
)
"""Version -> raw id -> class, of the 66 ids of v1.2 (0 to 65) and the 124 of v2.0 (0 to 123)."""

_COUNTS: Mapping[Version, int] = {"v1.2": 66, "v2.0": 124}
_FOLDERS: Mapping[Split, str] = {"train": "training", "val": "validation"}


def list_mapillary(
    data_root: Path | str, split: Split, *, version: Version = "v1.2", labeled: bool = True
) -> Listing:
    """One split of Mapillary Vistas.

    Args:
        data_root: Folder that holds ``mapillary/training`` and ``mapillary/validation``.
        split: "train" or "val".
        version: Version of the labels. Those of "v1.2" lie in ``v1.2/labels``, or in ``labels`` in archives of that
            version; those of "v2.0" in ``v2.0/labels``.
        labeled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or there is no such version.
    """
    if version not in get_args(Version):
        raise InputError(
            f"Mapillary Vistas: version is '{version}': choose {' or '.join(get_args(Version))}."
        )
    root, folder = Path(data_root) / "mapillary", _FOLDERS[split]
    labels = [f"{folder}/{version}/labels/{{name}}.png"]
    if version == "v1.2":
        labels.append(f"{folder}/labels/{{name}}.png")
    name = f"Mapillary Vistas {split}"
    pairs, orphans = make_pairs(
        root, f"{folder}/images/{{name}}.jpg", first_found([root], labels) if labeled else None, name
    )
    ids = MAPILLARY_IDS[version]
    return Listing(
        name=name,
        pairs=pairs,
        ids=ids,
        classes=CITYSCAPES_19,
        decode=read_ids,
        void=frozenset(range(_COUNTS[version])) - ids.keys(),
        orphans=orphans,
    )


class MapillaryDataModule(DatasetDataModule):
    """Mapillary Vistas: 18,000 and 2,000 images of many cameras and sizes, at least 1920 x 1080 pixels.

    Args:
        *args: As of ``DatasetDataModule``.
        version: Version of the labels, "v1.2" or "v2.0".
        **options: As of ``DatasetDataModule``.

    Examples:
        >>> from hiast.scenes import write_mapillary
        >>> _ = write_mapillary("data", 2, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = MapillaryDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "Mapillary Vistas"
    own_classes = CITYSCAPES_19
    archives = Archives(
        "mapillary",
        advice="Unpack the archive of Mapillary Vistas by hand so that DATA_ROOT/mapillary/training/images is there.",
    )

    def __init__(self, *args: Any, version: Version = "v1.2", **options: Any) -> None:
        super().__init__(*args, **options)
        self.version = version

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_mapillary(self.data_root, split, version=self.version, labeled=labeled)
