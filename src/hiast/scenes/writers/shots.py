"""Scenes as files. What is drawn is named before it is written, and is never written twice or over real data.

A writer leaves ``drawn_scenes.json`` in its folder. The file lists what was drawn, so that real files are never
overwritten, and writing the same scenes again only reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.scenes.look import Look
from hiast.scenes.scene import draw_ids

Size = tuple[int, int]
"""Height and width in pixels."""
Encode = Callable[[NDArray[np.uint8], NDArray[np.uint8]], bytes]
"""Turns an image uint8 [H, W, 3] and its raw ids uint8 [H, W] into the bytes of one file."""

MARKER = "drawn_scenes.json"


class Shot(NamedTuple):
    """One scene and the files that it becomes.

    Attributes:
        seed: The scene; the first number is the user's, the second that of the dataset, so that no two datasets show
            the same streets.
        files: Path below the dataset's folder -> encoder.
        size: Size of this scene; None: that of the dataset.
        look: Look of this scene; None: that of the dataset.
    """

    seed: tuple[int, ...]
    files: Mapping[str, Encode]
    size: Size | None = None
    look: Look | None = None


def write_shots(folder: Path, shots: Sequence[Shot], size: Size, look: Look) -> Path:
    """Draw scenes and write their files.

    Args:
        folder: The dataset's folder; made if it does not exist.
        shots: The scenes.
        size: Size of scenes that have none of their own.
        look: Look of scenes that have none of their own.

    Returns:
        The folder.

    Raises:
        InputError: The folder holds files that were not drawn here.
    """
    names = [name for shot in shots for name in shot.files]
    plan = {
        "drawing": _drawing_version(),
        "sizes": [list(shot.size or size) for shot in shots],
        "seeds": [list(shot.seed) for shot in shots],
    }
    marker = folder / MARKER
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        is_whole = found == plan | {"files": names, "complete": True}
        if is_whole and all((folder / name).is_file() for name in names):
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
        image, ids = draw_ids(shot.seed, shot.size or size, shot.look or look)
        for name, encode in shot.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, encode(image, ids))
    _mark(marker, plan | {"files": names, "complete": True})
    return folder


def _mark(marker: Path, content: dict[str, Any]) -> None:
    write_atomically(marker, json.dumps(content, indent=1).encode())


def _drawing_version() -> str:
    """A digest of the code that draws and writes, so that scenes of an older version are drawn again."""
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
