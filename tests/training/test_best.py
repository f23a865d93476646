"""``best.ckpt``: kept for every label space, by the first mean that it reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from small_network import Batches, TinyNetwork, batches, draw, settings
from torch.utils.data import DataLoader

from hiast.callbacks import StageCheckpoint
from hiast.callbacks.schedule import ValidationSchedule
from hiast.classes import CITYSCAPES_19, ROBOTCAR_9, SYNTHIA_19, LabelSpace
from hiast.training import SourceOnlyModule
from hiast.training.checkpoint import network_weights, read_checkpoint


class Keep(pl.Callback):
    """The first mean and the weights at each validation."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, dict[str, torch.Tensor]]] = []

    def on_validation_end(self, trainer, pl_module) -> None:
        weights = {key: value.clone() for key, value in pl_module.network.state_dict().items()}
        self.seen.append((next(iter(pl_module.scores.means.values())), weights))


@pytest.mark.parametrize(
    "classes", [CITYSCAPES_19, SYNTHIA_19, ROBOTCAR_9], ids=lambda space: str(len(space.reported))
)
def test_best_is_kept_for_every_label_space(classes: LabelSpace, tmp_path: Path):
    made = SourceOnlyModule(TinyNetwork(len(classes)), classes, optimizer=settings(0.1), max_steps=6)
    keep, schedule = Keep(), ValidationSchedule(2)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=2,
        callbacks=[schedule, StageCheckpoint(tmp_path / "checkpoints", schedule, every=100), keep],
    )
    trainer.fit(
        made,
        DataLoader(Batches(batches(6)), batch_size=None),
        DataLoader(Batches([draw(seed, 1) for seed in range(3)]), batch_size=None),
    )
    best = max(keep.seen, key=lambda entry: entry[0])
    assert len(keep.seen) == 3
    assert len({mean for mean, _ in keep.seen}) > 1
    shutil.copy(tmp_path / "checkpoints" / "best.ckpt", tmp_path / "copy.ckpt")
    for name, (_, weights) in (("copy.ckpt", best), ("checkpoints/last.ckpt", keep.seen[-1])):
        found = network_weights(read_checkpoint(tmp_path / name))
        assert all(torch.equal(found[key], value) for key, value in weights.items()), name
