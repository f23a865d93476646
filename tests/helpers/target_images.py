"""Target images and a datamodule that need no files, for the tests of the callbacks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytorch_lightning as pl
from small_network import CLASSES, Batches, TinyNetwork, batches
from torch.utils.data import DataLoader

from hiast.training import AdaptationModule

SIZE = (32, 64)
"""At which images are labeled and validated."""
SEEDED = threading.Lock()
"""Held while a network is made from a seed: threads share torch's random numbers."""


def module_of(kind: type[AdaptationModule], seed: int = 0, **settings: Any) -> Any:
    with SEEDED:
        network = TinyNetwork(seed=seed)
    for parameter in network.head_parameters():
        parameter.data.mul_(10)  # outputs as far apart as those of a trained network
    return kind(network, CLASSES, **({"max_steps": 4, "validation_size": SIZE} | settings))


class Images:
    """Target images of a size that is not the validation's."""

    names = tuple(f"city/{index}" for index in range(7))

    def __len__(self) -> int:
        return len(self.names)

    def read_image(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (40, 72, 3), np.uint8)


class Data(pl.LightningDataModule):
    """What the callbacks ask of a datamodule."""

    def labeling_images(self) -> Images:
        return Images()

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Batches(batches(4)), batch_size=None)
