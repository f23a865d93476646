from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hiast.errors import InputError
from hiast.selection import Candidate, CandidateRecords, CandidateScores, choose, read_choice, write_choice

FULL = CandidateScores(
    entropy=0.1,
    infomax=0.2,
    snd=3.0,
    views={"flip": 0.9, "scale": math.nan},
    predicted={"road": 0.75, "traffic light": 0.25},
    labels={"road": 0.5},
    previous_iou={"road": math.nan},
    extra={"other": 1.0},
)


def strict(path: Path) -> Any:
    """JSON as the standard has it: without NaN and infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_candidates_come_back_as_they_were(tmp_path: Path) -> None:
    records = CandidateRecords(tmp_path)
    assert records.read() == []
    written = [
        Candidate("source_only", "source_only/round_1.ckpt", 300, FULL, network="abc"),
        Candidate("b", "", 400),
    ]
    for candidate in written:
        records.record(candidate)
    found = CandidateRecords(tmp_path).read()
    # NaN is not equal to itself, but its text is.
    assert [repr(candidate) for candidate in found] == [repr(candidate) for candidate in written]
    values = strict(tmp_path / "candidates.json")
    assert values["candidates"][0]["scores"]["views"] == {"flip": 0.9, "scale": None}
    assert values["candidates"][1]["scores"]["entropy"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["candidates.json"]


def test_recording_again_replaces_in_place(tmp_path: Path) -> None:
    records = CandidateRecords(tmp_path)
    for name in "abc":
        records.record(Candidate(name, f"{name}.ckpt", 1))
    records.record(Candidate("b", "b.ckpt", 2))
    assert [(candidate.name, candidate.step) for candidate in records.read()] == [
        ("a", 1),
        ("b", 2),
        ("c", 1),
    ]
    records.record_all([candidate.with_scores(ensemble_miou=0.5) for candidate in records.read()])
    assert [candidate.scores.ensemble_miou for candidate in records.read()] == [0.5] * 3
    records.keep(["c", "a"])
    assert [candidate.name for candidate in records.read()] == ["a", "c"]


def test_a_candidate_is_found_by_its_name_and_weights(tmp_path: Path) -> None:
    records = CandidateRecords(tmp_path)
    assert records.find("a") is None
    records.record(Candidate("a", "a.ckpt", 1, network="weights 1"))
    assert records.find("a").step == 1
    assert records.find("a", "weights 1").checkpoint == "a.ckpt"
    assert records.find("a", "weights 2") is None
    assert records.find("b") is None


def test_infinity_is_a_bug_and_leaves_the_old_file(tmp_path: Path) -> None:
    records = CandidateRecords(tmp_path)
    records.record(Candidate("a", "a.ckpt", 1))
    before = records.path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        records.record(Candidate("b", "b.ckpt", 1, CandidateScores(entropy=math.inf)))
    assert records.path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "candidates": []}',
        b'{"format": 1}',
        b'{"format": 1, "candidates": [{"name": "a"}]}',
        b'{"format": 1, "candidates": [{"scores": []}]}',
        b'{"format": 1, "candidates": [{"name": "a", "checkpoint": "", "step": 1, "network": "", "scores": {"x": 1}}]}',
        b'{"format": 1, "candidates": [{"name": "a", "checkpoint": "", "step": 1, "scores": {"snd": "x"}}]}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "candidates.json").write_bytes(content)
    with pytest.raises(InputError, match=r"candidates.json cannot be read .* remove it"):
        CandidateRecords(tmp_path).read()


def test_the_choice_is_written_without_nan(tmp_path: Path) -> None:
    start = Candidate("source_only", "a.ckpt", 1, FULL)
    later = Candidate("b", "b.ckpt", 2, CandidateScores(ensemble_miou=0.5))
    choice = choose([start, later])
    assert read_choice(tmp_path) is None
    path = write_choice(tmp_path, choice, alarms=["b: something is wrong."])
    values = strict(path)
    assert path.name == "selected.json"
    assert values == read_choice(tmp_path)
    assert values["selected"]["name"] == "source_only"
    assert values["reason"] == choice.reason
    assert values["alarms"] == ["b: something is wrong."]
    assert [row["score"] for row in values["table"]] == [1.0, None]
    assert values["table"][1]["vetoes"] == [
        "Its InfoMax is not known.",
        "Its predicted classes are not known.",
    ]


def test_unknown_scores_are_refused() -> None:
    with pytest.raises(TypeError):
        Candidate("a", "", 1).with_scores(unicorn=1.0)
