"""Own folders become a scenario by one command, which is ready for training with the method of own data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from own_data import write_data
from PIL import Image

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


def test_the_changes_of_the_tutorial_make_both_sides_fit(run: Run, tmp_path: Path) -> None:
    """docs/tutorials/own_data.md, sections 1 to 3: colors of seven classes here, unnamed ids of six there."""
    colors = np.array(
        [
            (128, 64, 128), (70, 70, 70), (107, 142, 35), (70, 130, 180), (220, 20, 60), (0, 0, 142), (0, 0, 70),
            (0, 0, 0),
        ],
        np.uint8,
    )  # fmt: skip
    ids = np.repeat(np.arange(8), 8) * np.ones((32, 1), int)
    kinds = {
        "source/images": (colors[ids], "jpg"),
        "source/labels": (colors[ids], "png"),
        "target/images": (colors[ids], "jpg"),
        "target/val/images": (colors[ids], "jpg"),
        "target/val/labels": (np.where(ids == 7, 255, np.minimum(ids, 5)).astype(np.uint8), "png"),
    }
    for index in range(3):
        for kind, (values, suffix) in kinds.items():
            path = tmp_path / f"data/mine_{kind}/trip/{index}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    folders = ["images=data/mine_source/images", "labels=data/mine_source/labels"]
    folders += ["target=data/mine_target/images", "val_images=data/mine_target/val/images"]
    code, _, err = run("data_new", *folders, "val_labels=data/mine_target/val/labels")
    assert code == 0, err
    page = Path(__file__).parents[2] / "docs/tutorials/own_data.md"
    changes = re.findall(r"```yaml\n# (my_conf/\S+): .*\n((?:.*\n)*?)```", page.read_text("utf-8"))
    assert len(changes) == 3
    for path, text in changes:
        lines = (tmp_path / path).read_text("utf-8").splitlines()
        keys = yaml.safe_load(text).keys()
        kept = _without(lines, {f"{key}:" for key in keys})
        (tmp_path / path).write_text("\n".join([*kept, text]), encoding="utf-8")
    code, out, err = run("data_check", *SMALL)
    assert (code, "Ready for training." in out) == (0, True), out + err


def _without(lines: list[str], keys: set[str]) -> list[str]:
    """The lines of a YAML file without these keys of the top level and what stands below them."""
    kept, inside = [], False
    for line in lines:
        if line[:1].strip():
            inside = any(line.startswith(key) for key in keys)
        if not inside:
            kept.append(line)
    return kept


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


def test_words_of_the_templates_in_paths_and_names_stay(run: Run, tmp_path: Path) -> None:
    write_data(tmp_path / "NEW_FOLDER/FILENAME", 3)
    (tmp_path / "NEW_FOLDER/FILENAME/source/classes.txt").write_text("NAMED road\nFOLDER\nsky\n")
    images, labels = (f"{key}=NEW_FOLDER/FILENAME/source/{key}" for key in ("images", "labels"))
    code, _, err = run("data_new", images, labels, "out=cc", "name=own")
    assert code == 0, err
    source = yaml.safe_load((tmp_path / "cc/dataset/own_source.yaml").read_text("utf-8"))
    assert source["data_root"].endswith("NEW_FOLDER/FILENAME/source")
    assert source["names"] == ["NAMED road", "FOLDER", "sky"]
    assert "+scenario=own" in (tmp_path / "cc/scenario/own.yaml").read_text("utf-8")


def test_class_names_with_signs_of_yaml_stay_as_they_are(run: Run, tmp_path: Path) -> None:
    write_data(tmp_path / "data", 3)
    names = [":road", "bus, coach", "null"]
    (tmp_path / "data/source/classes.json").write_text(json.dumps(names))
    code, _, err = run("data_new", *FOLDERS)
    assert code == 0, err
    source = yaml.safe_load((tmp_path / "my_conf/dataset/mine_source.yaml").read_text("utf-8"))
    assert source["names"] == names and source["ids"] == dict(enumerate(names))
    code, out, err = run("data_check", *SMALL)
    assert (code, "Ready for training." in out) == (0, True), out + err
