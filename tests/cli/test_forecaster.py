"""A run shows what it will need, says afterwards what it has needed, and what would fit when memory ends."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from own_data import WORDS, write_conf, write_data

from hiast.cli.build import build_classes, build_network
from hiast.cli.build_needs import build_needs
from hiast.cli.build_stages import build_stages
from hiast.cli.command import run_command
from hiast.cli.config import compose
from hiast.cli.forecast import Images, image_costs, stage_works
from hiast.cli.hardware import settle
from hiast.cli.train import train
from hiast.training import WarmupModule


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_conf(tmp_path)
    write_data(tmp_path / "data")


def run(*words: str) -> int:
    return run_command(train, "train", "", [*WORDS, "pictures=0", "run=run", *words])


def works(*words: str, done: dict[str, int] | None = None):
    config = compose("train", [*WORDS, *words])
    classes = build_classes(config)
    network = build_network(config, classes)
    costs = image_costs(config, network, half=False, stages=build_stages(config))
    return {
        work.name: work for work in stage_works(config, classes, network, costs, Images(5, 3, 2), done or {})
    }


def test_before_and_after_a_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hiast")
    assert run("stages=[source_only]") == 0
    before, after = (
        next(m for m in caplog.messages if m.startswith(word)) for word in ("Estimate:", "Needed:")
    )
    assert "of the memory of the machine" in before and "source_only" in before and "warmup" not in before
    assert "(estimated" in after
    needs = json.loads(Path("run/needs.json").read_text())
    assert {"memory", "disk", "seconds"} == needs.keys()
    assert 0.3 < needs["memory"]["estimated"] / needs["memory"]["needed"] < 3
    caplog.clear()
    assert run("stages=[source_only]") == 0  # A finished run needs nothing more.
    assert not any(message.startswith("Needed:") for message in caplog.messages)


def test_views_of_the_stages() -> None:
    found = works("self_training.module.source_weight=1.0", "trainer.devices=2")
    assert [len(found[name].trained) for name in ("source_only", "warmup", "self_training")] == [1, 2, 2]
    assert [len(found[name].passive) for name in found] == [0, 0, 1]
    assert all(work.batch == 1 for work in found.values())
    assert found["self_training"].weights > found["source_only"].weights


def test_online_stages_follow_self_training() -> None:
    found = works(
        "method=mic", "self_training.max_steps=7", "online.max_steps=null", "online.batch_size=null"
    )
    assert found["online"].steps == 7 and found["online"].batch == 2
    assert len(found["online"].trained) == 3
    config = compose(
        "train", [*WORDS, "method=mic", "online.max_steps=null", "online.batch_size=null", "run=run"]
    )
    settle(config, build_classes(config))
    needs, _ = build_needs(config, build_classes(config), [])
    assert any("checkpoints" in need.what for need in needs)


def test_images_that_are_only_looked_at() -> None:
    # Validation, and with it target statistics; the round's labels.
    common = {"source_only": 3, "warmup": 3, "self_training": 3 + 5}
    assert {name: work.looked_at for name, work in works("selection.images=0").items()} == common
    # Target images as they are, in three views and by the teacher; validation images; source images twice.
    measured = 4 * 5 + 3 + 2 * 1
    words = ["selection.images=4", "selection.source_images=1"]
    # Target statistics are one more candidate of the first stage.
    assert {name: work.looked_at for name, work in works(*words).items()} == {
        "source_only": 3 + 2 * measured, "warmup": 3 + measured, "self_training": 3 + 5 + measured,
    }  # fmt: skip
    found = works(*words, "stages=[online]", "method=adapt", "init_from=x.ckpt", "online.max_steps=2")
    # The start and two mixtures of statistics; teacher and student at two looks and at the end.
    looked_at = found["online"].looked_at
    assert looked_at == 3 + (1 + 2 + 2 * 3) * measured


def test_finished_rounds_are_left_out() -> None:
    assert list(works(done={"source_only": 1, "warmup": 1})) == ["self_training"]


def failing(make: Callable[[], Exception]):
    """A step that fails as torch does where memory ends."""

    def training_step(self: object, batch: object, batch_idx: int) -> None:
        raise make()

    return training_step


@pytest.mark.parametrize(
    ("kind", "text", "place"),
    [
        (torch.cuda.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2 GiB.", "memory of the GPU"),
        (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried", "memory of the machine"),
    ],
)
def test_the_end_of_memory_is_one_sentence_with_settings(kind, text, place, monkeypatch, capsys) -> None:
    trains = WarmupModule.training_step
    monkeypatch.setattr(WarmupModule, "training_step", failing(lambda: kind(text)))
    assert run("source_only.batch_size=2", "warmup.batch_size=4") == 1
    output = capsys.readouterr().err.strip().splitlines()[-1]
    assert output.startswith(f"The {place} is too small: warmup.accumulate_grad_batches=2")
    assert "rerun the same command with these settings" in output
    gc.collect()  # The run that has failed still locks its directory.
    with monkeypatch.context() as patch:
        patch.setattr(WarmupModule, "training_step", trains)
        assert run("source_only.batch_size=2", "warmup.batch_size=4", "warmup.accumulate_grad_batches=2") == 0


def test_another_error_keeps_its_traceback(monkeypatch) -> None:
    monkeypatch.setattr(WarmupModule, "training_step", failing(lambda: RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        run("stages=[source_only,warmup]")
