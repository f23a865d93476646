"""Drawn scenes in the layout of GTA5."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hiast.scenes.look import GAME
from hiast.scenes.writers.encode import CLASS_COLORS, LABEL_IDS, image_png, palette_label
from hiast.scenes.writers.shots import Shot, Size, write_shots

_STREAM = 1


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
    label = partial(palette_label, table=LABEL_IDS, colors=CLASS_COLORS)
    shots = [
        Shot(
            (seed, _STREAM, index),
            {f"images/{index + 1:05d}.png": image_png, f"labels/{index + 1:05d}.png": label},
        )
        for index in range(count)
    ]
    return write_shots(Path(data_root) / "GTA5", shots, size, GAME)
