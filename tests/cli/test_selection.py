"""The candidates of a run and the one that is selected, as ``hiast-train`` leaves them."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from own_data import TARGET, WORDS, write_conf, write_data
from torch import Tensor

from hiast.callbacks import CandidateKeeper
from hiast.cli.command import run_command
from hiast.cli.train import train
from hiast.training import load_module

SHORT = [
    "data_root=data",
    "pictures=0",
    "selection.source_fraction=0.4",
    "method=adapt",
    "source_only.max_steps=3",
]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, configuration and a run of the first stage alone."""
    folder = tmp_path_factory.mktemp("first")
    write_data(folder / "data", images=5)
    write_conf(folder)
    with contextlib.chdir(folder):
        words = [*WORDS, *SHORT, "stages=[source_only]", "run=first"]
        assert run_command(train, "train", "", words) == 0
    return folder


@pytest.fixture
def trained(first: Path, tmp_path: Path) -> Path:
    """A copy of that run, with its data and configuration beside it."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return tmp_path / "first"


def candidates(folder: Path) -> dict[str, dict[str, Any]]:
    records = json.loads((folder / "candidates.json").read_text())["candidates"]
    return {record["name"]: record for record in records}


def statistics(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Running means and variances of the network of a candidate that is evaluated."""
    network = load_module(folder / "candidates" / f"{name}.ckpt").evaluation_network
    found = dict(network.named_buffers())
    means, variances = (
        torch.cat([value.flatten() for key, value in found.items() if key.endswith(ending)])
        for ending in ("running_mean", "running_var")
    )
    return means, variances


def weights(folder: Path, name: str) -> Tensor:
    network = load_module(folder / "candidates" / f"{name}.ckpt").evaluation_network
    return torch.cat([value.flatten() for value in network.parameters()])


def test_target_statistics_are_candidates_with_the_weights_of_the_start(trained: Path) -> None:
    assert list(candidates(trained)) == ["source_only", "target_statistics-0.5", "target_statistics"]
    for record in candidates(trained).values():
        assert 0 <= record["scores"]["source_miou"] <= 1 and 0 <= record["scores"]["colored_miou"] <= 1
    start, half, full = (statistics(trained, name) for name in candidates(trained))
    for own, mixed, target in zip(start, half, full, strict=True):
        assert not torch.allclose(own, target)
        torch.testing.assert_close(mixed, (own + target) / 2)
    for name in candidates(trained):
        torch.testing.assert_close(weights(trained, name), weights(trained, "source_only"))


def test_a_checkpoint_to_start_from_gives_the_same_candidates(trained: Path, run: Callable) -> None:
    words = ["stages=[online]", "online.max_steps=4", "online.batch_size=2", "selection.looks=1"]
    start = f"init_from={trained}/source_only/checkpoints/last.ckpt"
    code, _, err = run("train", *WORDS, *SHORT, *words, start, "run=second")
    assert code == 0, err
    second = trained.parent / "second"
    assert list(candidates(second)) == [
        *("start", "target_statistics-0.5", "target_statistics"),
        *("online-00002", "online-00002-student", "online", "online-student"),
    ]
    for here, there in (
        ("start", "source_only"),
        *((n, n) for n in ("target_statistics-0.5", "target_statistics")),
    ):
        for found, wanted in zip(statistics(second, here), statistics(trained, there), strict=True):
            torch.testing.assert_close(found, wanted)
    assert not torch.equal(weights(second, "online"), weights(second, "online-student"))
    # The teacher is not compared with itself, which would always agree, but with every student.
    compared = {n: each["scores"]["teacher_miou"] is not None for n, each in candidates(second).items()}
    assert [n for n, is_compared in compared.items() if is_compared] == [
        "online-00002-student",
        "online-student",
    ]
    chosen = json.loads((second / "selected.json").read_text())
    name = chosen["selected"]["name"]
    selected = load_module(second / "selected.ckpt").evaluation_network
    kept = load_module(second / candidates(second)[name]["checkpoint"]).evaluation_network
    for key, value in selected.state_dict().items():
        torch.testing.assert_close(value, kept.state_dict()[key])
    assert name in chosen["reason"] or "least adapted" in chosen["reason"]


@pytest.mark.parametrize("method", ["hiast", "dacs"])
def test_a_teacher_that_was_not_trained_yet_is_not_compared(
    trained: Path, run: Callable, method: str
) -> None:
    stage = "self_training" if method == "hiast" else "online"
    words = [f"stages=[{stage}]", f"method={method}", "self_training.rounds=1", "online.max_steps=2"]
    words += ["selection.looks=0", f"init_from={trained}/source_only/checkpoints/last.ckpt"]
    code, _, err = run("train", *WORDS, *SHORT, *words, "online.batch_size=2", "run=second")
    assert code == 0, err
    second = trained.parent / "second"
    compared = [n for n, each in candidates(second).items() if each["scores"]["teacher_miou"] is not None]
    assert compared == [stage]
    labeled = json.loads((second / "candidates_labeled.json").read_text())["candidates"]
    measured = [name for name, each in labeled.items() if each["teacher"] is not None]
    assert measured == ([stage] if method == "hiast" else [])


