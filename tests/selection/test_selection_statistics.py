"""The batch-norm statistics of an untrained network that is selected."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hiast.selection import Candidate, CandidateScores, choose

START = Candidate(
    "source_only",
    "source_only.ckpt",
    100,
    CandidateScores(
        infomax=0.118,
        consistency=0.552,
        source_miou=0.696,
        ensemble_miou=0.737,
        predicted={"soil": 0.9, "crop": 0.02, "weed": 0.08},
    ),
)


def candidate(name: str, step: int = 100, **scores: object) -> Candidate:
    return Candidate(name, f"{name}.ckpt", step, replace(START.scores, **scores))


FITS = candidate("target_statistics", infomax=0.206, consistency=0.697, source_miou=0.623, ensemble_miou=0.49)
COLLAPSED = candidate("warmup", 200, infomax=0.02, source_miou=0.3)


def test_statistics_that_fit_are_selected_although_the_source_falls() -> None:
    found = choose([START, FITS, COLLAPSED])
    assert found.selected.name == "target_statistics"
    assert found.reason.startswith(
        "target_statistics is selected: it has the weights of source_only, and its batch-norm statistics fit the "
        "target better (InfoMax 0.206, before 0.118; consistency of views 69.70, before 55.20). Without"
    )
    rows = {row.candidate.name: row for row in found.table}
    assert rows["target_statistics"].rank == 1 and not rows["target_statistics"].vetoes
    assert rows["source_only"].rank == 2
    assert rows["warmup"].rank is None and rows["warmup"].vetoes


def test_a_trained_candidate_that_wins_stays() -> None:
    better = candidate("online", 300, infomax=0.3, consistency=0.8, source_miou=0.7, ensemble_miou=0.8)
    assert choose([START, FITS, better]).selected.name == "online"


@pytest.mark.parametrize(
    "scores",
    [
        {"infomax": 0.09},
        {"infomax": 0.118, "consistency": 0.5},
        {"infomax": 0.2, "consistency": 0.5},  # One is better, one is worse.
        {"predicted": {"soil": 1.0, "crop": 0.0, "weed": 0.0}},
        {"infomax": math.nan},
    ],
)
def test_statistics_that_do_not_fit_are_not(scores: dict[str, object]) -> None:
    other = candidate(
        "target_statistics", **{"infomax": 0.206, "consistency": 0.697, "source_miou": 0.6, **scores}
    )
    assert choose([START, other, COLLAPSED]).selected.name == "source_only"


def test_statistics_of_a_later_network_are_not_compared_with_the_start() -> None:
    later = replace(FITS, step=200)
    assert choose([START, later]).selected.name == "source_only"


def test_the_best_share_of_statistics_wins() -> None:
    half = candidate("target_statistics-0.5", infomax=0.21, consistency=0.71, source_miou=0.6)
    assert choose([START, FITS, half]).selected.name == "target_statistics-0.5"
    assert choose([START, half, FITS]).selected.name == "target_statistics-0.5"


def test_the_start_can_beat_statistics_that_the_rule_selected() -> None:
    wrong = candidate("target_statistics", infomax=0.11, consistency=0.5, source_miou=0.7, ensemble_miou=0.9)
    chosen = choose([replace(START, scores=replace(START.scores, ensemble_miou=0.5)), wrong])
    assert chosen.selected.name == "source_only"
