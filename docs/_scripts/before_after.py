"""Draw docs/assets/before_after.png from a run on drawn scenes: ``python docs/_scripts/before_after.py RUN [FILE]``.

RUN is a run directory of ``hiast-train +scenario=demo data_root=DIR run=RUN`` after ``hiast-data-demo data_root=DIR``.
Each row shows a source image, a target image that the run was not trained on, the prediction of the source-only
network, the prediction of the adapted network, and the label. The rows are typical: the gain of these images is closest
to the mean gain.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import CITYSCAPES_19, IGNORED
from hiast.data import CityscapesDataModule, GTA5DataModule
from hiast.evaluation.pictures import Row, Tile, sheet
from hiast.files import write_atomically
from hiast.training import load_module

FILE = Path(__file__).parents[1] / "assets" / "before_after.png"
ROWS = 2
WIDTH = 256
LARGEST = 200_000
"""Bytes of the file at most."""

Labels = NDArray[np.uint8]


def correct_share(prediction: Labels, label: Labels) -> float:
    """Share of the labeled pixels that are predicted correctly."""
    seen = label != IGNORED
    return float((prediction == label)[seen].mean())


def adapted_checkpoint(run: Path) -> Path:
    """The last checkpoint of the last stage that has one."""
    for stage in ("online", "self_training", "warmup"):
        path = run / stage / "checkpoints" / "last.ckpt"
        if path.is_file():
            return path
    raise SystemExit(f"{run} holds no checkpoint of an adapted network.")


def predictions(path: Path, images: list[NDArray[np.uint8]]) -> list[Labels]:
    """Predicted labels of images uint8 [H, W, 3]."""
    module = load_module(path)
    return [found.labels for found in module.predict(images)]


def typical(gains: list[float]) -> list[int]:
    """Indices of the images whose gain is closest to the mean."""
    distances = np.abs(np.asarray(gains) - np.mean(gains))
    return sorted(np.argsort(distances, kind="stable")[:ROWS].tolist())


def samples(dataset: Any) -> tuple[list[NDArray[np.uint8]], list[Labels]]:
    """All images uint8 [H, W, 3] and labels uint8 [H, W] of a dataset."""
    items = [dataset[index] for index in range(len(dataset))]
    images = [item["image"].permute(1, 2, 0).numpy() for item in items]
    return images, [item["label"].numpy().astype(np.uint8) for item in items]


def picture(run: Path) -> NDArray[np.uint8]:
    """The sheet: uint8 [H, W, 3]."""
    root = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data_root"]
    images, labels = samples(CityscapesDataModule(root).val_dataset())
    before = predictions(run / "source_only" / "checkpoints" / "last.ckpt", images)
    after = predictions(adapted_checkpoint(run), images)
    shares = [
        [correct_share(one, label) for one, label in zip(found, labels, strict=True)]
        for found in (before, after)
    ]
    colors = np.asarray([*CITYSCAPES_19.colors, *[(0, 0, 0)] * (256 - len(CITYSCAPES_19))], np.uint8)
    source = GTA5DataModule(root).train_dataset(labeled=False)
    rows = []
    for number, index in enumerate(typical([b - a for a, b in zip(*shares, strict=True)])):
        tiles = [
            Tile(source[number]["image"].permute(1, 2, 0).numpy(), "source image"),
            Tile(images[index], "target image"),
            Tile(colors[before[index]], f"source only: {shares[0][index]:.0%} correct"),
            Tile(colors[after[index]], f"adapted: {shares[1][index]:.0%} correct"),
            Tile(colors[labels[index]], "label"),
        ]
        rows.append(Row(tiles))
    return sheet(rows, CITYSCAPES_19, WIDTH)


def compressed(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file with a palette, small enough for a README.

    Raises:
        SystemExit: It is larger than ``LARGEST``.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    if buffer.tell() > LARGEST:
        raise SystemExit(f"The picture takes {buffer.tell()} bytes, and at most {LARGEST} are wanted.")
    return buffer.getvalue()


def main() -> None:
    """Write the picture."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else FILE
    data = compressed(picture(Path(sys.argv[1])))
    write_atomically(target, data)
    print(f"Wrote {target}: {len(data):,} bytes.")


if __name__ == "__main__":
    main()
