"""When the processes of a run agree whether one of them was asked to stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from small_network import CLASSES, TinyNetwork, settings

from hiast.callbacks import GracefulShutdown, ValidationSchedule
from hiast.training import SourceOnlyModule


def agreements(
    monkeypatch: pytest.MonkeyPatch, device: str, processes: int, accumulate: int = 1
) -> list[int]:
    """Batches after which the processes of a stage of 12 steps ask each other."""
    module = SourceOnlyModule(
        TinyNetwork(), CLASSES, optimizer=settings(), max_steps=12, accumulate_grad_batches=accumulate
    )
    monkeypatch.setattr(SourceOnlyModule, "device", torch.device(device))
    asked: list[int] = []

    def ask(value: bool, all: bool) -> bool:
        asked.append(module.batches_done)
        return value

    trainer: Any = SimpleNamespace(
        world_size=processes, strategy=SimpleNamespace(reduce_boolean_decision=ask), enable_validation=False
    )
    stop = GracefulShutdown(ValidationSchedule(100))
    for batch in range(1, module.batches + 1):
        module._batches_before = batch
        stop.on_train_batch_end(trainer, module, None, None, 0)
    stop.asked = True
    with pytest.raises(SIGTERMException):
        stop.on_train_batch_end(trainer, module, None, None, 0)
    return asked[:-1] if asked else asked


def test_accelerators_agree_after_every_fifth_step_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agreements(monkeypatch, "cuda", 4) == [5, 10, 12]
    assert agreements(monkeypatch, "cuda", 4, accumulate=2) == [10, 20, 24]


def test_processes_on_a_cpu_agree_after_every_step_and_one_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert agreements(monkeypatch, "cpu", 2) == list(range(1, 13))
    assert agreements(monkeypatch, "cpu", 2, accumulate=2) == list(range(2, 25, 2))
    assert agreements(monkeypatch, "cuda", 1) == []
