"""Generators of the smallest inputs that show what people reported: drawn pictures and a user's three YAML files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

import hiast.data
from hiast.data import DatasetDataModule
from hiast.data.datasets.own_classes import label_space
from hiast.errors import InputError
from hiast.inspection.dry_run import of_start
from hiast.inspection.file_set import find_part, summarize
from hiast.inspection.findings import Finding, of_domains
from hiast.inspection.scan import scan

NAMES = ("ground", "wall", "air", "thing")
COLORS = ((90, 60, 30), (120, 120, 120), (80, 140, 200), (200, 30, 60))
HEIGHT, WIDTH = 32, 64

IDS = "ids: {0: ground, 1: wall, 2: air, 3: thing}\n"
NAMED = "names: [ground, wall, air, thing]\n"
SOURCE = f"""_target_: hiast.data.FolderDataModule
data_root: ${{data_root}}/sim
name: sim
images: images/{{name}}.png
labels: labels/{{name}}.png
{NAMED}{IDS}class_map: null
"""
TARGET = f"""_target_: hiast.data.FolderDataModule
data_root: ${{data_root}}/camera
name: camera
images: images/{{name}}.png
val_images: val/images/{{name}}.png
val_labels: val/labels/{{name}}.png
{NAMED}{IDS}class_map: null
"""
SCENARIO = """# @package _global_
defaults:
  - /dataset@data.source: mine_source
  - /dataset@data.target: mine_target
  - override /trainer: cpu

name: mine
classes:
  _target_: hiast.data.datasets.folder.label_space
  names: [ground, wall, air, thing]
validation: {size: [32, 64], every_n_steps: 1000}
checkpoint_every_n_steps: 100
log_every_n_steps: 1
pictures: 0
selection: {images: 0}
data:
  num_workers: 0
  source_crop: {_target_: hiast.data.RandomSizedCrop, height: 32, width: 64, min_height: 20, max_height: 32}
  target_crop: {_target_: hiast.data.RandomSizedCrop, height: 32, width: 64, min_height: 20, max_height: 32}
backbone: {pretrained: null, layers: [1, 1, 1, 1], width: 4}
source_only: {max_steps: 1, batch_size: 2}
warmup: {max_steps: 1, batch_size: 2}
self_training: {rounds: 1, max_steps: 1, batch_size: 2}
"""

Paint = Callable[[NDArray[np.uint8], Path], None]
"""Writes a label map uint8 [H, W] to a file."""


@dataclass
class Answer:
    """What a command has said.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def ready(self) -> bool:
        """Whether the check finds nothing in the way of a training."""
        return self.code == 0 and "Ready for training." in self.out

    @property
    def sentence(self) -> str:
        """The one sentence of refused input."""
        assert self.code == 2, self
        last = self.err.splitlines()[-1]
        assert "Traceback" not in self.err
        return last


def scene(seed: int, height: int = HEIGHT, width: int = WIDTH) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A drawn picture uint8 [H, W, 3] and its ids uint8 [H, W]."""
    rng = np.random.default_rng(seed)
    ids = np.full((height, width), 2, np.uint8)
    horizon = int(height * rng.uniform(0.4, 0.6))
    ids[horizon:] = 0
    for kind in (1, 1, 3):
        left, tall = int(rng.integers(width * 3 // 4)), int(rng.integers(height // 6 + 1, height // 3 + 2))
        ids[max(0, horizon - tall) : horizon, left : left + width // 4] = kind
    ids[horizon : horizon + max(2, height // 6), width // 3 : width // 2] = 3
    noise = rng.normal(0, 9, (height, width, 3))
    rgb = np.clip(np.array(COLORS)[ids] + noise, 0, 255).astype(np.uint8)
    return rgb, ids


def save(path: Path, pixels: NDArray[Any], **options: Any) -> None:
    """Write a picture; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


class Project:
    """A user's folder: ``data`` and ``my_conf``.

    Args:
        root: An empty folder.
        images: Images on each side.
    """

    def __init__(self, root: Path, images: int = 3) -> None:
        self.root = root
        self.write_conf()
        for index in range(images):
            rgb, ids = scene(index)
            save(root / f"data/sim/images/{index}.png", rgb)
            save(root / f"data/sim/labels/{index}.png", ids)
            save(root / f"data/camera/images/{index}.png", scene(100 + index)[0] // 2)
        for index in range(2):
            rgb, ids = scene(200 + index)
            save(root / f"data/camera/val/images/v{index}.png", rgb // 2)
            save(root / f"data/camera/val/labels/v{index}.png", ids)

    def write_conf(self, source: str = SOURCE, target: str = TARGET, scenario: str = SCENARIO) -> None:
        """Write the three YAML files."""
        for kind, name, text in (
            ("dataset", "mine_source", source), ("dataset", "mine_target", target), ("scenario", "mine", scenario),
        ):  # fmt: skip
            self.conf(f"{kind}/{name}").parent.mkdir(parents=True, exist_ok=True)
            self.conf(f"{kind}/{name}").write_text(text, encoding="utf-8")

    def conf(self, name: str) -> Path:
        """A YAML file, such as "dataset/mine_source"."""
        return self.root / f"my_conf/{name}.yaml"

    def module(
        self, side: str, names: Sequence[str] = NAMES, changes: Mapping[str, Any] | None = None
    ) -> DatasetDataModule:
        """The dataset of a side, "source" or "target", as its YAML file describes it.

        Args:
            side: Which one.
            names: Classes of the scenario.
            changes: Keys of the YAML file with other values.
        """
        text = (
            self.conf(f"dataset/mine_{side}")
            .read_text("utf-8")
            .replace("${data_root}", str(self.root / "data"))
        )
        keys = {**yaml.safe_load(text), **(changes or {})}
        target = getattr(hiast.data, keys.pop("_target_").rpartition(".")[2])
        module: DatasetDataModule = target(classes=label_space(names), **keys)
        return module

    def findings(
        self, names: Sequence[str] = NAMES, changes: Mapping[str, Any] | None = None
    ) -> list[Finding]:
        """What ``hiast-data-check`` finds in all files.

        Args:
            names: Classes of the scenario.
            changes: As of ``module``, for both sides.
        """
        source, target = (self.module(side, names, changes) for side in ("source", "target"))
        found, parts = [], []
        for module, domain, split in (
            (source, "source", "train"), (target, "target", "train"), (target, "target", "val"),
        ):  # fmt: skip
            if split == "val" and not module.has_val:
                continue
            try:
                part = find_part(module, domain, split)  # type: ignore[arg-type]
            except InputError as error:
                found.append(Finding("error", f"{domain} {split}", str(error)))
                continue
            parts.append((part, summarize(part, scan(part.listing, threads=1))))
            found += of_start(module, *parts[-1])
        return [*found, *of_domains(parts, source.classes)]

    def repaint(self, paint: Paint, suffix: str = ".png", folder: str = "data/sim/labels") -> None:
        """Write the labels of a folder anew, with another suffix."""
        for path in sorted((self.root / folder).glob("*.png")):
            ids = np.asarray(Image.open(path))
            path.unlink()
            paint(ids, path.with_suffix(suffix))

    def reshoot(self, write: Paint, suffix: str, folder: str = "data/camera/images") -> None:
        """Write the images of a folder anew, in another format."""
        self.repaint(write, suffix, folder)
