"""Loggers by one word and together, in the form that users of other Hydra templates know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hiast.callbacks.tracking import Tracking
from hiast.cli.build_callbacks import build_own_callbacks
from hiast.cli.build_loggers import build_loggers
from hiast.cli.config import compose
from hiast.errors import InputError


def loggers(*words: str) -> list[Any]:
    return build_loggers(compose("train", ["+scenario=demo", *words]))


@pytest.mark.parametrize("words", [(), ("logger=none",), ("logger=csv",)])
def test_without_a_word_nothing_but_the_file_is_written(words: tuple[str, ...]) -> None:
    assert loggers(*words) == []


def test_one_word_or_several(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = f"run={tmp_path / 'a run'}"
    (one,) = loggers("logger=tensorboard", run)
    assert type(one).__name__ == "TensorBoardLogger" and Path(one.log_dir) == tmp_path / "a run/tensorboard"
    pytest.importorskip("wandb")
    two = loggers("logger=[csv,tensorboard,wandb]", run)
    assert [type(each).__name__ for each in two] == ["TensorBoardLogger", "WandbLogger"]
    assert not list(tmp_path.iterdir())  # nothing is written before the run begins


def test_mlflow_writes_into_the_run_directory(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install hiast[mlflow]")
    (one,) = loggers("logger=mlflow", f"run={tmp_path}", "logger.mlflow.experiment_name=mine")
    one.log_metrics({"a": 1.0}, 1)
    assert next(tmp_path.glob("mlruns/*/*/metrics/a")).is_file()


def test_settings_of_a_logger_are_checked() -> None:
    assert compose("train", ["+scenario=demo", "logger=wandb"]).logger.wandb.offline is True
    with pytest.raises(InputError, match=r"logger\.mlflow\.experiment_nam"):
        compose("train", ["+scenario=demo", "logger=mlflow", "logger.mlflow.experiment_nam=x"])
    with pytest.raises(InputError, match="There is no logger 'tensorbord'"):
        compose("train", ["+scenario=demo", "logger=tensorbord"])


def test_settings_of_a_logger_that_was_not_chosen() -> None:
    with pytest.raises(
        InputError, match=r"logger\.tensorboard has settings but names no logger: add logger=tensorboard"
    ):
        loggers("+logger.tensorboard.name=x")


def test_a_setting_that_a_logger_passes_on_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    made = loggers("logger=wandb", f"run={tmp_path}", "+logger.wandb.projekt=x")
    with pytest.raises(InputError, match=r"WandbLogger does not take a setting of its own: .*projekt"):
        Tracking(made, tmp_path).start({})


def test_own_files_may_list_loggers(tmp_path: Path) -> None:
    (tmp_path / "logger").mkdir()
    (tmp_path / "logger/mine.yaml").write_text(
        f"loggers:\n  - _target_: pytorch_lightning.loggers.CSVLogger\n    save_dir: {tmp_path}\n"
    )
    (one,) = loggers("--config-dir", str(tmp_path), "logger=mine")
    assert type(one).__name__ == "CSVLogger"


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import hiast.cli.build_loggers as module

    def refuse(node: Any) -> None:
        raise ModuleNotFoundError("No module named 'mlflow'")

    monkeypatch.setattr(module, "instantiate", refuse)
    with pytest.raises(InputError, match=r'pip install "hiast\[mlflow\]"'):
        loggers("logger=mlflow")


def test_callbacks_of_ones_own() -> None:
    def built(node: str) -> list[Any]:
        return build_own_callbacks(compose("train", ["+scenario=demo", f"callbacks=[{node}]"]))

    (one,) = built("{_target_: pytorch_lightning.callbacks.LearningRateMonitor}")
    assert type(one).__name__ == "LearningRateMonitor"
    with pytest.raises(InputError, match=r"gives a Fraction: name a subclass of pytorch_lightning\.Callback"):
        built("{_target_: fractions.Fraction}")
    with pytest.raises(InputError, match=r"callbacks\.0\.logging_intervall"):
        built("{_target_: pytorch_lightning.callbacks.LearningRateMonitor, logging_intervall: step}")
