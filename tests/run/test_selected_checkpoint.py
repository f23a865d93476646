from __future__ import annotations

import json
from pathlib import Path

import pytest

from hiast.run.select import select
from hiast.selection import Candidate, CandidateRecords, CandidateScores


def candidate(name: str, step: int, good: float) -> Candidate:
    scores = CandidateScores(ensemble_miou=good, infomax=good, source_miou=0.8, colored_miou=0.8)
    return Candidate(name, f"{name}.ckpt", step, scores)


def test_a_candidate_whose_checkpoint_was_removed_is_not_selected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    known = [
        candidate("source_only", 0, 0.5),
        candidate("warmup", 5, 0.6),
        candidate("self_training-1", 9, 0.7),
    ]
    CandidateRecords(tmp_path).record_all(known)
    for one in known:
        (tmp_path / one.checkpoint).write_text(one.name)
    select(tmp_path)
    assert (tmp_path / "selected.ckpt").read_text() == "self_training-1"
    (tmp_path / "self_training-1.ckpt").unlink()
    select(tmp_path)
    assert (tmp_path / "selected.ckpt").read_text() == "warmup"
    assert json.loads((tmp_path / "selected.json").read_text())["selected"]["name"] == "warmup"
    assert "self_training-1.ckpt: not there any more" in caplog.text
    for one in known[:2]:
        (tmp_path / one.checkpoint).unlink()
    select(tmp_path)
    assert (tmp_path / "selected.ckpt").read_text() == "warmup", "the copy that was kept stays"