def test_it_is_known_which_candidates_were_trained_on_the_source_alone(trained: Path, run: Callable) -> None:
    assert [name for name, record in candidates(trained).items() if record["source_trained"]] == [
        "source_only"
    ]
    start = f"init_from={trained}/source_only/checkpoints/last.ckpt"
    code, _, err = run("train", *WORDS, *SHORT, "stages=[source_only]", start, "run=more")
    assert code == 0, err
    more = trained.parent / "more"
    assert [name for name, record in candidates(more).items() if record["source_trained"]] == [
        "start",
        "source_only",
    ]
    words = ["stages=[online]", "online.max_steps=2", "online.batch_size=2", "selection.looks=0"]
    code, _, err = run("train", *WORDS, *SHORT, *words, start, "run=second")
    assert code == 0, err
    second = trained.parent / "second"
    assert [name for name, record in candidates(second).items() if record["source_trained"]] == ["start"]
    start = f"init_from={second}/online/checkpoints/last.ckpt"
    code, _, err = run("train", *WORDS, *SHORT, "stages=[source_only]", start, "run=third")
    assert code == 0, err
    third = candidates(trained.parent / "third")
    assert [name for name, record in third.items() if record["source_trained"]] == ["source_only"]


def test_a_finished_run_measures_nothing_again(trained: Path, run: Callable) -> None:
    before = {path: path.stat().st_mtime_ns for path in (trained / "candidates").glob("*.ckpt")}
    table = (trained / "candidates.json").read_bytes()
    code, _, err = run("train", *WORDS, *SHORT, "stages=[source_only]", "run=first")
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (trained / "candidates.json").read_bytes() == table


def test_a_run_that_ends_while_its_end_is_measured_measures_it_when_resumed(
    tmp_path: Path, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without validation images nothing else calls the callbacks once the steps are done."""
    write_data(tmp_path / "data", images=5)
    write_conf(tmp_path, target=TARGET.partition("val_images")[0])
    words = [*WORDS, *SHORT, "stages=[source_only]", "run=first"]
    with monkeypatch.context() as patch:
        patch.setattr(CandidateKeeper, "keep_end", _fails)
        with pytest.raises(RuntimeError, match="the machine stops here"):
            run("train", *words)
    gc.collect()  # The run that has failed still locks its directory.
    assert (tmp_path / "first/source_only/checkpoints/last.ckpt").is_file()
    code, _, err = run("train", *words)
    assert code == 0, err
    assert list(candidates(tmp_path / "first")) == [
        "source_only",
        "target_statistics-0.5",
        "target_statistics",
    ]
    assert (tmp_path / "first/selected.ckpt").is_file()


@pytest.mark.parametrize("place", ["compare", "_keep"])
def test_a_run_that_is_killed_while_a_look_is_measured_has_all_candidates_in_the_end(
    tmp_path: Path, run: Callable, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    write_data(tmp_path / "data", images=5)
    write_conf(tmp_path)
    words = [
        *WORDS,
        *SHORT,
        "source_only.max_steps=1",
        "online.max_steps=2",
        "online.batch_size=2",
        "selection.looks=1",
        "checkpoint_every_n_steps=1",
    ]
    code, _, err = run("train", *words, "run=whole")
    assert code == 0, err
    method, calls = getattr(CandidateKeeper, place), []

    def dies(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == {"_keep": 2, "compare": 7}[place]:  # at the look; at the end
            _fails()
        method(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CandidateKeeper, place, dies)
        with pytest.raises(RuntimeError, match="the machine stops here"):
            run("train", *words, "run=killed")
    gc.collect()  # The run that has failed still locks its directory.
    code, _, err = run("train", *words, "run=killed")
    assert code == 0, err
    one, other = candidates(tmp_path / "killed"), candidates(tmp_path / "whole")
    assert list(one) == list(other) and "online-00001" in one
    for name, record in one.items():
        assert record["scores"]["ensemble_miou"] == other[name]["scores"]["ensemble_miou"] is not None


def test_source_images_can_be_left_out(tmp_path: Path, run: Callable) -> None:
    write_data(tmp_path / "data", images=5)
    write_conf(tmp_path)
    words = ["stages=[source_only]", "selection.source_images=0", "run=none"]
    code, _, err = run("train", *WORDS, *SHORT, *words)
    assert code == 0, err
    assert all(record["scores"]["source_miou"] is None for record in candidates(tmp_path / "none").values())


def _fails(*_: object) -> None:
    raise RuntimeError("the machine stops here")


def test_a_network_that_gives_nan_is_said(
    tmp_path: Path, run: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    write_data(tmp_path / "data", images=5)
    write_conf(tmp_path)
    words = [
        "stages=[source_only]",
        "source_only.max_steps=1",
        "source_only.module.optimizer.lr=1e25",
        "run=nan",
    ]
    code, _, err = run("train", *WORDS, *SHORT, *words)
    assert code == 0, err
    assert any("values that are not finite on target images" in message for message in caplog.messages)
    assert json.loads((tmp_path / "nan/selected.json").read_text())["selected"]["name"] == "source_only"
