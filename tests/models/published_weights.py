"""The weights that tests/golden/README.md describes by a recipe instead of a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch


def key_list(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    return [(key, tuple(shape)) for key, shape in json.loads(path.read_text())]


def published_weights(path: Path, seed: int) -> dict[str, torch.Tensor]:
    return {
        key: torch.from_numpy(np.asarray(draw(key, shape, np.random.default_rng([seed, number])))).clone()
        for number, (key, shape) in enumerate(key_list(path))
    }


def draw(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif key.endswith("running_var"):
        values = 0.5 + rng.random(shape)
    elif len(shape) == 4:
        values = rng.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))
        values = values * (0.01 if "aspp" in key else 1)
    elif key.endswith("weight"):
        values = (0.3 if "bn3" in key else 1) * (0.7 + 0.6 * rng.random(shape))
    else:
        values = 0.1 * rng.standard_normal(shape)
    return np.asarray(values, np.float32)
