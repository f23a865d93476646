"""What a run directory accepts when a run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hiast.errors import InputError
from hiast.run import RunDirectory

CONFIG = {
    "data_root": "data",
    "seed": 1,
    "stages": ["source_only", "warmup", "self_training"],
    "loss": {"kld": 0.1},
    "source_only": {"module": {"_target_": "a"}},
    "warmup": {"steps": 3, "module": {"_target_": "b"}},
    "data": {
        "num_workers": 4,
        "cache_folder": "data/cache",
        "source": {"data_root": "data", "weights": [1, 2]},
    },
    "logger": {"loggers": []},
    "self_training": {"module": {"_target_": "c"}, "by_round": {"2": {"steps": 5}}},
}


def leave_behind(path: Path, *stages: str) -> None:
    for stage in stages:
        checkpoint = path / stage / "checkpoints/last.ckpt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.touch()


def begin(path: Path, config: object) -> None:
    directory = RunDirectory(path)
    directory.begin(yaml.safe_dump(config), 1)
    directory.unlock()


def changed(path: tuple[str, ...], value: object) -> dict:
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data_root",), "elsewhere"),
        (("data", "num_workers"), 0),
        (("data", "cache_folder"), "elsewhere/cache"),
        (("data", "source", "data_root"), "elsewhere"),
        (("logger", "loggers"), [{"_target_": "x"}]),
    ],
)
def test_what_changes_no_result_may_change(tmp_path: Path, path: tuple[str, ...], value: object) -> None:
    begin(tmp_path, CONFIG)
    leave_behind(tmp_path, "source_only", "warmup", "self_training")
    begin(tmp_path, changed(path, value))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == changed(path, value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("seed",), 2, "seed was 1 and is 2"),
        (("data", "source", "weights"), [1, 3], r"data.source.weights was \[1, 2\] and is \[1, 3\]"),
        (("self_training", "by_round", "2", "steps"), 6, "self_training.by_round.2.steps was 5 and is 6"),
        (("self_training", "rounds"), 3, "self_training.rounds was nothing and is 3"),
        (("loss", "kld"), 0.2, "loss.kld was 0.1 and is 0.2"),
        (
            ("stages",),
            ["warmup", "self_training"],
            r"stages was \['source_only', 'warmup', 'self_training'\]",
        ),
    ],
)
def test_what_changes_results_may_not(
    tmp_path: Path, path: tuple[str, ...], value: object, said: str
) -> None:
    begin(tmp_path, CONFIG)
    leave_behind(tmp_path, "source_only", "warmup", "self_training")
    with pytest.raises(InputError, match=said):
        begin(tmp_path, changed(path, value))
    begin(tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("begun", "path", "value"),
    [
        ((), ("seed",), 2),
        (("source_only",), ("warmup", "steps"), 4),
        (("source_only",), ("stages",), ["source_only", "self_training"]),
        (("source_only", "warmup"), ("loss", "kld"), 0.2),
        (("source_only", "warmup"), ("self_training", "by_round", "2", "steps"), 6),
        (("source_only", "warmup"), ("stages",), ["source_only", "warmup"]),
    ],
)
def test_what_no_stage_has_used_yet_may_change(
    tmp_path: Path, begun: tuple[str, ...], path: tuple[str, ...], value: object
) -> None:
    begin(tmp_path, CONFIG)
    leave_behind(tmp_path, *begun)
    begin(tmp_path, changed(path, value))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == changed(path, value)


@pytest.mark.parametrize(
    ("begun", "path", "value"),
    [
        (("source_only",), ("seed",), 2),
        (("source_only", "warmup"), ("warmup", "steps"), 4),
        (("source_only", "warmup"), ("stages",), ["source_only", "self_training"]),
    ],
)
def test_what_a_stage_has_used_may_not_change(
    tmp_path: Path, begun: tuple[str, ...], path: tuple[str, ...], value: object
) -> None:
    begin(tmp_path, CONFIG)
    leave_behind(tmp_path, *begun)
    with pytest.raises(InputError, match="another configuration"):
        begin(tmp_path, changed(path, value))


def test_a_run_without_warmup_goes_on(tmp_path: Path) -> None:
    config = changed(("warmup", "module"), {"steps": 4})
    begin(tmp_path, config)
    leave_behind(tmp_path, "source_only", "self_training")
    begin(tmp_path, config)
    with pytest.raises(InputError, match="stages was"):
        begin(tmp_path, CONFIG)


def test_every_start_is_recorded(tmp_path: Path) -> None:
    for _ in range(2):
        begin(tmp_path, CONFIG)
    starts = json.loads((tmp_path / "environment.json").read_text())["starts"]
    assert [start["seed"] for start in starts] == [1, 1]
    assert {"command", "git", "packages", "python", "time", "torch_threads"} <= starts[1].keys()
