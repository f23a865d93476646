"""Candidates and the choice as JSON files of a run directory; NaN is written as null."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.selection.candidates import Candidate
from hiast.selection.choose import Choice

FORMAT = 1
CANDIDATES = "candidates.json"
SELECTED = "selected.json"


class CandidateRecords:
    """The candidates of a run, in ``candidates.json``.

    Every change is written whole before it returns, so a run that resumes finds all candidates that were measured. In
    a run on several processes, the first one writes.

    Args:
        folder: The run directory.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / CANDIDATES

    def read(self) -> list[Candidate]:
        """All candidates, in the order in which they were recorded; none before the first.

        Raises:
            InputError: The file is damaged or of another format.
        """
        if not self.path.is_file():
            return []
        values = _read_json(self.path)
        try:
            return [Candidate.from_dict(value) for value in values["candidates"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _damaged(self.path, str(error)) from error

    def find(self, name: str, network: str = "") -> Candidate | None:
        """The candidate called ``name``, if its weights are those of ``network``; else it must be measured.

        Args:
            name: Its name.
            network: Identifies its weights; empty: any.
        """
        found = next((candidate for candidate in self.read() if candidate.name == name), None)
        return None if found is None or (network and found.network != network) else found

    def record(self, candidate: Candidate) -> None:
        """Add a candidate; one of the same name is replaced where it stands."""
        self.record_all([candidate])

    def record_all(self, candidates: Sequence[Candidate]) -> None:
        """Add several candidates in one write, for instance when the ensemble has changed the scores of all."""
        known = {candidate.name: candidate for candidate in self.read()}
        known.update({candidate.name: candidate for candidate in candidates})
        self._write(list(known.values()))

    def keep(self, names: Sequence[str]) -> None:
        """Drop all candidates that are not named, for instance those behind the step from which a run resumes."""
        self._write([candidate for candidate in self.read() if candidate.name in names])

    def _write(self, candidates: Sequence[Candidate]) -> None:
        values = {"format": FORMAT, "candidates": [candidate.to_dict() for candidate in candidates]}
        _write_json(self.path, values)


def write_choice(folder: Path | str, choice: Choice, alarms: Sequence[str] = ()) -> Path:
    """Write ``selected.json``: the chosen candidate, the reason, the table of scores, and the alarms.

    Args:
        folder: The run directory.
        choice: The choice.
        alarms: Messages of the alarms of the run.

    Returns:
        The file.
    """
    path = Path(folder) / SELECTED
    _write_json(path, {"format": FORMAT, **choice.to_dict(), "alarms": list(alarms)})
    return path


def read_choice(folder: Path | str) -> dict[str, Any] | None:
    """The content of ``selected.json``, with keys ``selected``, ``reason``, ``table`` and ``alarms``; None without one.

    Raises:
        InputError: The file is damaged or of another format.
    """
    path = Path(folder) / SELECTED
    return _read_json(path) if path.is_file() else None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    # A value that JSON does not know is a bug and must not reach the disk.
    write_atomically(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise _damaged(path, f"it is not of format {FORMAT}")
    return values


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} cannot be read ({' '.join(reason.split())[:200]}): remove it, and the candidates of the run are "
        "measured again."
    )
