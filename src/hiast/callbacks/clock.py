"""How long a run takes, and where the time goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from hiast.callbacks.warn_on_error import warn_on_error
from hiast.files import write_json
from hiast.memory import peak_memory
from hiast.report.files import FORMAT, TIMES, read_record
from hiast.training import AdaptationModule


class Clock(pl.Callback):
    """Keeps ``times.json``: an entry per fit, so per round and start of the program.

    An entry has ``stage``, ``round``, the steps ``from`` and ``to``, ``seconds`` in all and those of ``training``,
    ``validation`` and ``labeling``, ``images`` trained on (per domain), ``devices``, the name of the ``device``, and
    the peak ``memory`` of the device in bytes (on a CPU: of the process).

    Args:
        directory: The run directory.
        batch_size: Images of each domain per optimizer step, over all devices.
    """

    def __init__(self, directory: Path, batch_size: int) -> None:
        self.path = directory / TIMES
        self.batch_size = batch_size
        self._entry: dict[str, Any] = {}
        self._earlier: list[Any] = []
        self._began = self._trained_from = self._validated_from = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Start to count."""
        if not isinstance(pl_module, AdaptationModule) or not trainer.is_global_zero:
            return
        self._began = time.monotonic()
        record = read_record(self.path) or {}
        entries = record.get("fits")
        self._earlier = entries if isinstance(entries, list) else []
        self._entry = {
            "stage": pl_module.stage,
            "round": pl_module.round_number,
            "from": pl_module.steps_done,
            "to": pl_module.steps_done,
            "training": 0.0,
            "validation": 0.0,
            "labeling": 0.0,
            "devices": trainer.world_size,
            "device": _device_name(trainer.strategy.root_device),
        }
        if torch.cuda.is_available() and trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What came before was the labeling of the round, if it has one."""
        self._trained_from = time.monotonic()
        if self._entry:
            self._entry["labeling"] = self._trained_from - self._began

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is counted apart from training."""
        now = time.monotonic()
        self._count("training", self._trained_from, now)
        self._trained_from, self._validated_from = 0.0, now

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is known."""
        now = time.monotonic()
        self._count("validation", self._validated_from, now)
        self._trained_from = now
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the end."""
        self._count("training", self._trained_from, time.monotonic())
        self._write(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write how far it got."""
        if self._trained_from:
            self._count("training", self._trained_from, time.monotonic())
        self._write(trainer, pl_module)

    def _count(self, what: str, began: float, ended: float) -> None:
        if self._entry and began:
            self._entry[what] += ended - began

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self._entry or not isinstance(module, AdaptationModule) or not self.path.parent.is_dir():
            return
        steps = module.steps_done - self._entry["from"]
        self._entry |= {
            "to": module.steps_done,
            "seconds": time.monotonic() - self._began,
            "images": steps * self.batch_size,
            "memory": peak_memory(trainer.strategy.root_device),
        }
        rounded = {
            key: round(value, 2) if isinstance(value, float) else value for key, value in self._entry.items()
        }
        with warn_on_error("The times of the run"):
            write_json(self.path, {"format": FORMAT, "fits": [*self._earlier, rounded]})


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
