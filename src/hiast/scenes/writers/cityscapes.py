"""Drawn scenes in the layout of Cityscapes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hiast.scenes.look import CAMERA
from hiast.scenes.writers.encode import LABEL_IDS, gray_label, image_png
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 3
_TRAIN_CITIES, _VAL_CITIES = ("aachen", "bremen", "ulm"), ("frankfurt", "munster")


def write_cityscapes(
    data_root: Path | str, train: int, val: int, size: Size = (128, 256), seed: int = 0
) -> Path:
    """Write ``cityscapes/{leftImg8bit,gtFine}/{train,val}/CITY/*`` with labelIds PNGs in several cities.

    Args:
        data_root: Folder of the datasets; made if it does not exist.
        train: Number of scenes to train on; they have labels too, as in the genuine data.
        val: Number of scenes to validate on.
        size: Height and width in pixels.
        seed: Which scenes; the same arguments always write the same bytes.

    Returns:
        The dataset's folder.

    Raises:
        InputError: The folder holds files that were not drawn here.
    """
    label = partial(gray_label, table=LABEL_IDS)
    shots = []
    for stream, split, cities, count in ((0, "train", _TRAIN_CITIES, train), (1, "val", _VAL_CITIES, val)):
        for index in range(count):
            city = cities[index % len(cities)]
            stem = f"{split}/{city}/{city}_{index // len(cities):06d}_000019"
            files: dict[str, Encode] = {
                f"leftImg8bit/{stem}_leftImg8bit.png": image_png,
                f"gtFine/{stem}_gtFine_labelIds.png": label,
            }
            shots.append(Shot((seed, _STREAM, stream, index), files))
    return write_shots(Path(data_root) / "cityscapes", shots, size, CAMERA)
