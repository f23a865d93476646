"""Drawn scenes as files, in the layout and the encoding in which each dataset is published.

A writer leaves ``drawn_scenes.json`` in its dataset's folder: it tells drawn files from real ones, which are never
overwritten, and makes writing the same scenes again a matter of reading that file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import (
    CITYSCAPES_19,
    CITYSCAPES_IDS,
    CITYSCAPES_TO_ROBOTCAR,
    ROBOTCAR_9,
    ROBOTCAR_IDS,
    SYNTHIA_IDS,
    map_classes,
)
from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.scenes.ids import Id
from hiast.scenes.look import CAMERA, GAME, OVERCAST, SIMULATOR, Look
from hiast.scenes.scene import draw_ids

Size = tuple[int, int]
Encode = Callable[[NDArray[np.uint8], NDArray[np.uint8]], bytes]
"""Turns an image uint8 [H, W, 3] and its raw ids uint8 [H, W] into the bytes of one file."""

_MARKER = "drawn_scenes.json"
_TRAIN_CITIES, _VAL_CITIES = ("aachen", "bremen", "ulm"), ("frankfurt", "munster")
# One stream of random numbers per dataset and split, so that no two of them show the same streets.
_GTA5, _SYNTHIA, _CITYSCAPES, _ROBOTCAR = 1, 2, 3, 4


class _Shot(NamedTuple):
    """One scene and the files that it becomes."""

    seed: tuple[int, ...]
    files: Mapping[str, Encode]


def write_gta5(data_root: Path | str, count: int, size: Size = (128, 256), seed: int = 0) -> Path:
    """Write ``GTA5/images/NNNNN.png`` and ``GTA5/labels/NNNNN.png`` (palette PNG of raw ids).

    Args:
        data_root: Folder of the datasets; made if it does not exist.
        count: Number of scenes.
        size: Height and width in pixels.
        seed: Which scenes; the same arguments always write the same bytes.

    Returns:
        The dataset's folder.

    Raises:
        InputError: The folder holds files that were not drawn here.
    """
    label = partial(_encode_palette, table=_table({int(Id.LANE_MARK): Id.ROAD}))
    shots = [
        _Shot(
            (seed, _GTA5, index),
            {f"images/{index + 1:05d}.png": _encode_image, f"labels/{index + 1:05d}.png": label},
        )
        for index in range(count)
    ]
    return _write(Path(data_root) / "GTA5", shots, size, GAME)


def write_synthia(data_root: Path | str, count: int, size: Size = (128, 256), seed: int = 0) -> Path:
    """Write ``SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/{RGB,GT/LABELS}/NNNNNNN.png``.

    Labels are 16-bit PNGs of three channels: class id in red, instance in green, blue empty. Terrain, trucks and
    trains are not drawn. Arguments, result and errors as for ``write_gta5``.
    """
    known = {raw: _SYNTHIA_RAW[index] for raw, index in CITYSCAPES_IDS.items()}
    label = partial(_encode_synthia, table=_table(known | _SYNTHIA_VOID, others=0))
    shots = [
        _Shot(
            (seed, _SYNTHIA, index),
            {
                f"RAND_CITYSCAPES/RGB/{index:07d}.png": _encode_image,
                f"RAND_CITYSCAPES/GT/LABELS/{index:07d}.png": label,
            },
        )
        for index in range(count)
    ]
    return _write(Path(data_root) / "SYNTHIA_RAND_CITYSCAPES", shots, size, SIMULATOR)


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
    label = partial(_encode_gray, table=_table({int(Id.LANE_MARK): Id.ROAD}))
    shots = []
    for stream, split, cities, count in ((0, "train", _TRAIN_CITIES, train), (1, "val", _VAL_CITIES, val)):
        for index in range(count):
            city = cities[index % len(cities)]
            stem = f"{split}/{city}/{city}_{index // len(cities):06d}_000019"
            files: dict[str, Encode] = {
                f"leftImg8bit/{stem}_leftImg8bit.png": _encode_image,
                f"gtFine/{stem}_gtFine_labelIds.png": label,
            }
            shots.append(_Shot((seed, _CITYSCAPES, stream, index), files))
    return _write(Path(data_root) / "cityscapes", shots, size, CAMERA)


def write_robotcar(
    data_root: Path | str, train: int, val: int, size: Size = (96, 128), seed: int = 0
) -> Path:
    """Write ``robotcar/{train,val}/*.png``, and ``robotcar/anno/*.png`` (RGBA, id in red) for val only.

    Arguments, result and errors as for ``write_cityscapes``.
    """
    # Several raw ids mean road; the first of each class is written.
    raw = {index: value for value, index in reversed(list(ROBOTCAR_IDS.items()))}
    nine = map_classes(CITYSCAPES_IDS, CITYSCAPES_19, ROBOTCAR_9, CITYSCAPES_TO_ROBOTCAR)
    known = {ident: raw[index] for ident, index in nine.items()}
    label = partial(_encode_rgba, table=_table(known | {int(Id.LANE_MARK): 12}, others=0))
    shots = []
    for stream, split, count in ((0, "train", train), (1, "val", val)):
        for index in range(count):
            name = f"{1_400_000_000_000_000 + 10**9 * stream + 62_500 * index}.png"
            files: dict[str, Encode] = {f"{split}/{name}": _encode_image}
            if split == "val":
                files[f"anno/{name}"] = label
            shots.append(_Shot((seed, _ROBOTCAR, stream, index), files))
    return _write(Path(data_root) / "robotcar", shots, size, OVERCAST)


_SYNTHIA_RAW = {index: raw for raw, index in SYNTHIA_IDS.items()}
# SYNTHIA's own void kinds: parking slot, road work, lane mark.
_SYNTHIA_VOID = {int(Id.PARKING): 13, int(Id.STATIC): 14, int(Id.DYNAMIC): 14, int(Id.LANE_MARK): 22}
_INSTANCES = (Id.PERSON, Id.RIDER, Id.CAR, Id.TRUCK, Id.BUS, Id.TRAIN, Id.MOTORCYCLE, Id.BICYCLE)


def _table(changed: dict[int, int], others: int | None = None) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8) if others is None else np.full(256, others, np.uint8)
    for ident, raw in changed.items():
        table[ident] = raw
    return table


def _instances(ids: NDArray[np.uint8]) -> NDArray[np.uint16]:
    things = np.zeros(ids.shape, np.uint16)
    for ident in _INSTANCES:
        _, parts = cv2.connectedComponents((ids == ident).astype(np.uint8), connectivity=4)
        things[parts > 0] = (parts[parts > 0] + int(things.max())).astype(np.uint16)
    return things


def _encode(pixels: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1])


def _encode_image(image: NDArray[np.uint8], ids: NDArray[np.uint8]) -> bytes:
    return _encode(np.ascontiguousarray(image[..., ::-1]))


def _encode_gray(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    return _encode(table[ids])


def _encode_palette(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    palette = np.zeros((256, 3), np.uint8)
    for raw, index in CITYSCAPES_IDS.items():
        palette[raw] = CITYSCAPES_19.colors[index]
    picture = Image.fromarray(table[ids])
    picture.putpalette(palette.ravel().tolist())
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _encode_synthia(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    instances = _instances(ids)
    # OpenCV takes blue, green, red.
    return _encode(np.stack([np.zeros_like(instances), instances, table[ids].astype(np.uint16)], axis=2))


def _encode_rgba(image: NDArray[np.uint8], ids: NDArray[np.uint8], table: NDArray[np.uint8]) -> bytes:
    empty = np.zeros_like(ids)
    return _encode(np.stack([empty, empty, table[ids], np.full_like(ids, 255)], axis=2))


def _write(folder: Path, shots: list[_Shot], size: Size, look: Look) -> Path:
    names = [name for shot in shots for name in shot.files]
    plan = {"drawing": _drawing_version(), "size": list(size), "seeds": [list(shot.seed) for shot in shots]}
    marker = folder / _MARKER
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        if found == plan | {"files": names, "complete": True}:
            return folder
        for name in found["files"]:
            (folder / name).unlink(missing_ok=True)
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files that were not drawn: give another data_root for drawn scenes."
        )
    folder.mkdir(parents=True, exist_ok=True)
    # The files are named before they are written: whatever interrupts this, the next run knows what is drawn.
    _mark(marker, plan | {"files": names, "complete": False})
    for shot in shots:
        image, ids = draw_ids(shot.seed, size, look)
        for name, encode in shot.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, encode(image, ids))
    _mark(marker, plan | {"files": names, "complete": True})
    return folder


def _mark(marker: Path, content: dict[str, Any]) -> None:
    write_atomically(marker, json.dumps(content, indent=1).encode())


def _drawing_version() -> str:
    """A digest of the code that draws, so that scenes of an older version are drawn again."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
