"""Draws the demo's data: a clean game in GTA5's layout, a hazy camera in Cityscapes' layout.

python scripts/draw_demo.py FOLDER [SEED]
"""

from __future__ import annotations

import sys
from pathlib import Path

from hiast.data.scenes import write_cityscapes, write_gta5

SIZE = (128, 256)
SOURCE, TARGET, VALIDATION = 160, 160, 40


def draw(root: Path, seed: int = 888) -> None:
    """Draw both worlds; scenes that are there already are kept."""
    write_gta5(root, SOURCE, SIZE, seed=2 * seed)
    write_cityscapes(root, TARGET, VALIDATION, SIZE, seed=2 * seed + 1)


if __name__ == "__main__":
    print(f"Drawing {SOURCE + TARGET + VALIDATION} scenes into {sys.argv[1]}", flush=True)
    draw(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:3]))
