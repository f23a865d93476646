"""Arguments of Lightning's trainer are taken as meant or refused before anything trains."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hiast.classes import CITYSCAPES_19
from hiast.errors import InputError, RunError
from hiast.models import DeepLabV2
from hiast.run.results import check_complete
from hiast.run.trainer import build_trainer, check_options, time_left
from hiast.training import SourceOnlyModule, WarmupModule


def make(kind: type = SourceOnlyModule, **arguments: Any):
    network = DeepLabV2(19, layers=(1, 1, 1, 1), width=2)
    return build_trainer(
        {"accelerator": "cpu", "devices": 1, **arguments},
        kind(network, CITYSCAPES_19, accumulate_grad_batches=2),
        callbacks=[],
        val_every_n_steps=5,
        folder=Path(),
    )


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("max_epochs", 3, "source_only.max_steps"), ("max_steps", 5, "max_steps"), ("min_epochs", 2, "max_steps"),
        ("accumulate_grad_batches", 2, "source_only.accumulate_grad_batches"),
        ("fast_dev_run", True, "debug=fast_dev_run"), ("fast_dev_run", 3, "debug=fast_dev_run"),
        ("overfit_batches", 2, "debug=overfit_batches"), ("limit_train_batches", 1, "debug=limit"),
        ("limit_train_batches", 0.5, "debug=limit"), ("limit_train_batches", True, "debug=limit"),
        ("limit_val_batches", 0, "all validation images"), ("limit_test_batches", 1, "data.max_images"),
        ("logger", True, "logger=tensorboard"), ("callbacks", ["x"], "set callbacks of the run"),
        ("val_check_interval", 0.5, "validation.every"),
        ("check_val_every_n_epoch", 1, "validation.every"), ("num_sanity_val_steps", 2, "validation.every"),
        ("enable_checkpointing", True, "checkpoint_every"), ("enable_progress_bar", False, "log file"),
        ("default_root_dir", "x", "run"), ("log_every_n_steps", 1, "log_every_n_steps"),
        ("barebones", True, "part of a run"),
        ("use_distributed_sampler", True, "divided"), ("reload_dataloaders_every_n_epochs", 1, "each stage"),
        ("strategy", "fsdp", "auto or ddp"), ("gpus", 1, "no such argument"), ("precison", 16, "precision"),
        ("precision", "bf16-true", "bf16-mixed"), ("precision", "16-true", "16-mixed"), ("precision", 64, "32-true"),
        ("precision", "transformer-engine", "bf16-mixed"), ("gradient_clip_algorithm", "foo", "norm or value"),
        ("profiler", {"_target_": "pytorch_lightning.profilers.SimpleProfiler"}, "trainer.profiler=simple"),
        ("plugins", [{"_target_": "x.Y"}], "Pipeline"),
    ],
)  # fmt: skip
def test_what_a_run_decides_itself_is_refused(name: str, value: object, instead: str) -> None:
    for attempt in (check_options, lambda options: make(**options)):
        with pytest.raises(InputError) as caught:
            attempt({name: value})
        assert f"trainer.{name}" in str(caught.value) and instead in str(caught.value)


def test_the_time_limit_is_one_of_the_start() -> None:
    assert time_left("00:00:02:00", 30.0) == timedelta(seconds=90)
    assert time_left({"minutes": 2}, 500.0) == timedelta(0)


@pytest.mark.parametrize("limit", ["1:2", 5, "an hour", {"weeks_of_work": 1}])
def test_a_time_limit_of_another_form(limit: object) -> None:
    with pytest.raises(InputError, match="write DD:HH:MM:SS"):
        check_options({"max_time": limit})


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 1, "max_steps": -1}, {"accumulate_grad_batches": 1}, {"logger": False}, {"fast_dev_run": False},
        {"limit_train_batches": 1.0, "overfit_batches": 0.0}, {"enable_progress_bar": True}, {"callbacks": None},
        {"strategy": "ddp"}, {"strategy": "auto"}, {"plugins": None}, {"limit_val_batches": 1.0},
        {"max_time": "00:01:00:00", "deterministic": True, "detect_anomaly": True, "enable_model_summary": True},
    ],
)  # fmt: skip
def test_what_changes_nothing_or_may_be_chosen_is_taken(options: dict[str, Any]) -> None:
    for kind in (SourceOnlyModule, WarmupModule):
        trainer = make(kind, **options)
        assert (trainer.max_epochs, trainer.val_check_interval, trainer.loggers) == (1, 10, [])
        assert trainer.limit_val_batches == options.get("limit_val_batches", 1.0)
        assert "ddp" not in type(trainer.strategy).__name__.lower()  # of one device


def test_what_needs_a_package_that_is_not_installed_is_refused() -> None:
    with pytest.raises(InputError, match="torch_xla"):
        make(accelerator="tpu")


def test_clipping_in_the_warmup() -> None:
    network = DeepLabV2(19, layers=(1, 1, 1, 1), width=2)
    module = WarmupModule(network, CITYSCAPES_19)
    settings: dict[str, Any] = {"val_every_n_steps": 5, "folder": Path()}
    options = {"accelerator": "cpu", "gradient_clip_val": 0.5}
    assert build_trainer(options, module, callbacks=[], **settings).gradient_clip_val is None
    assert module.clipping == {"gradient_clip_val": 0.5}


def test_a_round_that_ended_early_is_not_finished() -> None:
    network = DeepLabV2(19, layers=(1, 1, 1, 1), width=2)
    module = SourceOnlyModule(network, CITYSCAPES_19, max_steps=3, accumulate_grad_batches=2)
    module.on_load_checkpoint({"hiast": {"batches_done": 4}})
    with pytest.raises(RunError, match="ended after 2 of 3 steps"):
        check_complete("source_only", module)
    module.on_load_checkpoint({"hiast": {"batches_done": 6}})
    check_complete("source_only", module)
