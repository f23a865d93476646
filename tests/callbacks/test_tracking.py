"""Loggers get the same numbers under the same names, pictures and lineage; a failing one does not end a run."""

from __future__ import annotations

import json
import logging
import math
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger, Logger

from hiast.callbacks.tracking import Tracking, metric_name

ENTRY = {
    "stage": "self_training", "round": 1, "checkpoint": "self_training/checkpoints/round_1.ckpt",
    "started_from": "warmup/checkpoints/round_1.ckpt", "labeled_with": "warmup/checkpoints/round_1.ckpt",
}  # fmt: skip
NAMES = {"self_training/total", "self_training/lr/head", "val/mIoU-19", "labels/coverage"}


def track(loggers: list[Any], folder: Path) -> None:
    """What a pipeline does with its loggers, for a round of 4 steps after 10 others."""
    picture = folder / "pictures/self_training_1_000004.png"
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), np.zeros((8, 16, 3), np.uint8))
    (folder / "self_training/checkpoints").mkdir(parents=True)
    (folder / ENTRY["checkpoint"]).write_bytes(b"weights")
    (folder / "lineage.json").write_text(json.dumps(ENTRY))
    tracking = Tracking(loggers, folder)
    tracking.start({"seed": 7, "source_only": {"lr": 0.5}, "stages": ["source_only"]})
    tracking.steps_before = 10
    module: Any = SimpleNamespace(stage="self_training", steps_done=2)
    tracking.follow(module, {"total": 1.5, "lr/head": 0.001, "nothing": math.nan})
    module.steps_done = 4
    tracking.follow(module, {"val/mIoU-19": 0.25, "labels/coverage": 0.5})
    tracking.round_ends(ENTRY, 4)
    tracking.finish([folder / "lineage.json", folder / "missing.json"])


def test_names() -> None:
    assert metric_name("warmup", "adversarial") == "warmup/adversarial"
    assert metric_name("warmup", "val/iou/road") == "val/iou/road"
    assert metric_name("online", "threshold/road") == "threshold/road"


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from pytorch_lightning.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track([TensorBoardLogger(tmp_path, name=None, version="tensorboard", default_hp_metric=False)], tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) >= NAMES and "self_training/nothing" not in tags["scalars"]
    assert [(event.step, event.value) for event in events.Scalars("val/mIoU-19")] == [(14, 0.25)]
    assert events.Images("predictions")[0].step == 14
    lineage = events.Tensors("lineage/self_training_1/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "labeled_with: warmup/checkpoints/round_1.ckpt" in lineage
    assert "lr: 0.5" in (tmp_path / "tensorboard/hparams.yaml").read_text()


def test_wandb_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wandb")
    from pytorch_lightning.loggers import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    track([WandbLogger(project="hiast", name="x", save_dir=tmp_path, offline=True)], tmp_path)
    assert not [record for record in caplog.records if record.name.startswith("hiast")]
    path, deadline = next(tmp_path.glob("wandb/offline-run-*/run-*.wandb")), time.monotonic() + 60
    # Another process writes the file, and may do so after the run has been closed here.
    while b"lineage.json" not in (content := unframed(path.read_bytes())) and time.monotonic() < deadline:
        time.sleep(0.1)
    for name in (*NAMES, "predictions", "trainer/global_step", "source_only"):
        assert name.encode() in content
    assert b"self_training/nothing" not in content
    assert b"labeled_with" in content and b"round_1.ckpt" in content and b"lineage.json" in content


def unframed(data: bytes, block: int = 32768) -> bytes:
    """The records of an offline run: behind a head of 7 bytes, in pieces that end with each block of LevelDB's log."""
    place, found = 7, []
    while place + 7 <= len(data):
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if block - place % block < 7 or not kind:
            place += block - place % block
            continue
        found.append(data[place + 7 : place + 7 + length])
        place += 7 + length
    return b"".join(found)


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install hiast[mlflow]")
    from pytorch_lightning.loggers import MLFlowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'mlruns'}"
    logger = MLFlowLogger("hiast", run_name="x", save_dir=str(tmp_path / "mlruns"))
    track([logger], tmp_path)
    client = mlflow.tracking.MlflowClient(uri)
    run = client.get_run(logger.run_id)
    assert set(run.data.metrics) >= NAMES and run.info.status == "FINISHED"
    assert [(one.step, one.value) for one in client.get_metric_history(logger.run_id, "val/mIoU-19")] == [
        (14, 0.25)
    ]
    assert run.data.params["source_only/lr"] == "0.5"
    assert run.data.tags["self_training_1.labeled_with"] == "warmup/checkpoints/round_1.ckpt"
    files = {file.path for file in client.list_artifacts(logger.run_id)}
    assert files == {"pictures", "lineage.json"}


def test_another_logger_of_lightning_gets_the_numbers(tmp_path: Path) -> None:
    track([CSVLogger(tmp_path / "csv")], tmp_path)
    header = next(tmp_path.glob("csv/**/metrics.csv")).read_text().splitlines()[0]
    assert set(header.split(",")) >= NAMES


class Broken(Logger):
    name, version = "broken", "0"

    def __init__(self) -> None:
        super().__init__()
        self.started = False

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.started = True

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("nobody answers")

    finalize = save = log_metrics


def test_a_logger_that_fails_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="hiast"):
        track([Broken()], tmp_path)
    assert "Numbers for Broken could not be written: ConnectionError: nobody answers" in caplog.text


def test_a_logger_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    class Refusing(Broken):
        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
            raise ConnectionError("no such server")

    with pytest.raises(ConnectionError, match="no such server"):
        Tracking([Refusing()], tmp_path).start({})


def test_other_processes_send_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    logger = Broken()
    track([logger], tmp_path)
    assert not logger.started
