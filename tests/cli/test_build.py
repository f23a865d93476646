"""From a configuration to objects: what a checkpoint may build, what a run needs, and where it writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hiast.data
from hiast.classes import LabelSpace
from hiast.cli import train
from hiast.cli.build import build_classes, build_target, existing
from hiast.cli.build_needs import run_of
from hiast.cli.build_stages import build_stages
from hiast.cli.config import compose
from hiast.cli.eval import _write, split
from hiast.errors import InputError
from hiast.evaluation.metrics import Scores

TWO = LabelSpace(names=("road", "sky"), colors=((1, 2, 3), (4, 5, 6)))


def target(**more: object) -> dict:
    """What a checkpoint says of its target."""
    return {
        "_target_": "hiast.data.FolderDataModule",
        "data_root": "data",
        "images": "train/{name}.png",
        "val_images": "val/a.png",
        "val_labels": "val/{name}_label.png",
        "ids": {0: "road", 1: "sky"},
        "names": ["road", "sky"],
        **more,
    }


@pytest.mark.parametrize(
    ("folder", "moved_to"),
    [("data/mine", "elsewhere/mine"), ("data", "elsewhere"), ("/other/place", "elsewhere")],
)
def test_data_of_training_that_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, moved_to: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(moved_to, "val").mkdir(parents=True)
    for name in ("a.png", "a_label.png"):
        Image.new("L", (8, 4)).save(Path(moved_to, "val", name))
    trained = {"data_root": "data", "data": {"target": target(data_root=folder)}}
    assert Path(build_target(trained, TWO, "elsewhere", 0).data_root) == Path(moved_to)


@pytest.mark.parametrize(
    "node",
    [
        target(_target_="hiast.data.VideoDataModule"),
        target(_target_="hiast.data.datasets.folder.FolderDataModule"),
        target(_target_="hiast.data.__class__"),
        target(_target_="pathlib.Path"),
        target(_target_="xhiast.data.FolderDataModule"),
        target(_target_=None),
        target(class_map={"_target_": "os.getcwd"}),
        target(data_root="${oc.env:HOME}"),
    ],
)
def test_a_checkpoint_builds_nothing_but_readers(node: dict) -> None:
    with pytest.raises(InputError, match="name your scenario too"):
        build_target({"data_root": "data", "data": {"target": node}}, TWO, None, 0)


def test_the_datasets_that_only_read() -> None:
    kinds = {name: getattr(hiast.data, name) for name in hiast.data.__all__ if name.endswith("DataModule")}
    readers = {name for name, kind in kinds.items() if getattr(kind, "reads_only", False)}
    assert readers == {
        f"{name}DataModule" for name in ("GTA5", "SYNTHIA", "Cityscapes", "RobotCar", "Folder")
    }


def test_an_unknown_key_in_a_checkpoint_is_named() -> None:
    trained = {"data_root": "data", "data": {"target": target(label="x")}}
    with pytest.raises(InputError, match=r"data\.target\.label: there is no such key"):
        build_target(trained, TWO, None, 0)


def test_memory_is_that_of_one_device() -> None:
    words = ["trainer.devices=4", "source_only.batch_size=32", "source_only.accumulate_grad_batches=2"]
    words += [
        "data.num_workers=3",
        "pseudo_label.size=[64,128]",
        "+self_training.by_round.3.labels.size=[100,200]",
    ]
    config = compose("train", ["+scenario=gta5_cityscapes", *words])
    run = run_of(config, build_classes(config), build_stages(config), 7)
    assert run.batch_size == 32 // 4 // 2
    assert run.workers == 4 * (2 + 2 + 3)
    assert run.label_size == (100, 200)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["pseudo_label.policy.alpha=2"], "self_training, round 1, pseudo_label: alpha must be"),
        (["warmup.module.optimizer.lr=-1"], "warmup, module: optimizer: lr is -1"),
        (
            ["self_training.by_round.2.module.optimizer.name=sgd"],
            "self_training, round 2, module: optimizer.name is",
        ),
    ],
)
def test_refusals_of_constructors_name_stage_and_round(words: list[str], wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        build_stages(compose("train", ["+scenario=demo", *words]))
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["self_training.max_steps=7"], 3 * 7),
        (["self_training.max_steps=7", "+self_training.by_round.2.max_steps=9"], 7 + 9 + 7),
        (["self_training.max_steps=7", "self_training.by_round=null", "self_training.rounds=2"], 2 * 7),
    ],
)
def test_online_training_takes_as_many_steps_as_the_rounds_together(words: list[str], steps: int) -> None:
    *_, online = build_stages(compose("train", ["+scenario=demo", "method=dacs", *words]))
    assert [one.max_steps for one in online.rounds] == [steps]


def test_a_bug_in_a_constructor_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("train", ["+scenario=demo", "loss={_target_: test_build.broken}"])
    with pytest.raises(ValueError, match="a bug") as caught:
        build_stages(config)
    assert not isinstance(caught.value, InputError)


def broken(**options: object) -> None:
    raise ValueError("a bug")


def test_runs_that_start_in_the_same_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "now")
    for name in ("HIAST_RUN", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    runs = [train._new_run("demo") for _ in range(3)]
    assert runs == [Path("outputs/demo/now"), Path("outputs/demo/now_2"), Path("outputs/demo/now_3")]
    assert all(run.is_dir() for run in runs)
    # A process that Lightning starts for another device takes part in the run of its parent.
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert train._new_run("demo") == runs[-1] and os.environ["HIAST_RUN"] == str(runs[-1])


@pytest.mark.parametrize(
    ("words", "own", "scenario"),
    [
        (["a.ckpt", "flip=true"], ["a.ckpt", "flip=true"], []),
        (["+scenario=b", "runs/last.ckpt", "loss=iast"], ["runs/last.ckpt"], ["+scenario=b", "loss=iast"]),
        (["scenario=b", "-m", "checkpoint=a=b"], ["-m", "checkpoint=a=b"], ["scenario=b"]),
        (["+scenario=b", "--config-dir=c", "--cfg", "job"], ["--cfg", "job"], ["+scenario=b", "--config-dir=c"]),
        (["+scenario=b", "epoch=3.ckpt"], ["epoch=3.ckpt"], ["+scenario=b"]),
    ],
)  # fmt: skip
def test_words_of_an_evaluation(
    tmp_path, monkeypatch, words: list[str], own: list[str], scenario: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("epoch=3.ckpt").write_text("")
    assert split(words) == (own, scenario)


def test_scores_without_a_value_are_null_in_json(tmp_path: Path) -> None:
    nan = float("nan")
    scores = Scores(np.zeros((2, 2), np.int64), {"road": 0.5, "sky": nan}, {"mIoU-2": nan}, {}, ("sky",), nan)
    _write(tmp_path / "new folder/scores.json", scores)
    text = (tmp_path / "new folder/scores.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "means": {"mIoU-2": None}, "published_means": {}, "pixel_accuracy": None, "iou": {"road": 0.5, "sky": None},
        "absent": ["sky"],
    }  # fmt: skip


def test_a_run_directory_given_as_a_checkpoint_is_its_selected_one(tmp_path: Path) -> None:
    (tmp_path / "run/online/checkpoints").mkdir(parents=True)
    (tmp_path / "run/online/checkpoints/last.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"init_from: .*name the checkpoint in it, .*checkpoints/last\.ckpt"):
        existing(str(tmp_path / "run"), "init_from")
    (tmp_path / "run/selected.ckpt").write_bytes(b"x")
    for name in ("run", "run/selected.ckpt"):
        assert existing(str(tmp_path / name), "init_from") == tmp_path / "run/selected.ckpt"
