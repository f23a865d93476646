"""Every published scenario from its files to its scores, with a tiny network; and runs that leave files out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hiast.scenes import write_cityscapes, write_gta5, write_robotcar, write_synthia


@pytest.fixture(scope="module")
def all_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("all_data")
    for write in (write_gta5, write_synthia):
        write(root, 4, (64, 128))
    for write in (write_cityscapes, write_robotcar):
        write(root, 4, 2, (64, 128))
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "means", "classes"),
    [
        ("gta5_cityscapes", ["mIoU-19"], 19),
        ("synthia_cityscapes", ["mIoU-16", "mIoU-13"], 19),
        ("cityscapes_robotcar", ["mIoU-9"], 9),
        ("iast_gta5_cityscapes", ["mIoU-19"], 19),
    ],
)
def test_every_scenario_runs(launcher, all_data: Path, tmp_path: Path, scenario, means, classes) -> None:
    words = (f"+scenario={scenario}", "trainer=cpu", f"data_root={all_data}")
    assert launcher.train(tmp_path, *words) == [0], (tmp_path / "log_0.txt").read_text()
    result = json.loads((tmp_path / "run/self_training/result_2.json").read_text())
    assert list(result["means"]) == means
    assert len(result["iou"]) == classes


def test_files_that_are_left_out_are_recorded_and_stay_out(
    launcher, small_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(small_data, tmp_path / "data"))
    victim = sorted((data / "GTA5/images").glob("*.png"))[2]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:300])
    words = (f"data_root={data}", "data.unreadable=skip", "stages=[source_only]")
    kill = {"at": "hiast.training.module:AdaptationModule.on_train_batch_start", "call": 3, "do": "kill"}
    assert launcher.train(tmp_path, *words, faults=(kill,)) == [-9]
    recorded = json.loads((tmp_path / "run/skipped.json").read_text())
    assert list(recorded["source/train"]) == [victim.stem]
    victim.write_bytes(whole)  # repaired in between: the run keeps the order that it began with
    assert launcher.train(tmp_path, *words) == [0]
    assert json.loads((tmp_path / "run/skipped.json").read_text()) == recorded
