"""Reported: runs of few images to the end, and labeling of folders with other files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from projects import TARGET, Answer, Project

TINY = ["warmup=none", "stages=[source_only]", "run=r"]


@pytest.mark.parametrize(
    "removed",
    [
        ["data/sim/*/[12].png"],
        ["data/camera/images/[12].png"],
        ["data/sim/*/[12].png", "data/*/images/[12].png"],
    ],
)
def test_one_image_is_enough(project: Project, command: Callable[..., Answer], removed: list[str]) -> None:
    for pattern in removed:
        for path in project.root.glob(pattern):
            path.unlink()
    answer = command("train", "run=r")
    assert answer.code == 0, answer
    assert (project.root / "r/self_training/result_1.json").is_file()


def test_without_validation_images_there_are_no_scores(
    project: Project, command: Callable[..., Answer]
) -> None:
    project.write_conf(target=TARGET.partition("val_images")[0])
    assert command("train", *TINY).code == 0
    assert '"means": {}' in (project.root / "r/source_only/result_1.json").read_text()


def test_missing_labels_stop_before_training_or_are_skipped(
    project: Project, command: Callable[..., Answer]
) -> None:
    (project.root / "data/sim/labels/1.png").unlink()
    assert "1 of 3 images have no label" in command("train", *TINY).sentence
    assert not list(project.root.rglob("*.ckpt"))
    assert command("train", *TINY[:2], "run=r2", "+data.source.unlabeled=skip").code == 0


def test_a_folder_to_label_may_hold_other_files(project: Project, command: Callable[..., Answer]) -> None:
    assert command("train", *TINY).code == 0
    folder = project.root / "data/camera/images"
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / "list.txt").write_text("0")
    (folder / "drive.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    words = ["checkpoint=r/source_only/checkpoints/last.ckpt", "trainer.accelerator=cpu", "policy=argmax"]
    assert command("label", *words, f"input={folder}", "output=o").code == 0
    assert len(list((project.root / "o/labels").rglob("*.png"))) == 3
    assert command("label", *words, f"input={folder / '0.png'}", "output=o1").code == 0
    assert len(list((project.root / "o1/labels").rglob("*.png"))) == 1
