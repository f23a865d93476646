"""The pairs that a run leaves out, kept in a file so that a resumed run has the same images in the same order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hiast.errors import InputError
from hiast.files import write_atomically


@dataclass(frozen=True)
class SkipList:
    """A JSON file: a dataset's role in the run, such as "source/train" -> name of each pair left out -> why.

    Attributes:
        path: The file; made when the first entry is added.
    """

    path: Path

    def read(self, role: str) -> dict[str, str] | None:
        """What was left out of a dataset; None: it was not looked for yet.

        Raises:
            InputError: The file is damaged.
        """
        return self._entries().get(role)

    def add(self, role: str, skipped: Mapping[str, str]) -> None:
        """Keep what is left out of a dataset, for all later starts.

        Raises:
            InputError: The file is damaged.
            OSError: It cannot be written.
        """
        entries = {**self._entries(), role: dict(skipped)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(entries, indent=2).encode())

    def _entries(self) -> dict[str, dict[str, str]]:
        if not self.path.is_file():
            return {}
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError:
            entries = None
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise InputError(
                f"{self.path} is damaged: put it back, or remove it to have the files checked anew, which may "
                "change the order of the images."
            )
        return entries
