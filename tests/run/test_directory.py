"""What a run directory accepts when a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hiast.errors import InputError
from hiast.run import RunDirectory

CONFIG = {
    "data_root": "data",
    "seed": 1,
    "data": {
        "num_workers": 4,
        "cache_folder": "data/cache",
        "source": {"data_root": "data", "weights": [1, 2]},
    },
    "logger": {"loggers": []},
    "self_training": {"by_round": {"2": {"steps": 5}}},
}


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
    begin(tmp_path, changed(path, value))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == changed(path, value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("seed",), 2, "seed was 1 and is 2"),
        (("data", "source", "weights"), [1, 3], r"data.source.weights was \[1, 2\] and is \[1, 3\]"),
        (("self_training", "by_round", "2", "steps"), 6, "self_training.by_round.2.steps was 5 and is 6"),
        (("self_training", "rounds"), 3, "self_training.rounds was nothing and is 3"),
    ],
)
def test_what_changes_results_may_not(
    tmp_path: Path, path: tuple[str, ...], value: object, said: str
) -> None:
    begin(tmp_path, CONFIG)
    with pytest.raises(InputError, match=said):
        begin(tmp_path, changed(path, value))
    begin(tmp_path, CONFIG)
