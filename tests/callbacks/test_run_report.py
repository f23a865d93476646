"""What a run records for its report while it runs, and that none of it can end the run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_network import CLASSES, TinyNetwork, bare_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hiast.report.write
from hiast.callbacks.clock import Clock
from hiast.callbacks.metrics_file import lrs, online_thresholds
from hiast.callbacks.report import RunReport
from hiast.callbacks.round_record import _trusted
from hiast.callbacks.validation_record import ValidationRecord, wrong_share
from hiast.callbacks.warn_on_error import warn_on_error
from hiast.cli.command import run_command
from hiast.cli.train import USAGE, train
from hiast.errors import InputError, RunError
from hiast.online import ClassBalanced
from hiast.report.facts import read_run
from hiast.training import OnlineModule, SourceOnlyModule

SMALL = (
    "+scenario=demo", "backbone=deeplab_v2_resnet101", "+backbone.layers=[1,1,1,1]", "+backbone.width=8",
    "backbone.pretrained=null", "stages=[source_only,self_training]", "source_only.max_steps=2",
    "source_only.batch_size=2", "self_training.max_steps=2", "self_training.batch_size=2", "self_training.rounds=2",
    "pseudo_label.policy.beta=0.1", "log_every_n_steps=1", "validation.every_n_steps=1", "pictures=2",
    "selection.images=4", "validation.size=[64,128]", "data.source_crop.height=64", "data.source_crop.width=128",
    "data.target_crop.height=64", "data.target_crop.width=128", "run=run",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(drawn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small run of two stages that has ended."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command(train, "train", USAGE, [*SMALL, f"data_root={drawn_data}"]) == 0
    yield folder / "run"


def read(path: Path) -> Any:
    def refuse(text: str) -> None:
        raise AssertionError(f"{path} holds {text}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.slow
def test_a_run_leaves_a_report_and_its_records(run: Path) -> None:
    facts = read_run(run)
    titles = ["source_only", "self_training 1", "self_training 2"]
    assert [one.title for one in facts.rounds] == titles and facts.finished and facts.problems == []
    assert list(facts.validations) == list(facts.examples) == titles
    assert [labels.labeled_with for labels in facts.labels] == [
        "source_only/checkpoints/round_1.ckpt", "self_training/checkpoints/round_1.ckpt",
    ]  # fmt: skip
    page = (run / "report.html").read_text()
    assert all(title in page for title in titles) and "Where each checkpoint comes from" in page
    assert len(page.encode()) < 1_000_000
    for path in run.rglob("*.json"):
        read(path)


@pytest.mark.slow
def test_the_records_agree_with_the_results(run: Path) -> None:
    result = read(run / "self_training/result_2.json")
    matrix = np.array(read(run / "self_training/validation_2.json")["matrix"])
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    iou = dict(
        zip(
            read(run / "classes.json")["names"],
            np.where(union, matrix.diagonal() / np.maximum(union, 1), np.nan),
            strict=True,
        )
    )
    for name, value in result["iou"].items():
        assert value == pytest.approx(iou[name]) or (value is None and np.isnan(iou[name]))
    labeled = read(run / "candidates_labeled.json")
    assert (labeled["images"], labeled["of"]) == (4, 4)
    assert labeled["candidates"]["self_training-2"]["miou"] == pytest.approx(
        result["means"]["mIoU-19"], abs=0.02
    )
    fits = read(run / "times.json")["fits"]
    assert [(fit["stage"], fit["round"], fit["to"], fit["images"]) for fit in fits] == [
        ("source_only", 1, 2, 4), ("self_training", 1, 2, 4), ("self_training", 2, 2, 4),
    ]  # fmt: skip
    assert all(0 < fit["training"] <= fit["seconds"] for fit in fits)


@pytest.mark.slow
def test_what_was_pasted_is_counted(run: Path) -> None:
    record = read(run / "self_training/hard_classes_2.json")
    assert record["crops"] == 4  # two steps of two images, one donor each
    assert sum(one["draws"] for one in record["classes"]) == (4 if record["classes"] else 0)
    assert sum(one["probability"] for one in record["classes"]) == pytest.approx(
        1 if record["classes"] else 0
    )


@pytest.mark.slow
def test_typed_settings_are_distinguished_from_those_of_the_scenario(run: Path) -> None:
    settings = read(run / "settings.json")
    assert settings["scenario"] == "demo" and settings["choices"]["backbone"][1] == "deeplab_v2_resnet101"
    assert settings["settings"]["self_training.rounds"] == [3, 2]
    assert not any("data_root" in key or key == "seed" for key in settings["settings"])


@pytest.mark.slow
def test_learning_rates_are_recorded(run: Path) -> None:
    one = read_run(run).rounds[0]
    steps, rates = zip(*one.values["lr/head"], strict=True)
    assert steps == (1, 2) and rates[0] > rates[1] > 0
    assert one.values["lr/backbone"][0][1] == pytest.approx(rates[0] / 10)


def test_rates_of_layers_and_of_a_discriminator() -> None:
    def group(lr: float, initial: float) -> dict[str, Any]:
        return {"params": [nn.Parameter(torch.zeros(1))], "lr": lr, "initial_lr": initial, "backbone_lr": 1.0}

    layers = torch.optim.SGD([group(0.05, 0.1), group(0.5, 1.0), group(5.0, 10.0)])
    other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.25)
    assert lrs([layers, other]) == {"lr/backbone": 0.5, "lr/head": 5.0, "lr/discriminator": 0.25}
    assert lrs([]) == {} and lrs([other]) == {"lr/head": 0.25}


def test_moving_thresholds_are_recorded_and_not_moved_by_an_example() -> None:
    module = OnlineModule(TinyNetwork(), CLASSES, trust=ClassBalanced(len(CLASSES), proportion=0.5))
    before = module.trust.counts.clone()
    label = _trusted(module, np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    assert torch.equal(module.trust.counts, before) and module.evaluated == "student"
    assert 0.4 < (label != 255).mean() < 1  # at least half of each class, by the moved copy
    assert list(online_thresholds(module)) == [f"threshold/{name}" for name in CLASSES.names]
    assert online_thresholds(SourceOnlyModule(TinyNetwork(), CLASSES)) == {}


class FirstChannel(SourceOnlyModule):
    """Predicts the first channel of the image."""

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        prediction = batch["image"][:, 0]
        self.metrics.update(prediction, batch["label"])
        self._entropies.append(torch.zeros(1))
        return prediction


def sample(name: str, wrong: int, labeled: int = 100) -> dict[str, Any]:
    """An image of 10 x 10 pixels of which some are predicted wrong, and some are labeled."""
    image = torch.zeros(3, 100, dtype=torch.uint8)
    image[0, :wrong] = 1
    label = torch.zeros(100, dtype=torch.uint8)
    label[labeled:] = 255
    return {"image": image.view(3, 10, 10), "label": label.view(10, 10), "name": name}


def test_the_worst_and_the_best_images_are_kept(tmp_path: Path) -> None:
    module = FirstChannel(TinyNetwork(), CLASSES, max_steps=1)
    shares = [30, 10, 80, 20, 80, 0]
    samples = [sample(f"Zürich/{place}", wrong) for place, wrong in enumerate(shares)]
    samples.append(sample("nothing labeled", 50, labeled=0))
    bare_trainer(callbacks=[ValidationRecord(tmp_path, 2)]).validate(
        module, DataLoader(samples, batch_size=1), verbose=False
    )
    record = read(tmp_path / "source_only/validation_1.json")
    assert [(one["name"], one["wrong"]) for one in record["worst"]] == [("Zürich/2", 0.8), ("Zürich/4", 0.8)]
    assert [(one["name"], one["wrong"]) for one in record["best"]] == [("Zürich/5", 0.0), ("Zürich/1", 0.1)]
    assert record["images"] == 7 and record["matrix"][0][:2] == [380, 220]
    assert record["worst"][0]["label"].startswith("data:image/png;base64,")


def test_an_image_is_the_worst_or_the_best_and_not_both(tmp_path: Path) -> None:
    module = FirstChannel(TinyNetwork(), CLASSES, max_steps=1)
    loader = DataLoader([sample("a", 3), sample("b", 4)], batch_size=1)
    bare_trainer(callbacks=[ValidationRecord(tmp_path, 6)]).validate(module, loader, verbose=False)
    record = read(tmp_path / "source_only/validation_1.json")
    assert [one["name"] for one in record["worst"]] == ["b", "a"] and record["best"] == []


def test_share_of_wrong_pixels() -> None:
    label = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8)
    assert wrong_share(torch.tensor([[0, 2], [2, 2]]), label) == pytest.approx(1 / 3)
    assert wrong_share(torch.tensor([[0, 1]]), torch.full((1, 2), 255, dtype=torch.uint8)) is None


def test_the_clock_keeps_earlier_starts_and_writes_when_a_run_breaks_off(tmp_path: Path) -> None:
    module = SourceOnlyModule(TinyNetwork(), CLASSES, max_steps=4)
    module.on_load_checkpoint({"hiast": {"batches_done": 1}})
    device = SimpleNamespace(root_device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(is_global_zero=True, world_size=2, strategy=device)
    for _ in range(2):
        clock = Clock(tmp_path, 8)
        clock.setup(trainer, module, "fit")
        clock.on_train_start(trainer, module)
        clock.on_exception(trainer, module, RuntimeError())
    fits = read(tmp_path / "times.json")["fits"]
    assert [(fit["from"], fit["to"], fit["images"], fit["devices"]) for fit in fits] == [(1, 1, 0, 2)] * 2


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of which a report was written."""
    folders: list[Path] = []
    monkeypatch.setattr(hiast.report.write, "write_report", folders.append)
    return folders


