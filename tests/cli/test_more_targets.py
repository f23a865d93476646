"""Several targets, and a few labeled images of the target, from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from own_data import SOURCE, WORDS, write_conf, write_data

from hiast.cli import build
from hiast.cli.config import compose
from hiast.data.loading.sampler import StreamKey

TWO_TARGETS = """_target_: hiast.data.JoinedDataModule
modules:
  - {_target_: hiast.data.FolderDataModule, _partial_: true, data_root: "${data_root}/target", name: day,
     images: "images/{name}.png", val_images: "val/images/{name}.png", val_labels: "val/labels/{name}.png"}
  - {_target_: hiast.data.FolderDataModule, _partial_: true, data_root: "${data_root}/target", name: night,
     images: "val/images/{name}.png"}
"""
LABELED = SOURCE.replace("source", "target/val").replace("own_target/val", "own_labeled")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_data(tmp_path / "data")
    write_conf(tmp_path, target=TWO_TARGETS)
    (tmp_path / "conf/dataset/own_labeled.yaml").write_text(LABELED)
    return tmp_path


@pytest.mark.parametrize("method", ["hiast", "adapt"])
def test_a_run_with_two_targets_and_labeled_images(folder: Path, run: Callable, method: str) -> None:
    code, _, err = run(
        "train", *WORDS, "+dataset@data.labeled_target=own_labeled", f"method={method}", "data_root=data", "run=out",
        "online.max_steps=2", "online.batch_size=2", "pictures=0",
    )  # fmt: skip
    assert code == 0, err
    assert (folder / "out/selected.ckpt").is_file() or method == "hiast"


def domains(folder: Path, *words: str):
    place = ["--config-dir", f"{folder}/conf", "+scenario=own", f"data_root={folder}/data"]
    config = compose("train", [*place, *words])
    return build.build_domains(config, build.build_classes(config))


def test_labeled_target_images_have_their_share(folder: Path) -> None:
    words = ["+dataset@data.labeled_target=own_labeled", "data.labeled_target_share=0.4"]
    source, target = domains(folder, *words)
    assert [module.title for module in source.modules] == ["own_source", "own_labeled"]
    assert source.weights == pytest.approx([0.6, 0.4])
    names, order = source.train_dataset().names, source.train_order()
    drawn = [names[order.index(StreamKey(888, 0, 10), position)] for position in range(2000)]
    share = np.mean([name.startswith("own_labeled") for name in drawn])
    assert share == pytest.approx(0.4, abs=0.05)
    assert [module.title for module in target.modules] == ["day", "night"]


def test_no_candidate_is_measured_on_validation_images_of_a_labeled_target(folder: Path) -> None:
    file = folder / "conf/dataset/own_labeled.yaml"
    file.write_text(file.read_text("utf-8") + "val_fraction: 0.5\n", "utf-8")
    words = ["+dataset@data.labeled_target=own_labeled"]
    assert not domains(folder, *words)[0].has_val
    source, _ = domains(folder, *words, "selection.source_fraction=0.5")
    assert {name.partition("/")[0] for name in source.val_dataset().names} == {"own_source val"}


def test_a_source_that_is_not_unpacked_yet_is_not_listed(folder: Path) -> None:
    shutil.rmtree(folder / "data")
    source, _ = domains(folder, "+dataset@data.labeled_target=own_labeled", "data.labeled_target_share=0.4")
    assert source.weights == pytest.approx([0.6, 0.4])


@pytest.mark.parametrize("share", ["0", "1", "-0.5"])
def test_a_share_that_leaves_nothing_is_refused(folder: Path, share: str) -> None:
    with pytest.raises(build.InputError, match=r"labeled_target_share is .*between 0 and 1"):
        domains(folder, "+dataset@data.labeled_target=own_labeled", f"data.labeled_target_share={share}")
