"""The share of plain source images that an online stage finds before it starts."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_network import CLASSES, bare_trainer
from target_images import Images, module_of

from hiast import OnlineModule
from hiast.callbacks import FindPlainShare
from hiast.callbacks.find_plain_share import confusion
from hiast.errors import InputError
from hiast.online import ColorTransfer
from hiast.training.views import StepKey, Views

DARK, BRIGHT = 0, 3
"""Classes of the scenes below."""


class Scenes(Images):
    """Scenes of a dark and a bright half."""

    def __init__(self, *, dark: int, bright: int) -> None:
        self.colors = dark, bright

    def read_image(self, index: int) -> np.ndarray:
        image = np.empty((32, 64, 3), np.uint8)
        image[:, :32], image[:, 32:] = self.colors
        return image + np.random.default_rng(index).integers(0, 20, image.shape, np.uint8)

    def read_label(self, index: int) -> np.ndarray:
        label = np.full((32, 64), DARK, np.uint8)
        label[:, 32:] = BRIGHT
        return label


class NeverRead:
    """A set that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class Source:
    has_val = True

    def val_dataset(self) -> Scenes:
        return Scenes(dark=40, bright=200)

    def train_dataset(self) -> Any:
        return NeverRead()


class UnsplitSource(Source):
    has_val = False

    def val_dataset(self) -> Any:
        return NeverRead()

    def train_dataset(self) -> Scenes:
        return Scenes(dark=40, bright=200)


class ByBrightness(torch.nn.Module):
    """Logits for a dark and a bright pixel, split in the middle of 0..255."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        for name in ("mean", "std", "upsampling"):
            setattr(self, name, getattr(network, name))

    def coarse(self, images: torch.Tensor) -> torch.Tensor:
        logits = images.new_zeros(len(images), len(CLASSES), *images.shape[2:])
        bright = images.mean(1).sub((0.5 - 0.45) / 0.225)
        logits[:, DARK], logits[:, BRIGHT] = -bright, bright
        return torch.nn.functional.avg_pool2d(logits, 2)


def started(target: Scenes, source: Any = None, plain: Any = "found") -> OnlineModule:
    """A module that tells dark from bright, and whose training is about to start."""
    module = module_of(OnlineModule, views=Views(plain=plain), evaluate="teacher")
    module.teacher.network = ByBrightness(module.network)
    trainer = bare_trainer()
    trainer.datamodule = SimpleNamespace(source=source or Source(), labeling_images=lambda: target)  # type: ignore[attr-defined]
    FindPlainShare().on_fit_start(trainer, module)
    return module


@pytest.mark.parametrize("source", [Source(), UnsplitSource()], ids=["held out", "training"])
def test_colors_that_do_not_confuse_leave_all_images_plain(caplog, source):
    with caplog.at_level(logging.INFO):
        module = started(Scenes(dark=30, bright=210), source)
    assert module.views.plain == 1
    assert "loss sees 100 % of the source images as they are" in caplog.text


def test_colors_that_confuse_leave_half_of_them_plain(caplog):
    with caplog.at_level(logging.INFO):
        module = started(Scenes(dark=160, bright=220))
    assert module.views.plain == 0.5
    assert "sees 50 % of" in caplog.text


def test_all_processes_together_look_at_the_images_of_one():
    seen: dict[int, list[Any]] = {}
    for world_size in (1, 3):
        seen[world_size] = []
        for rank in range(world_size):
            module = module_of(OnlineModule)

            def read_out(images: torch.Tensor, size: tuple[int, int], world_size: int = world_size) -> Any:
                seen[world_size].append(images.sum(dtype=torch.float64).item())
                return SimpleNamespace(labels=torch.zeros(1, *size, dtype=torch.long))

            module.read_out = read_out
            target = Scenes(dark=90, bright=160)
            data = SimpleNamespace(source=Source(), labeling_images=lambda target=target: target)
            trainer = SimpleNamespace(
                datamodule=data,
                global_rank=rank,
                world_size=world_size,
                precision_plugin=bare_trainer().precision_plugin,
            )
            confusion(trainer, module)  # type: ignore[arg-type]
    assert len(seen[1]) == 2 * 7
    assert sorted(seen[1]) == sorted(seen[3])


def test_a_given_share_stays():
    assert started(NeverRead(), NeverRead(), plain=0.25).views.plain == 0.25  # type: ignore[arg-type]


def test_the_mode_of_the_module_and_its_statistics_stay():
    module = module_of(OnlineModule, views=Views(plain="found")).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = bare_trainer()
    trainer.datamodule = SimpleNamespace(source=Source(), labeling_images=lambda: Scenes(dark=90, bright=200))
    FindPlainShare().on_fit_start(trainer, module)
    assert module.training and module.network.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_run_that_resumes_keeps_its_share():
    module = started(Scenes(dark=160, bright=220))
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    again = module_of(OnlineModule, views=Views(plain="found"))
    again.on_load_checkpoint(checkpoint)
    assert again.views.plain == 0.5
    FindPlainShare().on_fit_start(bare_trainer(), again)  # looks at nothing
    assert again.views.plain == 0.5
    given = module_of(OnlineModule, views=Views(plain=0.7))
    given.on_load_checkpoint(checkpoint)
    assert given.views.plain == 0.7


def test_a_share_that_was_not_found_is_an_error_in_the_first_step():
    views = Views(style=ColorTransfer(), plain="found")
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"needs the callback hiast\.callbacks\.FindPlainShare"):
        views.source_view(images, images, StepKey(0, 1, 0, 0))
    with pytest.raises(InputError, match="plain is 'auto'; choose found, or give a share from 0 to 1"):
        Views(plain="auto")  # type: ignore[arg-type]
