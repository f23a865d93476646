"""Several runs side by side; runs that differ in nothing but the seed are one group with mean and deviation."""

from __future__ import annotations

import glob
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiast.counted import counted
from hiast.errors import InputError
from hiast.neutral_settings import ANYWHERE, OF_TRAINER, same_pixels
from hiast.report.facts import RunFacts, read_run
from hiast.report.history import Round

_SAME = ANYWHERE | {"seed", "pictures", "chosen_by_machine"}
"""Settings that do not make two runs different."""

DEPTH = 3
"""Levels of folders that are searched for run directories."""


@dataclass(frozen=True)
class Figure:
    """A figure over the runs of a group.

    Attributes:
        mean: Mean of the known values; NaN: none is known.
        deviation: Standard deviation of a sample (n - 1); NaN for fewer than two values.
        count: Number of known values.
    """

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """The figure of some values; those that are not finite are left out.

        Examples:
            >>> Figure.of([1.0, 3.0, float("nan")])
            Figure(mean=2.0, deviation=1.4142135623730951, count=2)
        """
        known = [value for value in values if math.isfinite(value)]
        return cls(
            statistics.fmean(known) if known else math.nan,
            statistics.stdev(known) if len(known) > 1 else math.nan,
            len(known),
        )


@dataclass(frozen=True)
class Compared:
    """A run in a comparison.

    Attributes:
        label: Short name, different from all others.
        facts: What is known of it.
    """

    label: str
    facts: RunFacts

    @property
    def seed(self) -> Any:
        """Its seed."""
        return self.facts.config.get("seed", (self.facts.starts or [{}])[-1].get("seed"))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its configuration; where ``init_from`` names its seed, each seed starts from a network of its own."""
        config = self.facts.config
        return (
            {**config, "init_from": self.without_seed(config["init_from"])}
            if "init_from" in config
            else config
        )

    def without_seed(self, path: Any) -> Any:
        """A path in which this run's seed is replaced by "SEED", such as ``outputs/source/SEED``."""
        return re.sub(rf"(?<!\d){self.seed}(?!\d)", "SEED", path) if isinstance(path, str) else path

    @property
    def last(self) -> Round | None:
        """The last round with a score."""
        scored = [one for one in self.facts.rounds if math.isfinite(self.facts.mean(one))]
        return scored[-1] if scored else None

    def mean(self, title: str) -> float:
        """A mean (0..1) of the last round; NaN: not known."""
        return math.nan if self.last is None else self.last.means().get(title, math.nan)

    @property
    def gain(self) -> float:
        """Change of the main mean from the first round with a score to the last; NaN with fewer than two."""
        means = [self.facts.mean(one) for one in self.facts.rounds if math.isfinite(self.facts.mean(one))]
        return means[-1] - means[0] if len(means) > 1 else math.nan

    @property
    def chosen(self) -> tuple[str, float]:
        """Name of the candidate that was chosen without labels, and its mIoU on labeled images; NaN: not known."""
        selected = (self.facts.choice or {}).get("selected")
        name = str(selected.get("name", "")) if isinstance(selected, Mapping) else ""
        return name, self.facts.labeled.get(name, (0, math.nan))[1]


