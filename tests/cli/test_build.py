"""What a checkpoint's configuration becomes in an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hiast.classes import LabelSpace
from hiast.cli.build import build_target

TWO = LabelSpace(names=("road", "sky"), colors=((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize(
    ("folder", "moved_to"),
    [("data/mine", "elsewhere/mine"), ("data", "elsewhere"), ("/other/place", "elsewhere")],
)
def test_data_of_training_that_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, moved_to: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(moved_to, "val").mkdir(parents=True)
    for name in ("a.png", "a_label.png"):
        Image.new("L", (8, 4)).save(Path(moved_to, "val", name))
    target = {
        "_target_": "hiast.data.FolderDataModule",
        "data_root": folder,
        "images": "train/{name}.png",
        "val_images": "val/a.png",
        "val_labels": "val/{name}_label.png",
        "ids": {0: "road", 1: "sky"},
        "names": ["road", "sky"],
    }
    trained = {"data_root": "data", "data": {"target": target}}
    assert Path(build_target(trained, TWO, "elsewhere", 0).data_root) == Path(moved_to)
