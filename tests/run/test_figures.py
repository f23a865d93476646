"""The model card of a checkpoint in its run directory shows what the run has measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hiast import load_model
from hiast.cli.command import run_command
from hiast.cli.export import USAGE, export
from hiast.cli.figures import recorded_means
from hiast.errors import InputError


def means(checkpoint: Path, *, teacher: bool = False) -> dict[str, float]:
    return recorded_means(checkpoint, load_model(checkpoint, teacher=teacher))


def test_weights_that_were_validated_have_figures(reference_run: Path) -> None:
    first, result = (
        json.loads((reference_run / f"self_training/result_{number}.json").read_text())["means"]
        for number in (1, 2)
    )
    checkpoints = reference_run / "self_training/checkpoints"
    assert means(checkpoints / "round_2.ckpt") == means(checkpoints / "last.ckpt") == result
    assert means(checkpoints / "round_1.ckpt") == first != result
    (name,) = [
        path for path in (reference_run / "candidates").glob("*.ckpt") if path.stem == "self_training-2"
    ]
    assert means(name) == result


def test_a_candidate_within_a_stage_has_the_figure_of_the_candidates(
    reference_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(reference_run, tmp_path / "run"))
    record = json.loads((run / "candidates_labeled.json").read_text())
    miou = record["candidates"]["target_statistics"]["miou"]
    assert means(run / "candidates/target_statistics.ckpt") == {"mIoU-19": miou}
    shutil.copy(run / "candidates/target_statistics.ckpt", run / "selected.ckpt")
    choice = json.loads((run / "selected.json").read_text())
    choice["selected"]["name"] = "target_statistics"
    (run / "selected.json").write_text(json.dumps(choice))
    record["of"] = record["images"] + 5
    (run / "candidates_labeled.json").write_text(json.dumps(record))
    title = f"mIoU-19 ({record['images']} of {record['of']} images)"
    assert means(run / "selected.ckpt") == {title: miou}


def test_other_weights_have_none(reference_run: Path, tmp_path: Path) -> None:
    assert means(reference_run / "self_training/checkpoints/round_2.ckpt", teacher=True) == {}
    assert means(reference_run / "candidates/self_training-2.ckpt", teacher=True) == {}
    shutil.copy(reference_run / "selected.ckpt", tmp_path / "alone.ckpt")
    assert means(tmp_path / "alone.ckpt") == {}


def test_a_damaged_result_is_named(reference_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(reference_run, tmp_path / "run"))
    (run / "self_training/result_2.json").write_text("{")
    with pytest.raises(InputError, match=r"result_2\.json is damaged"):
        means(run / "self_training/checkpoints/last.ckpt")


def test_the_card_shows_them(reference_run: Path, tmp_path: Path) -> None:
    checkpoint = reference_run / "self_training/checkpoints/last.ckpt"
    words = [str(checkpoint), "format=pretrained", f"output={tmp_path}/card"]
    assert run_command(export, "export", USAGE, words, bare=("checkpoint",)) == 0
    (value,) = means(checkpoint).values()
    assert f"| mIoU-19 | {100 * value:.2f} |" in (tmp_path / "card/README.md").read_text()
