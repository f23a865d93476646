"""Margins that an online stage looks for before it starts."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import pytorch_lightning as pl
from small_network import bare_trainer
from target_images import Data, Images, module_of

from hiast import OnlineModule
from hiast.callbacks import FindMargins
from hiast.errors import InputError
from hiast.online import Margins
from hiast.training.ingredients import from_plain, to_plain


class Bonnets(Images):
    """Coarse scenes of 40 x 72 pixels whose lower 6 rows show the same bonnet."""

    names = tuple(f"city/{index}" for index in range(40))

    def read_image(self, index: int) -> np.ndarray:
        coarse = np.random.default_rng(index).integers(0, 256, (10, 18, 3))
        image = np.kron(coarse, np.ones((4, 4, 1), int)).astype(np.uint8)
        image[-6:] = 30
        return image


class BonnetData(Data):
    def labeling_images(self) -> Images:
        return Bonnets()


def started(margins: object, data: pl.LightningDataModule) -> OnlineModule:
    """A module whose training is about to start."""
    module = module_of(OnlineModule, margins=margins)
    trainer = bare_trainer()
    trainer.datamodule = data  # type: ignore[attr-defined]
    FindMargins().on_fit_start(trainer, module)
    return module


def test_a_bonnet_is_found_and_reported(caplog):
    with caplog.at_level(logging.INFO):
        module = started("found", BonnetData())
    assert module.margins == Margins(bottom=6)
    assert "from 40 target images: 6 rows at the bottom stand still" in caplog.text
    assert from_plain(to_plain(module.margins)) == module.margins


def test_too_few_images_leave_no_margin(caplog):
    with caplog.at_level(logging.INFO):
        module = started("found", Data())
    assert module.margins == Margins() and "7 images are too few" in caplog.text


@pytest.mark.parametrize("margins", [None, Margins(top=3)])
def test_given_margins_stay(margins):
    assert started(margins, BonnetData()).margins == margins


def test_another_word_is_refused():
    with pytest.raises(InputError, match=r"margins is 'auto'; choose found, or give hiast\.online\.Margins"):
        module_of(OnlineModule, margins="auto")
