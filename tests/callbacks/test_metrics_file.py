"""metrics.csv after a crash: cut lines and rows behind the checkpoint go, all others stay as they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from hiast.callbacks.metrics_file import COLUMNS, MetricsFile, read_metrics
from hiast.classes import CITYSCAPES_19
from hiast.models import DeepLabV2
from hiast.training import SourceOnlyModule

HEAD = ",".join(COLUMNS) + "\n"


@pytest.fixture
def module() -> SourceOnlyModule:
    network = DeepLabV2(19, pretrained=None, layers=(1, 1, 1, 1), width=8)
    module = SourceOnlyModule(network, CITYSCAPES_19, max_steps=10)
    module.on_load_checkpoint({"hiast": {"batches_done": 4}})
    return module


def test_rows_behind_the_checkpoint_are_dropped(tmp_path: Path, module: SourceOnlyModule) -> None:
    path = tmp_path / "metrics.csv"
    kept = "source_only,1,2,total,0.1\nsource_only,1,4,total,0.30000000000000004\nwarmup,1,9,total,1.0\n"
    path.write_text(HEAD + kept + "source_only,1,5,total,0.2\nsource_only,1,6,tot")
    MetricsFile(path).on_fit_start(SimpleNamespace(is_global_zero=True), module)
    assert path.read_text() == HEAD + kept


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_file_cut_anywhere_can_be_read(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text((HEAD + "source_only,1,2,total,0.1\nsource_only,1,3,total,0.2\n")[:cut])
    whole = path.read_text().count("\n")
    assert len(read_metrics(path)) == max(0, whole - 1)


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.csv") == []


def test_signals_of_a_round_are_recorded_once_when_it_begins(tmp_path: Path) -> None:
    network = DeepLabV2(19, pretrained=None, layers=(1, 1, 1, 1), width=8)
    module = SourceOnlyModule(network, CITYSCAPES_19, max_steps=10)
    path, trainer = tmp_path / "metrics.csv", SimpleNamespace(is_global_zero=True)
    other = "warmup,1,0,labels/coverage,0.5\n"
    path.write_text(HEAD + other + "source_only,1,0,labels/coverage,0.1\nsource_only,1,3,total,0.2\n")
    for _ in range(2):  # killed before the first checkpoint, a run begins again
        MetricsFile(path, signals=lambda: {"labels/coverage": 0.25}).on_fit_start(trainer, module)
        assert path.read_text() == HEAD + other + "source_only,1,0,labels/coverage,0.25\n"
    module.on_load_checkpoint({"hiast": {"batches_done": 4}})
    MetricsFile(path, signals=lambda: {"labels/coverage": 0.75}).on_fit_start(trainer, module)
    assert path.read_text() == HEAD + other + "source_only,1,0,labels/coverage,0.25\n"
