"""Own folders become a scenario by one command, which is ready for training with the method of own data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from own_data import write_data

Run = Callable[..., tuple[int, str, str]]
FOLDERS = ["images=data/source/images", "labels=data/source/labels", "target=data/target/images"]
VAL = ["val_images=data/target/val/images", "val_labels=data/target/val/labels"]
SMALL = [
    *("--config-dir", "my_conf", "+scenario=mine", "trainer=cpu", "data.num_workers=0"),
    *("backbone.pretrained=null", "backbone.layers=[1,1,1,1]", "backbone.width=4"),
    *("source_only.max_steps=1", "source_only.batch_size=2", "online.max_steps=2", "online.batch_size=2"),
]


def test_folders_become_a_scenario_that_trains(run: Run, tmp_path: Path) -> None:
    write_data(tmp_path / "data", 4)
    (tmp_path / "data/source/classes.txt").write_text("road\nhouse\nsky\n")
    code, out, err = run("data_new", *FOLDERS, *VAL)
    assert code == 0, err
    assert "4 images of 64 x 32 pixels" in out and "0: road (" in out and "+scenario=mine" in out
    scenario = yaml.safe_load((tmp_path / "my_conf/scenario/mine.yaml").read_text("utf-8"))
    assert scenario["classes"]["names"] == ["road", "house", "sky"]
    assert (
        scenario["validation"] == {"size": [64, 64]} and {"override /method": "adapt"} in scenario["defaults"]
    )
    code, out, err = run("data_check", *SMALL)
    assert (code, "Ready for training." in out) == (0, True), out + err
    code, out, err = run("train", *SMALL, "run=r")
    assert code == 0, err
    assert (tmp_path / "r/online/result_1.json").is_file() and (tmp_path / "r/selected.ckpt").is_file()


def test_a_second_scenario_needs_another_name(run: Run, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    assert run("data_new", *FOLDERS)[0] == 0
    code, _, err = run("data_new", *FOLDERS)
    assert code == 2 and "choose another name with name=NAME" in err
    assert run("data_new", *FOLDERS, "name=other", "names=[a,b,c]")[0] == 0
    assert yaml.safe_load((tmp_path / "my_conf/dataset/other_source.yaml").read_text())["names"] == [
        "a",
        "b",
        "c",
    ]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (FOLDERS[:1], "labels is missing"),
        ([*FOLDERS[:2], "target=nowhere"], "there is no folder nowhere"),
        (["name=x", "labels=data/source/labels"], "labels is given without images"),
        (["name=x", "target=data/target/images"], "target is given without images"),
        ([*FOLDERS, VAL[0]], "val_images is given without val_labels"),
        ([*FOLDERS[:2], *VAL], "belong to a target"),
        ([*FOLDERS, "names=[a,b]"], "2 names, and the labels hold 3 values"),
        ([*FOLDERS, "names=road"], "names must be a list of texts"),
        (["images=data/source/images", "labels=data/target/images"], "is this the folder of the labels?"),
    ],
)  # fmt: skip
def test_what_is_missing_or_does_not_fit_is_one_sentence(
    run: Run, tmp_path: Path, words: list[str], wanted: str
) -> None:
    write_data(tmp_path / "data")
    code, _, err = run("data_new", *words)
    assert code == 2 and wanted in err and len(err.splitlines()) == 1
    assert not (tmp_path / "my_conf").exists()


def test_a_folder_that_is_a_file_is_refused_before_anything_is_looked_at(run: Run, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    (tmp_path / "notes").write_text("x")
    code, out, err = run("data_new", *FOLDERS, "out=notes")
    assert (code, out) == (2, "") and "out: notes is a file" in err


def test_a_forgotten_config_dir_is_named(run: Run, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    assert run("data_new", *FOLDERS)[0] == 0
    for words in (["+scenario=mine"], ["--config-dir", "my_conf/scenario", "+scenario=mine"]):
        code, _, err = run("data_check", *words)
        assert code == 2 and "a file my_conf/scenario/mine.yaml: add --config-dir my_conf." in err
    code, _, err = run("data_check", "+scenario=demo", "trainer=gpu")
    assert code == 2 and "did you mean multi_gpu or single_gpu?" in err
