from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from rich.console import Console

from hiast.classes import SYNTHIA_19
from hiast.evaluation import class_table, markdown_table, stage_table
from hiast.evaluation.metrics import scores
from hiast.evaluation.tables import duration, percent


def result(stage: str, number: int, mean: float, seconds: float = 10.0) -> dict[str, Any]:
    means = {"mIoU-16": mean, "mIoU-13": mean + 0.05}
    return {"stage": stage, "round": number, "steps": 8000, "means": means, "iou": {}, "seconds": seconds}


RESULTS = [
    result("source_only", 1, 0.3512, 3723.4),
    result("warmup", 1, 0.4123),
    result("self_training", 1, 0.4),
    result("self_training", 2, float("nan")),
]


def shown(table: Any, width: int = 120) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_stage_table_has_one_row_per_round_in_percent() -> None:
    cells = [line.split() for line in shown(stage_table(RESULTS)).splitlines() if "8,000" in line]
    assert cells == [
        ["source_only", "8,000", "35.12", "40.12", "1:02:03"],
        ["warmup", "8,000", "41.23", "46.23", "+6.11", "0:10"],
        ["self_training", "1", "8,000", "40.00", "45.00", "-1.23", "0:10"],
        ["self_training", "2", "8,000", "-", "-", "0:10"],
    ]
    assert "kept" not in shown(stage_table(RESULTS))


def test_rounds_show_their_signals_and_fit_a_terminal() -> None:
    rounds = [
        {**RESULTS[1]},
        {**RESULTS[2], "signals": {"labels/coverage": 0.4567}},
        {
            **RESULTS[2],
            "round": 2,
            "seconds": 3600,
            "signals": {"labels/coverage": 0.5, "labels/overlap": 0.981},
        },
    ]
    assert [row.split("|")[6:8] for row in markdown_table(rounds).splitlines() if "---" not in row] == [
        [" kept ", " overlap "],
        ["  ", "  "],
        [" 45.7 ", "  "],
        [" 50.0 ", " 98.1 "],
    ]
    last = ["self_training", "2", "8,000", "40.00", "45.00", "+0.00", "50.0", "98.1", "1:00:00"]
    lines = shown(stage_table(rounds), width=80).splitlines()
    assert any(line.split() == last for line in lines)
    assert "round before" in " ".join(" ".join(lines).split())
    assert "overlap" not in shown(stage_table(rounds[:2]))  # It is explained where it is shown.


def test_the_markdown_table_says_the_same() -> None:
    lines = markdown_table(RESULTS).splitlines()
    assert lines[0] == "| stage | steps | mIoU-16 | mIoU-13 | change | time |"
    assert lines[1].count("|") == lines[0].count("|")
    assert lines[3] == "| warmup | 8,000 | 41.23 | 46.23 | +6.11 | 0:10 |"


def test_no_result_and_missing_means_make_a_table_too() -> None:
    assert "stage" in shown(stage_table([]))
    unlabeled = shown(stage_table([{**RESULTS[0], "means": {}}]))
    assert "no mIoU" in unlabeled and "change" not in unlabeled and "1:02:03" in unlabeled
    stored = json.loads(json.dumps({**RESULTS[0], "means": {"mIoU-16": None}}))
    assert "| - |" in markdown_table([stored])


def test_the_class_table_marks_absent_classes_and_shows_both_means() -> None:
    matrix = np.diag(np.r_[np.full(15, 10), np.zeros(4)]).astype(np.int64)
    matrix[0, 1] = 10
    text = shown(class_table(scores(matrix, SYNTHIA_19), SYNTHIA_19))
    rows = {line.strip("│").split("│")[0].strip(): line for line in text.splitlines() if "│" in line}
    assert "50.00" in rows["road"]
    assert "absent" in rows["train (in no mean)"]
    assert "bus" in rows
    assert "92.31" in rows["mIoU-16"]
    assert "75.00" in rows["mIoU-16 (absent = 0)"]


def test_numbers_as_people_read_them() -> None:
    assert percent(0.56204) == "56.20"
    assert percent(None) == percent(float("nan")) == "-"
    assert duration(59.6) == "1:00"
    assert duration(3600) == "1:00:00"
