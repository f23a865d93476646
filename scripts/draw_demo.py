"""Draws the demo's data: a clean game in GTA5's layout, a hazy camera in Cityscapes' layout."""

from __future__ import annotations

import sys
from pathlib import Path

from hiast.data.scenes import write_cityscapes, write_gta5

SIZE = (128, 256)

if __name__ == "__main__":
    root = Path(sys.argv[1])
    print(f"Drawing scenes into {root}", flush=True)
    write_gta5(root, 160, SIZE, seed=1)
    write_cityscapes(root, 160, 40, SIZE, seed=2)
