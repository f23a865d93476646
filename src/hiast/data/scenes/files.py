"""Drawn scenes as files, in the layout and the encoding in which each dataset is published.

A writer leaves ``drawn_scenes.json`` in its dataset's folder: it tells drawn files from real ones, which are never
overwritten, and makes writing the same scenes again a matter of reading that file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

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
from hiast.data.scenes.ids import Id
from hiast.data.scenes.look import CAMERA, GAME, OVERCAST, SIMULATOR
from hiast.data.scenes.scene import draw_ids
from hiast.errors import InputError
from hiast.files import write_atomically

Size = tuple[int, int]
Files = Iterator[tuple[str, bytes]]

_MARKER = "drawn_scenes.json"
_TRAIN_CITIES, _VAL_CITIES = ("aachen", "bremen", "ulm"), ("frankfurt", "munster")
# One stream of random numbers per dataset and split, so that no two of them show the same streets.
_GTA5, _SYNTHIA, _CITYSCAPES, _ROBOTCAR = 1, 2, 3, 4


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

    def files() -> Files:
        table = _table({int(Id.LANE_MARK): Id.ROAD})
        for index in range(count):
            image, ids = draw_ids((seed, _GTA5, index), size, GAME)
            yield f"images/{index + 1:05d}.png", _encode_rgb(image)
            yield f"labels/{index + 1:05d}.png", _encode_palette(table[ids])

    return _write(Path(data_root) / "GTA5", {"count": count, "size": list(size), "seed": seed}, files)


def write_synthia(data_root: Path | str, count: int, size: Size = (128, 256), seed: int = 0) -> Path:
    """Write ``SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/{RGB,GT/LABELS}/NNNNNNN.png``.

    Labels are 16-bit PNGs of three channels: class id in red, instance in green, blue empty. Terrain, trucks and
    trains are not drawn. Arguments, result and errors as for ``write_gta5``.
    """

    def files() -> Files:
        table = _table(
            {raw: _SYNTHIA_RAW[index] for raw, index in CITYSCAPES_IDS.items()} | _SYNTHIA_VOID, others=0
        )
        for index in range(count):
            image, ids = draw_ids((seed, _SYNTHIA, index), size, SIMULATOR)
            yield f"RAND_CITYSCAPES/RGB/{index:07d}.png", _encode_rgb(image)
            yield f"RAND_CITYSCAPES/GT/LABELS/{index:07d}.png", _encode_synthia(table[ids], _instances(ids))

    settings = {"count": count, "size": list(size), "seed": seed}
    return _write(Path(data_root) / "SYNTHIA_RAND_CITYSCAPES", settings, files)


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

    def files() -> Files:
        table = _table({int(Id.LANE_MARK): Id.ROAD})
        for stream, split, cities, count in (
            (0, "train", _TRAIN_CITIES, train),
            (1, "val", _VAL_CITIES, val),
        ):
            for index in range(count):
                image, ids = draw_ids((seed, _CITYSCAPES, stream, index), size, CAMERA)
                city = cities[index % len(cities)]
                stem = f"{split}/{city}/{city}_{index // len(cities):06d}_000019"
                yield f"leftImg8bit/{stem}_leftImg8bit.png", _encode_rgb(image)
                yield f"gtFine/{stem}_gtFine_labelIds.png", _encode_grey(table[ids])

    settings = {"train": train, "val": val, "size": list(size), "seed": seed}
    return _write(Path(data_root) / "cityscapes", settings, files)


def write_robotcar(
    data_root: Path | str, train: int, val: int, size: Size = (96, 128), seed: int = 0
) -> Path:
    """Write ``robotcar/{train,val}/*.png``, and ``robotcar/anno/*.png`` (RGBA, id in red) for val only.

    Arguments, result and errors as for ``write_cityscapes``.
    """

    def files() -> Files:
        raw = {index: value for value, index in reversed(list(ROBOTCAR_IDS.items()))}
        nine = map_classes(CITYSCAPES_IDS, CITYSCAPES_19, ROBOTCAR_9, CITYSCAPES_TO_ROBOTCAR)
        table = _table(
            {ident: raw[index] for ident, index in nine.items()} | {int(Id.LANE_MARK): 12}, others=0
        )
        for stream, split, count in ((0, "train", train), (1, "val", val)):
            for index in range(count):
                image, ids = draw_ids((seed, _ROBOTCAR, stream, index), size, OVERCAST)
                name = f"{1_400_000_000_000_000 + 10**9 * stream + 62_500 * index}.png"
                yield f"{split}/{name}", _encode_rgb(image)
                if split == "val":
                    yield f"anno/{name}", _encode_rgba(table[ids])

    settings = {"train": train, "val": val, "size": list(size), "seed": seed}
    return _write(Path(data_root) / "robotcar", settings, files)


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


def _encode_rgb(image: NDArray[np.uint8]) -> bytes:
    return _encode(np.ascontiguousarray(image[..., ::-1]))


def _encode_grey(ids: NDArray[np.uint8]) -> bytes:
    return _encode(ids)


def _encode_palette(ids: NDArray[np.uint8]) -> bytes:
    palette = np.zeros((256, 3), np.uint8)
    for raw, index in CITYSCAPES_IDS.items():
        palette[raw] = CITYSCAPES_19.colours[index]
    picture = Image.fromarray(ids)
    picture.putpalette(palette.ravel().tolist())
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _encode_synthia(classes: NDArray[np.uint8], instances: NDArray[np.uint16]) -> bytes:
    # OpenCV takes blue, green, red.
    return _encode(np.stack([np.zeros_like(instances), instances, classes.astype(np.uint16)], axis=2))


def _encode_rgba(ids: NDArray[np.uint8]) -> bytes:
    empty = np.zeros_like(ids)
    return _encode(np.stack([empty, empty, ids, np.full_like(ids, 255)], axis=2))


def _write(
    folder: Path, settings: dict[str, object], files: Callable[[], Iterable[tuple[str, bytes]]]
) -> Path:
    settings = settings | {"drawing": _drawing_version()}
    marker = folder / _MARKER
    if marker.is_file():
        done = json.loads(marker.read_text(encoding="utf-8"))
        if done.get("settings") == settings and done.get("complete"):
            return folder
        for name in done.get("files", []):
            (folder / name).unlink(missing_ok=True)
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files that were not drawn: give another data_root for drawn scenes."
        )
    folder.mkdir(parents=True, exist_ok=True)
    _mark(marker, settings, [], complete=False)
    names: list[str] = []
    try:
        for name, content in files():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
            names.append(name)
    finally:
        # Also after an interruption, so that the next run knows which files it may replace.
        _mark(marker, settings, names, complete=False)
    _mark(marker, settings, names, complete=True)
    return folder


def _mark(marker: Path, settings: dict[str, object], names: list[str], complete: bool) -> None:
    content = {"settings": settings, "complete": complete, "files": names}
    write_atomically(marker, json.dumps(content, indent=1).encode())


def _drawing_version() -> str:
    """Changes with the code that draws, so that scenes of an older version are drawn again."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
