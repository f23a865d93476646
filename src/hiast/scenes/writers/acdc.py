"""Drawn scenes in the layout of ACDC: fog, night, rain and snow."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from hiast.scenes.look import CAMERA, Look
from hiast.scenes.writers.encode import LABEL_IDS, TRAIN_IDS, gray_label, image_png
from hiast.scenes.writers.shots import Encode, Shot, Size, write_shots

_STREAM = 5
_NORMAL = replace(CAMERA, layout=replace(CAMERA.layout, border=0.0))

NIGHT = replace(
    _NORMAL, gamma=2.4, contrast=0.75, saturation=0.6, white_balance=(1.1, 0.95, 0.8), noise=7.0, vignette=0.4
)
"""Dark, noisy and yellow: the look of ACDC's and Dark Zurich's nights."""

CONDITIONS: dict[str, Look] = {
    "fog": replace(_NORMAL, haze=0.03, contrast=0.7, saturation=0.6),
    "night": NIGHT,
    "rain": replace(_NORMAL, haze=0.012, shadow=0.1, gamma=1.25, saturation=0.7, blur=0.006),
    "snow": replace(_NORMAL, haze=0.015, shadow=0.1, gamma=0.75, saturation=0.4),
}
"""Condition -> look."""


def write_acdc(data_root: Path | str, train: int, val: int, size: Size = (108, 192), seed: int = 0) -> Path:
    """Write ``acdc/{rgb_anon,gt}/{fog,night,rain,snow}/{train,val}/GOPRNNNN/*`` with labelIds and labelTrainIds PNGs.

    Beside each scene lies its reference in normal conditions (``train_ref`` or ``val_ref``), as in the genuine data,
    and each condition has an image to test on, without label.

    Args:
        data_root: Folder of the datasets; made if it does not exist.
        train: Number of scenes to train on of each condition; they have labels too, as in the genuine data.
        val: Number of scenes to validate on of each condition.
        size: Height and width in pixels.
        seed: Which scenes; the same arguments always write the same bytes.

    Returns:
        The dataset's folder.

    Raises:
        InputError: The folder holds files that were not drawn here.
    """
    shots = []
    for place, condition in enumerate(CONDITIONS):
        for stream, split, count in ((0, "train", train), (1, "val", val), (2, "test", 1)):
            for index in range(count):
                key = (seed, _STREAM, place, stream, index)
                shots += _shots(key, condition, split, f"GOPR{100 + 10 * stream + place:04d}", index)
    return write_shots(Path(data_root) / "acdc", shots, size, _NORMAL)


def _shots(seed: tuple[int, ...], condition: str, split: str, sequence: str, index: int) -> list[Shot]:
    """The scene in its condition, and its reference."""
    stem = f"{sequence}/{sequence}_frame_{3 * index + 1:06d}"
    files: dict[str, Encode] = {f"rgb_anon/{condition}/{split}/{stem}_rgb_anon.png": image_png}
    if split != "test":
        label = f"gt/{condition}/{split}/{stem}_gt"
        files[f"{label}_labelIds.png"] = partial(gray_label, table=LABEL_IDS)
        files[f"{label}_labelTrainIds.png"] = partial(gray_label, table=TRAIN_IDS)
    reference: dict[str, Encode] = {f"rgb_anon/{condition}/{split}_ref/{stem}_rgb_ref_anon.png": image_png}
    return [Shot(seed, files, look=CONDITIONS[condition]), Shot((*seed, 1), reference)]
