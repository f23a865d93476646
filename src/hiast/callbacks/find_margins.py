"""Margins of the target's cameras, looked for before online self-training starts."""

from __future__ import annotations

import logging

import pytorch_lightning as pl

from hiast.callbacks.bn_statistics import processes_of
from hiast.data import AdaptationDataModule
from hiast.online import FoundMargins, find_margins
from hiast.pseudo_labels.collectives import all_gather_checked
from hiast.selection.samples import evenly_spaced
from hiast.training import OnlineModule

log = logging.getLogger(__name__)

MOST_IMAGES = 200
"""Target images that are looked at, evenly spaced over the set."""


class FindMargins(pl.Callback):
    """Replaces ``margins="found"`` of an online module by the margins that ``hiast.online.find_margins`` finds.

    What is found follows from the target images alone, so a run that resumes finds the same.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at target images, on rank zero, and tell the user what was found."""
        if not isinstance(pl_module, OnlineModule) or pl_module.margins != "found":
            return
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]

        def look() -> FoundMargins | None:
            if not trainer.is_global_zero:
                return None
            images = data.labeling_images()
            return find_margins(images.read_image(i) for i in evenly_spaced(len(images), MOST_IMAGES))

        found = all_gather_checked(processes_of(trainer), look)[0]
        assert found is not None
        log.info("Margins without pseudo-labels, from %d target images: %s", found.images, found.explanation)
        pl_module.margins = found.margins
