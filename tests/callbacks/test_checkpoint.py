"""Checkpoint files: whole or the old one, plain values only, and two names for one file."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hiast.callbacks.checkpoint import AtomicCheckpointIO, link_or_copy


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
    assert [torch.load(path)["step"] for path in (last, best)] == [2, 1]
