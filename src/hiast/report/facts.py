"""All that a run directory says, gathered; whatever is missing, damaged or older is left out."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import hiast.classes as known_classes
from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.files import parse_yaml
from hiast.report import shapes
from hiast.report.files import (
    CLASSES,
    LABELED,
    LINEAGE,
    SETTINGS,
    TIMES,
    examples_path,
    hard_classes_path,
    number,
    read_record,
    validation_path,
)
from hiast.report.history import Round, planned_rounds, read_history
from hiast.report.labels import LabeledRound, read_labels
from hiast.selection import Candidate, CandidateRecords
from hiast.selection.alarms import raised

log = logging.getLogger(__name__)


@dataclass
class RunFacts:
    """What a report shows.

    Attributes:
        folder: The run directory.
        config: Its configuration; empty: not known.
        classes: The label space; None: not even names are known.
        rounds: What it has begun, in order.
        planned: (stage, round) of all that the configuration asks for.
        labels: Pseudo-labels of its rounds.
        candidates: Networks that may be its result.
        choice: Content of ``selected.json``; None: nothing was chosen yet.
        alarms: Sentences, in the order in which they were raised.
        labeled: Candidate -> mIoU and, as ``NAME (teacher)``, that of its teacher, on labeled target images.
        labeled_on: The labeled images, in words.
        validations: Title of a round -> record of its last validation.
        examples: Title of a round -> record of its examples.
        hard_classes: Title of a round -> record of its hard classes.
        starts: Starts of the program: environment and command.
        times: Entries of ``times.json``.
        lineage: Entries of ``lineage.json``.
        settings: Content of ``settings.json``.
        skipped: Role of a dataset -> file that is left out -> why.
        problems: What could not be read, in sentences.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    classes: LabelSpace | None = None
    rounds: list[Round] = field(default_factory=list)
    planned: list[tuple[str, int]] = field(default_factory=list)
    labels: list[LabeledRound] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    choice: dict[str, Any] | None = None
    alarms: list[str] = field(default_factory=list)
    labeled: dict[str, tuple[int, float]] = field(default_factory=dict)
    labeled_on: str = ""
    validations: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    hard_classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    starts: list[dict[str, Any]] = field(default_factory=list)
    times: list[dict[str, Any]] = field(default_factory=list)
    lineage: list[dict[str, str]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the scenario, or of the folder."""
        return str(self.config.get("name") or self.settings.get("scenario") or self.folder.resolve().name)

    @property
    def finished(self) -> bool:
        """Whether all that was planned has ended."""
        ended = {(one.stage, one.number) for one in self.rounds if one.result is not None}
        return bool(self.planned) and set(self.planned) <= ended

    @property
    def main_mean(self) -> str:
        """Title of the first reported mean; empty: nothing was validated."""
        return next((title for one in self.rounds for title in one.means()), "")

    def mean(self, one: Round) -> float:
        """The main mean of a round, 0..1; NaN: not validated."""
        return one.means().get(self.main_mean, math.nan)

    @property
    def device_seconds(self) -> float:
        """Seconds times devices, over all starts; NaN: not recorded."""
        if not self.times:
            seconds = [number((one.result or {}).get("seconds")) for one in self.rounds if one.result]
            return sum(seconds) if seconds else math.nan
        return float(sum(fit["seconds"] * max(1, fit["devices"]) for fit in self.times))


def read_run(folder: Path | str) -> RunFacts:
    """Gather what a run directory holds.

    Args:
        folder: The run directory, of a run that has ended, is running, or was interrupted.

    Raises:
        InputError: The folder is not a run directory.
    """
    folder = Path(folder)
    if not any((folder / name).exists() for name in ("config.yaml", "metrics.csv", "environment.json")):
        raise InputError(
            f"{folder} is not a run directory: it holds neither config.yaml nor metrics.csv; name the folder that "
            "hiast-train printed."
        )
    facts = RunFacts(folder, config=_config(folder))
    facts.rounds = read_history(folder, facts.config)
    facts.planned = planned_rounds(facts.config)
    facts.labels, facts.problems = read_labels(folder, facts.rounds)
    facts.classes = _classes(folder, facts.rounds)
    _read_selection(facts)
    for one in facts.rounds:
        for found, path, shape in (
            (facts.validations, validation_path(folder, one.stage, one.number), shapes.validation),
            (facts.examples, examples_path(folder, one.stage, one.number), shapes.examples),
            (facts.hard_classes, hard_classes_path(folder, one.stage, one.number), shapes.hard_classes),
        ):
            record = read_record(path)
            if record is not None:
                found[one.title] = shape(record)
    facts.starts = [shapes.start(each) for each in _list(read_record(folder / "environment.json"), "starts")]
    fits = [shapes.fit(each) for each in _list(read_record(folder / TIMES), "fits")]
    facts.times = [each for each in fits if each is not None]
    facts.lineage = [shapes.origin(each) for each in _list(read_record(folder / LINEAGE), "rounds")]
    facts.settings = read_record(folder / SETTINGS) or {}
    facts.skipped = _skipped(folder)
    return facts


def _read_selection(facts: RunFacts) -> None:
    records = CandidateRecords(facts.folder)
    try:
        facts.candidates = records.read()
    except InputError as error:
        facts.problems.append(str(error))
    choice = read_record(facts.folder / "selected.json")
    usable = choice is not None and isinstance(choice.get("selected"), dict) and "reason" in choice
    facts.choice = choice if usable else None
    for end in range(1, len(facts.candidates) + 1):
        facts.alarms += [text for text in raised(facts.candidates[:end]) if text not in facts.alarms]
    record = read_record(facts.folder / LABELED)
    if record is None:
        return
    count, total = record.get("images", "?"), record.get("of", "?")
    facts.labeled_on = f"{record.get('mean', 'mIoU')} on {count} of {total} labeled images"
    candidates = record.get("candidates")
    for name, entry in candidates.items() if isinstance(candidates, dict) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            continue
        facts.labeled[name] = (entry["step"], number(entry.get("miou")))
        if math.isfinite(number(entry.get("teacher"))):
            facts.labeled[f"{name} (teacher)"] = (entry["step"], number(entry.get("teacher")))


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = parse_yaml((folder / "config.yaml").read_text("utf-8"))
    except OSError:
        return {}
    except (ValueError, yaml.YAMLError):
        log.warning("%s is damaged: the report does without it.", folder / "config.yaml")
        return {}
    return config if isinstance(config, dict) else {}


def _classes(folder: Path, rounds: list[Round]) -> LabelSpace | None:
    """As recorded; of an older run by the names in its scores."""
    record = read_record(folder / CLASSES)
    try:
        if record is not None:
            return LabelSpace(record["names"], record["colors"], record["reported"])
        names = next((tuple(iou) for one in rounds if (iou := one.iou())), ())
        colors = dict(zip(known_classes.CITYSCAPES_19.names, known_classes.CITYSCAPES_19.colors, strict=True))
        return LabelSpace(names, tuple(colors.get(name, (150, 150, 150)) for name in names))
    except (KeyError, TypeError, ValueError):
        return None


def _skipped(folder: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads((folder / "skipped.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {str(role): dict(files) for role, files in found.items() if isinstance(files, Mapping) and files}


def _list(record: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    values = (record or {}).get(key)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
