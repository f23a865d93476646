"""The mIoU of every candidate on labeled target images, to be shown beside its label-free scores.

A real adaptation does not have these labels. The scores go to a file of their own, and nothing that chooses reads it.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor, nn

from hiast.callbacks.sample_images import labeled_batches, labeled_images
from hiast.data import AdaptationDataModule
from hiast.files import write_json
from hiast.report.files import FORMAT, LABELED, read_record
from hiast.selection.measure import measure_source
from hiast.selection.samples import evenly_spaced
from hiast.training import AdaptationModule, HIASTModule


class LabeledScores:
    """Measures candidates on at most ``count`` labeled target images, evenly spaced, into ``candidates_labeled.json``.

    Args:
        folder: The run directory.
        count: Images at most; 0 measures nothing.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.path = folder / LABELED
        self.count = count

    def measure(self, trainer: pl.Trainer, module: AdaptationModule, name: str, step: int) -> None:
        """Measure the network that the module evaluates now and, in self-training, the teacher; all processes call it.

        Args:
            trainer: Runs the fit.
            module: Module in eval mode.
            name: Name of the candidate.
            step: Its optimizer steps over all stages.
        """
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if not self.count or not data.target.has_val:
            return
        miou = self._miou(trainer, module, data, module.evaluation_network)
        teacher = math.nan
        if isinstance(module, HIASTModule) and module.batches_done:  # Before, it is a copy of the start.
            teacher = self._miou(trainer, module, data, module.teacher.network)
        if trainer.is_global_zero:
            total = len(data.target.val_dataset())
            record = read_record(self.path) or {"format": FORMAT, "candidates": {}}
            record |= {
                "mean": next(iter(module.classes.reported)),
                "images": len(evenly_spaced(total, self.count)),
                "of": total,
            }
            record["candidates"][name] = {"step": step, "miou": miou, "teacher": teacher}
            write_json(self.path, record)

    def _miou(
        self, trainer: pl.Trainer, module: AdaptationModule, data: AdaptationDataModule, network: nn.Module
    ) -> float:
        def predict(images: Tensor) -> Tensor:
            with trainer.precision_plugin.forward_context():
                logits: Tensor = network(module.normalize(images))
            return logits.float()

        images = labeled_images(trainer, module, data.target.val_dataset(), self.count)
        miou, _ = measure_source(predict, labeled_batches(images), module.classes, device=module.device)
        return miou
