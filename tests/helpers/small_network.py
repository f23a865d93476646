"""A network of three layers, drawn batches and a trainer without trimmings, for the tests of the stages."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hiast.classes import LabelSpace
from hiast.models import SegmentationNetwork
from hiast.models.network import IMAGENET_MEAN, IMAGENET_STD
from hiast.training import AdaptationModule, OptimizerSettings

CLASSES = LabelSpace(
    ("road", "sky", "car", "person"), ((128, 64, 128), (70, 130, 180), (0, 0, 142), (220, 20, 60))
)
SIZE = 32
"""Side of the images: the smallest that the discriminator's five strides take."""


class TinyNetwork(SegmentationNetwork):
    def __init__(self, num_classes: int = len(CLASSES), seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.num_classes = num_classes
            self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
            self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
            self.head = nn.Conv2d(6, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(self.encoder(images))
        return nn.functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=True)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        return self.encoder.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        return self.head.parameters()


def draw(seed: int, size: int = 2, ignored: float = 0.0) -> dict[str, Any]:
    """Collated samples of one domain; ``strong`` differs from ``image``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (size, 3, SIZE, SIZE)
    label = torch.randint(len(CLASSES), (size, SIZE, SIZE), generator=generator).to(torch.uint8)
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return {
        "image": torch.randint(256, shape, generator=generator).to(torch.uint8),
        "strong": torch.randint(256, shape, generator=generator).to(torch.uint8),
        "label": label,
        "name": [f"{seed}_{i}" for i in range(size)],
    }


def batches(count: int, size: int = 2, ignored: float = 0.0, seed: int = 0) -> list[dict[str, Any]]:
    """Batches of both domains."""
    return [
        {
            "source": draw(1000 * seed + 2 * i, size, ignored),
            "target": draw(1000 * seed + 2 * i + 1, size, ignored),
        }
        for i in range(count)
    ]


def halves(batch: dict[str, Any]) -> list[dict[str, Any]]:
    """A batch divided in two along its first axis."""
    middle = len(batch["source"]["name"]) // 2
    return [
        {domain: {key: value[part] for key, value in sample.items()} for domain, sample in batch.items()}
        for part in (slice(None, middle), slice(middle, None))
    ]


class Batches(Dataset):
    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return copy.deepcopy(self.items[index])


class Recorder(pl.Callback):
    """Learning rates at every step, gradients before it, teacher and student behind it."""

    def __init__(self) -> None:
        self.rates: list[list[list[float]]] = []
        self.gradients: list[list[Tensor]] = []
        self.students: list[dict[str, Tensor]] = []
        self.teachers: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.rates.append([[group["lr"] for group in o.param_groups] for o in trainer.optimizers])
        self.students.append(state(pl_module.network))
        if hasattr(pl_module, "teacher"):
            self.teachers.append(state(pl_module.teacher.network))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.gradients.append(
            [
                p.grad.clone()
                for group in optimizer.param_groups
                for p in group["params"]
                if p.grad is not None
            ]
        )


class SaveAtEnd(pl.Callback):
    """Saves a checkpoint when training ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer, pl_module) -> None:
        trainer.save_checkpoint(self.path)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def fit(module: AdaptationModule, items: Sequence[Any], **trainer: Any) -> Recorder:
    """Train on the given batches, once."""
    recorder = Recorder()
    bare_trainer(**trainer | {"callbacks": [*trainer.get("callbacks", []), recorder]}).fit(
        module, DataLoader(Batches(items), batch_size=None)
    )
    return recorder


def bare_trainer(**more: Any) -> pl.Trainer:
    """A trainer on the CPU that writes and shows nothing."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    return pl.Trainer(**settings | more)


def settings(rate: float = 1e-3, **more: Any) -> OptimizerSettings:
    return OptimizerSettings(lr=rate, **more)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
