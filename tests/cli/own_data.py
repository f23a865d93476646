"""A user's own data and configuration files, as small as they can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("road", "building", "sky")

SOURCE = """_target_: hiast.data.FolderDataModule
data_root: ${data_root}/source
name: own_source
images: images/{name}.png
labels: labels/{name}.png
names: [road, building, sky]
ids: {0: road, 1: building, 2: sky}
class_map: null
"""

TARGET = """_target_: hiast.data.FolderDataModule
data_root: ${data_root}/target
name: own_target
images: images/{name}.png
val_images: val/images/{name}.png
val_labels: val/labels/{name}.png
"""

SCENARIO = """# @package _global_
defaults:
  - /dataset@data.source: own_source
  - /dataset@data.target: own_target
  - override /trainer: cpu

name: own
classes:
  _target_: hiast.data.datasets.folder.label_space
  names: [road, building, sky]
validation: {size: [32, 64]}
data:
  num_workers: 0
  source_crop: {_target_: hiast.data.FixedScaleCrop, height: 32, width: 64, resized_height: 32, resized_width: 64}
  target_crop: {_target_: hiast.data.FixedScaleCrop, height: 32, width: 64, resized_height: 32, resized_width: 64}
backbone: {pretrained: null, layers: [1, 1, 1, 1], width: 4}
source_only: {max_steps: 2, batch_size: 2}
warmup: {max_steps: 2, batch_size: 2}
self_training: {rounds: 1, max_steps: 2, batch_size: 2}
"""

WORDS = ["--config-dir", "conf", "+scenario=own"]
"""Words that choose the scenario in the folder of ``write_conf``."""


def write_conf(root: Path, source: str = SOURCE, target: str = TARGET, scenario: str = SCENARIO) -> None:
    """Write the folder ``conf`` of a user below ``root``."""
    files = {
        "dataset/own_source.yaml": source, "dataset/own_target.yaml": target, "scenario/own.yaml": scenario,
    }  # fmt: skip
    for name, text in files.items():
        path = root / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def write_data(root: Path, images: int = 3) -> None:
    """Write images and labels of both sides below ``root``."""
    rng = np.random.default_rng(0)
    for folder in ("source", "target", "target/val"):
        for kind in ("images", "labels"):
            if (folder, kind) == ("target", "labels"):
                continue
            (root / folder / kind).mkdir(parents=True, exist_ok=True)
        for index in range(images):
            ids = np.sort(rng.integers(0, 3, (32, 64)), axis=0).astype(np.uint8)
            rgb = np.stack([80 * ids] * 3, -1) + rng.integers(0, 30, (32, 64, 3)).astype(np.uint8)
            Image.fromarray(rgb).save(root / folder / "images" / f"{index}.png")
            if folder != "target":
                Image.fromarray(ids).save(root / folder / "labels" / f"{index}.png")
