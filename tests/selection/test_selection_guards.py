from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from selection_reference import density
from torch import Tensor

from hiast.errors import InputError
from hiast.selection import (
    Candidate,
    CandidateScores,
    DynamicTeacher,
    batch_density,
    return_to,
)
from hiast.selection.samples import pixel_positions

IMAGES = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)


def updates(before: list[float], now: list[float], **options: float) -> list[int]:
    """Steps at which the teacher follows; ``before``: scores of new batches, ``now``: of all, at each step."""
    teacher = DynamicTeacher(**options)  # type: ignore[arg-type]
    found = []
    for step, score in enumerate(before):
        teacher.keep(IMAGES, score)
        if teacher.due(lambda images, number, step=step: now[step]):
            found.append(step + 1)
    return found


def test_a_student_that_improves_is_followed_at_the_first_question() -> None:
    assert updates([0.1] * 30, [0.2] * 30) == [9, 18, 27]


def test_a_student_that_does_not_is_followed_beyond_30_batches() -> None:
    # Questions at 9, 12, ..., 30, 33; 30 batches are not more than 30.
    assert updates([0.2] * 70, [0.1] * 70) == [33, 66]
    assert updates([0.2] * 70, [0.2] * 70) == [33, 66]
    assert updates([0.2] * 40, [math.nan] * 40) == [33]


def test_a_late_improvement_is_followed_at_the_next_question() -> None:
    assert updates([0.2] * 20, [0.1] * 12 + [0.3] * 8) == [15]


def test_more_than_half_must_improve() -> None:
    half = [0.1, 0.3]
    assert updates(half, [0.2, 0.2], first=2, every=1, most=2) == []
    assert updates([0.1, 0.1, 0.3], [0.2] * 3, first=3, every=1, most=9) == [3]


def test_each_batch_is_scored_with_its_own_number() -> None:
    teacher = DynamicTeacher(first=2, every=1)
    asked: list[tuple[int, int]] = []

    def score(images: Tensor, number: int) -> float:
        asked.append((int(images[0, 0, 0, 0]), number))
        return 1.0

    for step in range(5):
        assert teacher.number == step
        teacher.keep(IMAGES + step, 0.0)
        teacher.due(score)
    assert asked == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_it_resumes_from_a_checkpoint(tmp_path: Path) -> None:
    def run(interrupted: int | None) -> list[tuple[int, bool]]:
        teacher = DynamicTeacher(first=3, every=2, most=8)
        found = []
        for step in range(40):
            if step == interrupted:
                torch.save(teacher.state_dict(), tmp_path / "state.pt")
                teacher = DynamicTeacher(first=3, every=2, most=8)
                teacher.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
            teacher.keep(IMAGES + step, math.sin(step))
            due = teacher.due(lambda images, number, step=step: math.sin(number + 0.1 * step))
            found.append((teacher.number, due))
        return found

    whole = run(None)
    assert sum(due for _, due in whole) > 2
    assert all(run(step) == whole for step in (1, 4, 17, 39))


def test_accumulated_gradients_do_not_skip_the_questions() -> None:
    """Two batches for each optimizer step, so that no question falls on a kept number of batches itself."""
    teacher = DynamicTeacher(first=9, every=2)
    found = []
    for step in range(20):
        for _ in range(2):
            teacher.keep(IMAGES, 0.1)
        if teacher.due(lambda images, number, step=step: 0.2 if step >= 6 else 0.0):
            found.append(step + 1)
    assert found[:2] == [7, 12]


def test_it_resumes_exactly_with_accumulated_gradients(tmp_path: Path) -> None:
    def run(interrupted: int | None) -> list[int]:
        teacher, asked = DynamicTeacher(first=9, every=4, most=80), []
        for step in range(20):
            if step == interrupted:
                torch.save(teacher.state_dict(), tmp_path / "state.pt")
                teacher = DynamicTeacher(first=9, every=4, most=80)
                teacher.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
            for _ in range(2):
                teacher.keep(IMAGES, 0.5)
            calls: list[int] = []
            teacher.due(lambda images, number, calls=calls: calls.append(number) or 0.0)
            if calls:
                asked.append(teacher.number)
        return asked

    assert run(None) == [10, 14, 18, 22, 26, 30, 34, 38]
    assert all(run(step) == run(None) for step in (1, 5, 6, 7, 12))


def test_kept_images_are_a_copy() -> None:
    teacher = DynamicTeacher(first=1)
    images = IMAGES.clone()
    teacher.keep(images, 0.0)
    images += 9
    assert teacher.due(lambda kept, number: float(kept.sum() == 0))


@pytest.mark.parametrize(
    "options", [{"first": 0}, {"every": 0}, {"most": 8}, {"share": 1.0}, {"share": -0.1}]
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="dynamic teacher"):
        DynamicTeacher(**options)  # type: ignore[arg-type]


def test_density_of_a_batch_equals_loops_and_repeats_itself() -> None:
    maps = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0)).mul(3).softmax(1)
    rows = maps.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    expected = density(rows[pixel_positions(60, 20, 1, 7)])
    assert batch_density(maps, 7, seed=1, pixels=20) == pytest.approx(expected, abs=1e-4)
    assert batch_density(maps, 7, seed=1, pixels=20) == batch_density(maps, 7, seed=1, pixels=20)
    assert batch_density(maps, 8, seed=1, pixels=20) != batch_density(maps, 7, seed=1, pixels=20)


def candidate(name: str, step: int, infomax: float, ensemble: float) -> Candidate:
    return Candidate(name, f"{name}.ckpt", step, CandidateScores(infomax=infomax, ensemble_miou=ensemble))


def test_training_goes_back_from_a_refused_candidate_only() -> None:
    good = [candidate("source_only", 0, 0.6, 0.7), candidate("warmup", 1, 0.62, 0.8)]
    lower = candidate("round-1", 2, 0.61, 0.6)
    fallen = candidate("round-2", 3, 0.1, 0.9)
    assert return_to([*good, lower], "round-1") is None
    back = return_to([*good, lower, fallen], "round-2")
    assert back is not None
    assert back.selected.name == "warmup"
    assert "rejected: round-2" in back.reason
    assert return_to(good[:1], "source_only") is None
    with pytest.raises(ValueError, match="no candidate 'x'"):
        return_to(good, "x")
