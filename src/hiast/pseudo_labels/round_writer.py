"""Making a pseudo-label round so that it can be stopped and resumed at any moment.

Until a round is complete, its folder holds ``started.json`` (the identity), ``journal.jsonl`` (one line per finished
group) and, for a policy that surveys the set first, ``survey.npz`` beside the labels. Whenever the process stops, the
same round can be resumed after the last group in the journal, and ends with the same bytes.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.locks import LOCK_FILE, lock_folder
from hiast.pseudo_labels.journal import GroupRecord, Journal
from hiast.pseudo_labels.round_files import (
    FORMAT,
    LABELS,
    MANIFEST,
    STATISTICS,
    TABLE,
    THRESHOLDS,
    damaged,
    file_hash,
    label_path,
    read_json,
    to_json,
)
from hiast.pseudo_labels.round_tables import RoundTables

STARTED, JOURNAL, SURVEY = "started.json", "journal.jsonl", "survey.npz"

_IMAGES = {"names", "order"}
"""The parts of an identity that list the images."""


class RoundWriter:
    """Writes the records of a round. Rank zero alone has one. Use it as a context manager.

    Any process writes label files, with :func:`hiast.pseudo_labels.round_files.write_label`; a group is finished when
    ``append`` has recorded it.

    Args:
        directory: Folder of the round: missing, empty, or holding this very round.
        identity: All that determines the result, as JSON-able values: at least ``names`` (list of str), ``order``
            (list of int, indices into names), ``label_size`` ([h, w] or "image") and ``num_classes``.
        overwrite: Discard a round of another identity in the folder. Other files are never touched.
        keep_finished: If the round in the folder differs in its images alone, keep its finished groups. The remaining
            images follow in the order of that round, and new ones come last. A complete round that holds all images
            is kept unchanged.

    Attributes:
        directory: Folder of the round.
        identity: As given, or as ``keep_finished`` has changed it.
        complete: The round was complete already; nothing is left to do.

    Raises:
        InputError: The folder holds another round, a damaged one, or something else; or another process is working
            in it.
    """

    def __init__(
        self,
        directory: Path | str,
        identity: Mapping[str, object],
        overwrite: bool = False,
        keep_finished: bool = False,
    ) -> None:
        self.directory = Path(directory)
        self.identity: dict[str, Any] = json.loads(to_json(identity))
        for name in self.identity["names"]:
            label_path(self.directory, name)
        if len(set(self.identity["names"])) != len(self.identity["names"]):
            raise InputError("Two images have the same name: each needs its own for its pseudo-label.")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._journal: Journal | None = None
        busy = f"Another process is labeling into {self.directory}: wait until it ends."
        self._lock = lock_folder(self.directory, busy)
        try:
            self._open(overwrite, keep_finished)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RoundWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder; a round that is not complete can be resumed later."""
        if self._journal is not None:
            self._journal.close()
        self._lock.release()

    @property
    def groups(self) -> int:
        """Number of finished groups."""
        return self.journal.groups

    @property
    def journal(self) -> Journal:
        """The journal of a round that is not complete.

        Raises:
            ValueError: The round is complete.
        """
        if self._journal is None:
            raise ValueError("The round is complete and has no journal.")
        return self._journal

    def save_survey(self, groups: int, counts: NDArray[np.int64]) -> None:
        """Keep the counts of the first ``groups`` groups of a survey, to resume from."""
        write_atomically(self.directory / SURVEY, lambda file: np.savez(file, groups=groups, counts=counts))

    def survey(self) -> tuple[int, NDArray[np.int64]] | None:
        """Number of groups and counts that ``save_survey`` kept last.

        Raises:
            InputError: The file is damaged.
        """
        path = self.directory / SURVEY
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as kept:
                return int(kept["groups"]), kept["counts"]
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise damaged(path, "cannot be read") from error

    def finish(self) -> None:
        """Complete the round: write its tables, then the manifest.

        Raises:
            ValueError: Labels are missing.
        """
        tables = RoundTables(self.identity)
        for group in self.journal.records():
            tables.add(group)
        contents = tables.files()
        for name, content in contents.items():
            write_atomically(self.directory / name, content)
        manifest = {
            "format": FORMAT,
            "identity": self.identity,
            "skipped": tables.skipped,
            "files": {name: file_hash(content) for name, content in contents.items()},
        }
        write_atomically(self.directory / MANIFEST, to_json(manifest))
        self.complete = True
        self.close()
        self._remove_leftovers()

    def _open(self, overwrite: bool, keep_finished: bool) -> None:
        there = self._identity_there()
        same_settings = there is not None and _differences(there, self.identity) <= _IMAGES
        self.complete = (self.directory / MANIFEST).is_file()
        if there is not None and there != self.identity:
            covered = same_settings and set(self.identity["names"]) <= set(there["names"])
            if not (keep_finished and same_settings and (covered or not self.complete)):
                self._refuse_or_discard(there, overwrite)
                there, self.complete = None, False
        if self.complete and there is not None:
            self.identity = there
        else:
            if there is None:
                self._mark_started()
            self._journal = Journal(self.directory / JOURNAL, self._is_whole)
            if there is not None and there != self.identity:
                self._change_images(there)
                self._mark_started()
        self._remove_leftovers()

    def _mark_started(self) -> None:
        write_atomically(self.directory / STARTED, to_json({"identity": self.identity}))

    def _identity_there(self) -> dict[str, Any] | None:
        """Identity of the round that the folder holds; None: it holds none.

        Raises:
            InputError: It holds something else.
        """
        for name in (MANIFEST, STARTED):
            path = self.directory / name
            if path.is_file():
                identity = read_json(path).get("identity")
                if not isinstance(identity, dict):
                    raise damaged(path, "has no identity")
                return identity
        if any(not _is_part(path) and path.name != LOCK_FILE for path in self.directory.iterdir()):
            raise InputError(
                f"{self.directory} holds files that are not a pseudo-label round: choose an empty folder."
            )
        return None

    def _refuse_or_discard(self, there: Mapping[str, Any], overwrite: bool) -> None:
        if not overwrite:
            raise InputError(
                f"{self.directory} holds another pseudo-label round: it differs in "
                f"{', '.join(sorted(_differences(there, self.identity)))}. Choose another folder, or pass "
                "overwrite=true to discard it."
            )
        # The marker is removed last, so that a folder that is half discarded is still known as a round.
        write_atomically(self.directory / STARTED, to_json({"identity": there}))
        for name in (MANIFEST, JOURNAL, SURVEY, TABLE, STATISTICS, THRESHOLDS):
            (self.directory / name).unlink(missing_ok=True)
        if (self.directory / LABELS).is_dir():
            shutil.rmtree(self.directory / LABELS)

    def _change_images(self, there: Mapping[str, Any]) -> None:
        """Change the identity to other images after the finished groups."""
        if self.groups == 0:  # Nothing but a survey is lost, which counted other images.
            (self.directory / SURVEY).unlink(missing_ok=True)
            return
        finished = dict.fromkeys(name for group in self.journal.records() for name in group.names)
        here, wanted = self.identity, set(self.identity["names"])
        before = [there["names"][index] for index in there["order"]]
        left = [name for name in before if name in wanted and name not in finished]
        known = set(before)
        new = [here["names"][index] for index in here["order"] if here["names"][index] not in known]
        names = [*here["names"], *(name for name in finished if name not in wanted)]
        places = {name: place for place, name in enumerate(names)}
        self.identity = here | {
            "names": names,
            "order": [places[name] for name in (*finished, *left, *new)],
        }

    def _is_whole(self, group: GroupRecord) -> bool:
        paths = {label_path(self.directory, label.name): label.sha256 for label in group.labels}
        return all(
            path.is_file() and file_hash(path.read_bytes()) == sha256 for path, sha256 in paths.items()
        )

    def _remove_leftovers(self) -> None:
        for path in filter(_is_part, self.directory.rglob(".*.part")):
            path.unlink(missing_ok=True)
        if self.complete:
            for name in (JOURNAL, SURVEY, STARTED):
                (self.directory / name).unlink(missing_ok=True)


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".part")


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> set[str]:
    """Keys of two identities that differ."""
    return {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)}
