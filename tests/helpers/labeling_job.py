"""A small labeling job: noise images, and a network that is a fixed function of the pixels."""

from __future__ import annotations

import numpy as np
import torch

from hiast.errors import InputError
from hiast.pseudo_labels import Argmax, ClassBalanced, Constant, InstanceAdaptive, generate_round

CLASSES = 4
SIZE = (12, 16)
NAMES = [f"city_{index % 3}/frame_{index:02d}" for index in range(11)]
POLICIES = {
    "adaptive": InstanceAdaptive(CLASSES),
    "balanced": ClassBalanced(CLASSES, 0.3),
    "sampled": ClassBalanced(CLASSES, 0.3, 4),
    "constant": Constant(CLASSES, 0.7),
    "argmax": Argmax(CLASSES),
}


def read_image(index):
    """Images of two sizes, so that some are resized."""
    size = SIZE if index % 2 else (SIZE[0] * 2, SIZE[1] + 5)
    return np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)


BROKEN = (3, 4, 9)
"""Images that ``some_are_broken`` does not read."""


def some_are_broken(index):
    """``read_image`` for a set with files that cannot be read."""
    if index in BROKEN:
        raise InputError(f"frame_{index:02d}.png cannot be read.")
    return read_image(index)


def predict(images):
    pixels = images.float() / 255
    logits = torch.stack([pixels[:, 0] * 6, pixels[:, 1] * 5, pixels[:, 2] * 4, pixels.mean(1) * 7], 1)
    return logits.softmax(1).max(1)


def label(directory, policy="adaptive", **changes):
    arguments = {
        "directory": directory,
        "names": NAMES,
        "read_image": read_image,
        "predict": predict,
        "policy": POLICIES.get(policy, policy),
        "size": SIZE,
        "seed": 888,
        "identity": {"checkpoint": "ab12", "config": {"scales": [1.0]}},
    }
    return generate_round(**arguments | changes)


def contents(directory):
    """Files of a round; the lock file, which is always empty, is none of them."""
    found = {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    found.pop(".lock", None)
    return found
