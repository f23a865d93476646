"""Checkpoint files: written whole or not at all, plain values only, two names for one file, and which one is best."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_network import CLASSES, TinyNetwork

from hiast.callbacks.checkpoint import AtomicCheckpointIO, StageCheckpoint, is_better, link_or_copy
from hiast.callbacks.schedule import ValidationSchedule
from hiast.training import SourceOnlyModule

NAN = math.nan


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files cannot grow beyond 10,000 bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_file_and_says_which(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(10)}, path)
    old = path.read_bytes()
    with pytest.raises(OSError, match=r"last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(100_000)}, path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_objects_are_not_loaded(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "a.ckpt")
    with pytest.raises(Exception, match="weights_only"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt", weights_only=False)


@pytest.mark.parametrize("links", [True, False])
def test_the_second_name_keeps_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, last)
    link_or_copy(last, best)
    AtomicCheckpointIO().save_checkpoint({"step": 2}, last)
    link_or_copy(best, best.with_name("again.ckpt"))
    link_or_copy(best, best.with_name("again.ckpt"))  # both are names of one file already
    assert not list(best.parent.glob(".*.part"))
    assert [torch.load(path)["step"] for path in (last, best)] == [2, 1]


@pytest.mark.parametrize(
    ("mean", "best", "better"),
    [(0.2, None, True), (0.2, 0.1, True), (0.2, 0.2, False), (0.1, 0.2, False), (0.2, NAN, True), (NAN, None, False),
     (NAN, 0.1, False), (NAN, NAN, False), (0.0, None, True)],
)  # fmt: skip
def test_the_best_mean_is_never_nan(mean: float, best: float | None, better: bool) -> None:
    assert is_better(mean, best) is better


def test_a_mean_of_nothing_does_not_stand_in_the_way_of_later_ones(tmp_path: Path) -> None:
    """The first validation meets none of the reported classes."""
    schedule = ValidationSchedule(1)
    callback = StageCheckpoint(tmp_path, schedule)
    module = SourceOnlyModule(TinyNetwork(), CLASSES, max_steps=4)
    saved = []
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn="fit"), is_global_zero=True,
        save_checkpoint=lambda path, weights_only: (saved.append(path.name), path.touch()),
    )  # fmt: skip
    for mean in (NAN, 0.25, NAN, 0.2, 0.3):
        module.scores = SimpleNamespace(means={"mIoU": mean})
        callback.on_validation_end(trainer, module)
    assert saved == ["last.ckpt", "best.ckpt", "last.ckpt", "last.ckpt", "best.ckpt"]
    assert callback.best == 0.3