def test_a_report_is_not_written_again_a_moment_later(tmp_path: Path, written: list[Path]) -> None:
    report = RunReport(tmp_path, pause=1000)
    for _ in range(3):
        report.write_if_due()
    assert written == [tmp_path]
    report.write()
    assert len(written) == 2


def test_no_report_where_none_is_wanted_or_another_process_writes_it(
    tmp_path: Path, written: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    RunReport(tmp_path, enabled=False).write()
    RunReport(tmp_path / "missing").write()
    monkeypatch.setenv("LOCAL_RANK", "1")
    RunReport(tmp_path).write()
    assert written == []


def test_a_report_that_fails_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(folder: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(hiast.report.write, "write_report", fail)
    with caplog.at_level(logging.WARNING, logger="hiast"):
        RunReport(tmp_path).write()
    assert "The report of the run could not be written: OSError: no space left" in caplog.text


def test_a_stop_is_not_held_up() -> None:
    with pytest.raises(KeyboardInterrupt), warn_on_error("x"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "traceback"),
    [
        (OSError("no space left"), False),
        (InputError("x.png is damaged."), False),
        (RunError("a rank has ended."), False),
        (KeyError("x"), True),
    ],
)
def test_only_a_bug_is_logged_with_its_traceback(
    error: Exception, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="hiast"), warn_on_error("The report"):
        raise error
    assert [bool(record.exc_info) for record in caplog.records] == [traceback]