@dataclass(frozen=True)
class Group:
    """Runs of equal settings.

    Attributes:
        name: What sets it apart from the other groups.
        runs: The runs, in the order of their seeds.
    """

    name: str
    runs: tuple[Compared, ...]

    @property
    def count(self) -> str:
        """Number of its runs, with what a reader of the mean should know.

        Scores of runs that have not ended are of the middle of a run; runs of one seed are not independent.
        """
        behind = sum(not run.facts.finished for run in self.runs)
        seeds = len({str(run.seed) for run in self.runs})
        notes = [f"{behind} not ended"] if behind else []
        if seeds < len(self.runs):
            notes.append(f"of {counted(seeds, 'seed')}")
        return f"{len(self.runs)} ({', '.join(notes)})" if notes else str(len(self.runs))

    def mean(self, title: str) -> Figure:
        """A mean over its runs."""
        return Figure.of(run.mean(title) for run in self.runs)

    @property
    def gain(self) -> Figure:
        """The gain over its runs."""
        return Figure.of(run.gain for run in self.runs)

    @property
    def chosen(self) -> Figure:
        """The mIoU of what was chosen."""
        return Figure.of(run.chosen[1] for run in self.runs)

    @property
    def device_seconds(self) -> Figure:
        """Seconds times devices."""
        return Figure.of(run.facts.device_seconds for run in self.runs)

    def iou(self, name: str) -> Figure:
        """IoU of a class at the end."""
        return Figure.of(run.last.iou().get(name, math.nan) for run in self.runs if run.last is not None)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        groups: Groups in the order in which their first runs were named.
        titles: Titles of the means, of all runs.
        classes: Names of the classes, of all runs.
        settings: Dotted key -> its value in each group, of the settings that differ.
    """

    groups: tuple[Group, ...]
    titles: tuple[str, ...]
    classes: tuple[str, ...]
    settings: dict[str, list[Any]]

    @property
    def runs(self) -> list[Compared]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]


def find_runs(words: Sequence[str]) -> list[Path]:
    """Run directories that words name: a run, a folder with runs in it (a sweep), or a pattern.

    Args:
        words: Paths or patterns.

    Raises:
        InputError: A word names no run.
    """
    found: dict[Path, Path] = {}
    for word in words:
        paths = [Path(word)] if Path(word).exists() else [Path(path) for path in sorted(glob.glob(word))]  # noqa: PTH207
        runs = [run for path in paths for run in _runs_in(path)]
        if not runs:
            raise InputError(
                f"run: {word} is not a run directory, and not a folder or a pattern with run directories in it."
            )
        for run in runs:  # By a link, such as one to the latest run, it is the same run.
            found.setdefault(run.resolve(), run)
    return list(found.values())


def compare(folders: Sequence[Path]) -> Comparison:
    """Read runs and group them.

    Args:
        folders: Run directories, at least one.

    Raises:
        InputError: One is not a run directory.
    """
    facts = [read_run(folder) for folder in folders]
    runs = [Compared(label, each) for label, each in zip(_labels(folders, facts), facts, strict=True)]
    grouped: dict[str, list[Compared]] = {}
    for run in runs:
        grouped.setdefault(_identity(run), []).append(run)
    members = [tuple(sorted(group, key=lambda run: str(run.seed))) for group in grouped.values()]
    settings = _differing([group[0].settings for group in members])
    names = _names(members, settings)
    return Comparison(
        groups=tuple(Group(name, group) for name, group in zip(names, members, strict=True)),
        titles=tuple(dict.fromkeys(t for run in runs if run.last is not None for t in run.last.means())),
        classes=tuple(dict.fromkeys(c for run in runs if run.last is not None for c in run.last.iou())),
        settings=settings,
    )


def _runs_in(path: Path, depth: int = DEPTH) -> list[Path]:
    if (path / "config.yaml").is_file() or (path / "metrics.csv").is_file():
        return [path]
    if depth == 0 or not path.is_dir():
        return []
    inner = sorted(
        (each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")), key=_natural
    )
    return [run for each in inner for run in _runs_in(each, depth - 1)]


def _natural(path: Path) -> tuple[int, str]:
    """Folders of a sweep are numbered: 10 comes after 9."""
    return (int(path.name), "") if path.name.isdigit() else (1 << 30, path.name)


def _labels(folders: Sequence[Path], facts: Sequence[RunFacts]) -> list[str]:
    """The last parts of the paths, as many as tell them apart; behind the scenario where there are several."""
    if len({each.name for each in facts}) > 1:
        titles = _labels(folders, facts[:1])
        return [
            title if title.partition("/")[0] == each.name else f"{each.name}/{title}"
            for title, each in zip(titles, facts, strict=True)
        ]
    parts = [folder.resolve().parts for folder in folders]
    longest = max((len(each) for each in parts), default=1)
    for count in range(1, longest + 1):
        labels = ["/".join(each[-count:]) for each in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [str(folder) for folder in folders]


def _identity(run: Compared) -> str:
    if not run.facts.config:
        return f"unknown settings of {run.label}"
    return json.dumps(flat(run.settings), sort_keys=True, default=str)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Dotted key -> plain value of the settings that make runs different.

    Examples:
        >>> flat({"seed": 1, "online": {"max_steps": 5}})
        {'online.max_steps': 5}
    """
    if _is_same(key) or same_pixels(key, value):
        return {}
    if isinstance(value, Mapping) and value:
        return {
            inner: each
            for name, part in value.items()
            for inner, each in flat(part, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: value}


def _is_same(key: str) -> bool:
    """Whether a setting with this dotted key does not make two runs different."""
    parts = key.split(".")
    return not _SAME.isdisjoint(parts) or (parts[0] == "trainer" and not OF_TRAINER.isdisjoint(parts[1:]))


def _differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    tables = [flat(config) for config in configs]
    keys = dict.fromkeys(key for table in tables for key in table)
    columns = {key: [table.get(key) for table in tables] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}


def _names(groups: Sequence[tuple[Compared, ...]], settings: Mapping[str, list[Any]]) -> list[str]:
    """What a user has chosen or set in each group, where that tells them apart; the labels of the runs otherwise."""
    chosen = [_chosen(group[0]) for group in groups]
    keys = dict.fromkeys(key for each in chosen for key in each)
    differing = [key for key in keys if any(each.get(key) != chosen[0].get(key) for each in chosen)]
    ends = [key.rpartition(".")[2] for key in differing]
    short = {
        key: end if ends.count(end) == 1 and "@" not in key else key
        for key, end in zip(differing, ends, strict=True)
    }
    names = [
        ", ".join(f"{short[key]}={each[key]}" for key in differing if key in each)
        or (group[0].facts.settings.get("scenario") or "")
        for each, group in zip(chosen, groups, strict=True)
    ]
    if len(groups) == 1:
        return [groups[0][0].facts.name]
    usable = all(names) and len(set(names)) == len(names) and max(map(len, names)) <= 80
    return names if usable else [group[0].label for group in groups]


def _chosen(run: Compared) -> dict[str, Any]:
    facts = run.facts
    found: dict[str, Any] = {
        "scenario": facts.settings.get("scenario"),
        "method": facts.settings.get("method"),
    }
    for part in ("choices", "settings"):
        values = facts.settings.get(part)
        if isinstance(values, Mapping):
            found |= {
                key: run.without_seed(pair[1]) if key == "init_from" else pair[1]
                for key, pair in values.items()
                if isinstance(pair, list) and len(pair) == 2 and not _is_same(key)
            }
    return {key: value for key, value in found.items() if value is not None}
