"""The rounds of a run in order, with what ``metrics.csv`` and the results say of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiast.report.files import number, read_metrics, read_record
from hiast.stage_names import STAGES

Points = list[tuple[int, float]]
"""(step within the round, value), in order."""


@dataclass
class Round:
    """A stage, or a round of self-training.

    Attributes:
        stage: Name of the stage.
        number: Round, counted from 1.
        of: Rounds of the stage that the run knows of.
        begin: Optimizer steps of all rounds before it.
        steps: Steps that it takes; as far as it got, where that is not known.
        values: Name in ``metrics.csv`` -> its points.
        result: What its result file says; None: it has not ended.
        labeled: Whether it has a complete set of pseudo-labels.
    """

    stage: str
    number: int
    of: int = 1
    begin: int = 0
    steps: int = 0
    values: dict[str, Points] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    labeled: bool = False

    @property
    def title(self) -> str:
        """``warmup``, ``self_training 2``."""
        return f"{self.stage} {self.number}" if self.of > 1 else self.stage

    @property
    def seen(self) -> int:
        """The last step that is recorded."""
        if self.result is not None:
            return self.steps
        return max((points[-1][0] for points in self.values.values() if points), default=0)

    def last(self, name: str) -> float:
        """The last value of a number; NaN: there is none."""
        points = self.values.get(name)
        return points[-1][1] if points else math.nan

    def means(self) -> dict[str, float]:
        """Title -> mIoU (0..1) at its end, or at its last validation."""
        if self.result is not None:
            return {str(title): number(value) for title, value in _mapping(self.result.get("means")).items()}
        names = [name for name in self.values if name.startswith("val/") and not name.startswith("val/iou/")]
        return {name.removeprefix("val/"): self.last(name) for name in names if name != "val/entropy"}

    def iou(self) -> dict[str, float]:
        """Class -> IoU (0..1) at its end, or at its last validation; NaN: absent."""
        if self.result is not None:
            return {str(name): number(value) for name, value in _mapping(self.result.get("iou")).items()}
        prefix = "val/iou/"
        return {name.removeprefix(prefix): self.last(name) for name in self.values if name.startswith(prefix)}


def read_history(folder: Path, config: Mapping[str, Any]) -> list[Round]:
    """The rounds that a run has begun, in order.

    Args:
        folder: The run directory.
        config: Its configuration; may be empty.
    """
    rounds: dict[tuple[str, int], Round] = {}
    for row in read_metrics(folder / "metrics.csv"):
        try:
            key, step = (row["stage"], int(row["round"])), int(row["step"])
        except (KeyError, TypeError, ValueError):
            continue
        found = rounds.setdefault(key, Round(*key))
        found.values.setdefault(row["name"], []).append((step, number(row["value"])))
    for stage in STAGES:
        for path in (folder / stage).glob("result_*.json"):
            key = (stage, _suffix(path))
            rounds.setdefault(key, Round(*key)).result = read_record(path)
        for path in (folder / stage / "rounds").glob("*/"):
            key = (stage, _suffix(path))
            rounds.setdefault(key, Round(*key)).labeled = (path / "manifest.json").is_file()
    known = [one for key, one in sorted(rounds.items(), key=_place) if one.number]
    _place_in_time(known, config)
    return known


def planned_steps(config: Mapping[str, Any], stage: str, round_number: int) -> int:
    """Optimizer steps of a round by the configuration; 0: it does not say."""
    settings = _mapping(config.get(stage))
    by_round = _mapping(settings.get("by_round"))
    of_round = _mapping(by_round.get(str(round_number)) or by_round.get(round_number))
    steps = of_round.get("max_steps", settings.get("max_steps"))
    if steps is None and stage == "online":
        count = _mapping(config.get("self_training")).get("rounds")
        rounds = range(1, count + 1) if isinstance(count, int) else ()
        steps = sum(planned_steps(config, "self_training", number) for number in rounds)
    return steps if isinstance(steps, int) else 0


def planned_rounds(config: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(stage, round) of all rounds that a configuration asks for, in order."""
    stages = config.get("stages")
    wanted = stages if isinstance(stages, list) else []
    found = []
    for stage in STAGES:
        settings = _mapping(config.get(stage))
        if stage in wanted and _mapping(settings.get("module")).get("_target_"):
            count = settings.get("rounds", 1)
            found += [(stage, place) for place in range(1, (count if isinstance(count, int) else 1) + 1)]
    return found


def _place_in_time(rounds: Sequence[Round], config: Mapping[str, Any]) -> None:
    planned = planned_rounds(config)
    begin = 0
    for one in rounds:
        one.of = max(
            [place for stage, place in planned if stage == one.stage]
            + [other.number for other in rounds if other.stage == one.stage]
        )
        result = one.result or {}
        steps = result.get("steps")
        one.begin = begin
        one.steps = steps if isinstance(steps, int) else planned_steps(config, one.stage, one.number)
        one.steps = one.steps or one.seen
        begin += one.steps


def _place(item: tuple[tuple[str, int], Round]) -> tuple[int, str, int]:
    (stage, place), _ = item
    return (STAGES.index(stage) if stage in STAGES else len(STAGES), stage, place)


def _suffix(path: Path) -> int:
    """The number at the end of a name; 0: there is none."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
