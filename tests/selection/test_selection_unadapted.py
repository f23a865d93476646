"""The choice among networks that the run has not trained on the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hiast.selection import Candidate, CandidateScores, MeanRankRule, choose
from hiast.selection.rules import Verdict
from hiast.selection.unadapted import comparable_with_statistics

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
        "target_statistics is selected: its batch-norm statistics fit the target better than those of source_only "
        "(InfoMax 0.206, before 0.118; consistency of views 69.70, before 55.20). Without"
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


BEGIN = Candidate("start", "start.ckpt", 0, START.scores, source_trained=True)
TARGET_AT_START = replace(FITS, step=0)


def trained_further(**scores: object) -> Candidate:
    """The end of more training on the source, which ensemble and consistency of views rank last."""
    values = {"source_miou": 0.71, "infomax": 0.12, "consistency": 0.5, "ensemble_miou": 0.1} | scores
    return replace(candidate("source_only", 300, **values), source_trained=True)


def test_source_images_compare_networks_that_were_trained_on_the_source_alone() -> None:
    found = choose([BEGIN, trained_further()])
    assert found.selected.name == "source_only"
    assert found.reason.startswith(
        "source_only is selected: it and start were trained on the source alone, and its mIoU on held-out source "
        "images is higher (71.00, before 69.60). Without this comparison, start is selected"
    )
    assert choose([BEGIN, trained_further(source_miou=0.69, consistency=0.6)]).selected.name == "start"
    assert choose([BEGIN, trained_further(source_miou=math.nan)]).selected.name == "start"


def test_statistics_are_compared_with_the_network_that_is_best_on_the_source() -> None:
    assert choose([BEGIN, TARGET_AT_START, trained_further()]).selected.name == "target_statistics"
    better = trained_further(infomax=0.3, consistency=0.8)
    assert choose([BEGIN, TARGET_AT_START, better]).selected.name == "source_only"
    one_of_two = trained_further(infomax=0.3, ensemble_miou=0.8)
    assert choose([BEGIN, TARGET_AT_START, one_of_two]).selected.name == "source_only"


@pytest.mark.parametrize(
    "scores",
    [
        {"infomax": 0.09},
        {"infomax": math.nan, "consistency": math.nan},
        {"predicted": {"soil": 1.0, "crop": 0.0, "weed": 0.0}},
    ],
)
def test_a_network_that_a_check_refuses_is_not_taken_for_its_source_images(scores: dict[str, object]) -> None:
    assert choose([BEGIN, trained_further(**scores)]).selected.name == "start"


def test_an_adapted_start_is_not_compared_on_the_source() -> None:
    adapted = replace(BEGIN, source_trained=False)
    assert choose([adapted, trained_further()]).selected.name == "start"


def test_an_adapted_candidate_that_wins_is_not_compared_on_the_source() -> None:
    online = candidate("online", 400, infomax=0.3, consistency=0.8, source_miou=0.7, ensemble_miou=0.8)
    assert choose([BEGIN, trained_further(), online]).selected.name == "online"


def trained_on_target(**scores: object) -> Candidate:
    """A candidate that lost on the source as much as statistics of the target do, and is better on the target."""
    values = {"infomax": 0.25, "consistency": 0.75, "source_miou": 0.63, "ensemble_miou": 0.5} | scores
    return candidate("warmup", 200, **values)


def test_a_trained_candidate_is_compared_with_the_statistics_that_were_selected() -> None:
    found = choose([START, FITS, trained_on_target()])
    assert found.selected.name == "warmup"
    assert found.reason.startswith("warmup is selected: of 2 candidates it has the highest mean rank in")
    assert (
        "compared with target_statistics here, not with source_only. Without this comparison" in found.reason
    )
    rows = {row.candidate.name: row for row in found.table}
    assert rows["warmup"].rank == 1 and not rows["warmup"].vetoes
    assert rows["target_statistics"].rank == 2


@pytest.mark.parametrize(
    "scores",
    [
        {"source_miou": 0.57},  # More than five points below the statistics.
        {"infomax": 0.15},
        {"infomax": math.nan},
        {"consistency": 0.6, "infomax": 0.2, "source_miou": 0.6, "ensemble_miou": 0.4},
        {"predicted": {"soil": 0.92, "crop": 0.0, "weed": 0.08}},
        {"predicted": {"soil": 0.1, "crop": 0.1, "weed": 0.8}},
    ],
)
def test_a_trained_candidate_that_is_refused_beside_the_statistics_is_not_selected(
    scores: dict[str, object],
) -> None:
    assert choose([START, FITS, trained_on_target(**scores)]).selected.name == "target_statistics"


def test_without_statistics_that_fit_the_start_remains_the_reference() -> None:
    other = replace(FITS, scores=replace(FITS.scores, infomax=0.09))
    assert choose([START, other, trained_on_target()]).selected.name == "source_only"


def test_a_rule_that_refuses_all_of_them_changes_nothing() -> None:
    class NoneButTheStart(MeanRankRule):
        def __call__(self, candidates: Sequence[Candidate]) -> list[Verdict]:
            rejected = ("It is not the start.",)
            return [Verdict(0.5, () if each is START else rejected) for each in candidates]

    chosen = choose([START, FITS, trained_on_target()], NoneButTheStart())
    assert chosen.selected.name == "target_statistics"


def test_statistics_far_behind_in_target_colors_are_not_better() -> None:
    begin, fits = BEGIN.with_scores(colored_miou=0.5), TARGET_AT_START.with_scores(colored_miou=0.52)
    assert choose([BEGIN, TARGET_AT_START]).selected is TARGET_AT_START
    assert (
        choose([begin, fits]).selected is fits
    )  # Both are within five points, and InfoMax and consistency decide.
    assert choose([begin, fits.with_scores(colored_miou=0.44)]).selected is begin
    assert choose([begin, fits.with_scores(colored_miou=0.56)]).selected.name == fits.name
    near, far = (candidate(f"online-{value}", 300, infomax=0.3, colored_miou=value) for value in (0.48, 0.4))
    assert comparable_with_statistics([begin, fits, near, far], fits) == [near]


def test_further_training_on_the_source_is_compared_on_the_source_in_any_case() -> None:
    begin, further = BEGIN.with_scores(colored_miou=0.5), trained_further(colored_miou=0.5)
    assert choose([begin, further]).selected is further
