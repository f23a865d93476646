"""Labeling a round: read, predict, threshold, write, record.

Every process runs the network on its own groups. Groups that are next to each other go to different processes, and all
processes follow the same sequence of thresholds, so that their number does not change the result.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.errors import RunError
from hiast.pseudo_labels.collectives import Communicator, all_gather_checked, run_on_rank_zero
from hiast.pseudo_labels.histogram import Histogram
from hiast.pseudo_labels.journal import GroupRecord
from hiast.pseudo_labels.policies import Policy, Thresholds
from hiast.pseudo_labels.round_files import to_json
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.pseudo_labels.round_writer import RoundWriter
from hiast.pseudo_labels.workers import GroupLabels, GroupOutput, LabelPipeline

Progress = Callable[[int, int], None]

_SURVEY_SAVED_EVERY = 64
"""Turns of a survey between two copies on the disk."""


@dataclass(frozen=True)
class _Start:
    """Where a round starts or resumes, as rank zero found it on the disk.

    Attributes:
        complete: Nothing is left to do.
        groups: Number of finished groups.
        thresholds: After the last of them; None: the policy has none, or nothing is finished.
        left: Names of the images that are left, in the order of labeling, where it is not the planned one.
        images: Number of all images.
    """

    complete: bool
    groups: int
    thresholds: tuple[float, ...] | None
    left: list[str] | None
    images: int


@dataclass(frozen=True)
class _Turn:
    """Consecutive groups, one per process, whose labels are being written.

    Attributes:
        thresholds: After each of the groups.
        labels: What this process writes; None: the last turn has no group for it.
    """

    thresholds: list[Thresholds | None]
    labels: Future[GroupLabels] | None


class RoundLabeler:
    """Labels this process's share of a round. Every process runs it with the same arguments.

    Args:
        directory: Folder of the round.
        identity: All that determines the result, as ``RoundWriter`` takes it, with ``group_size``.
        policy: Decides the thresholds.
        communicator: The processes that label together.
        progress: Called on rank zero with the number of images done and to do.
        overwrite: As for ``RoundWriter``.
        keep_finished: As for ``RoundWriter``.
    """

    def __init__(
        self,
        directory: Path,
        identity: Mapping[str, Any],
        policy: Policy,
        communicator: Communicator,
        *,
        progress: Progress | None = None,
        overwrite: bool = False,
        keep_finished: bool = False,
    ) -> None:
        self._directory, self._identity, self._policy = directory, identity, policy
        self._communicator, self._progress = communicator, progress
        self._overwrite, self._keep_finished = overwrite, keep_finished
        self._names: Sequence[str] = identity["names"]
        self._group_size: int = identity["group_size"]
        self._left: Sequence[int] = ()
        self._finished_groups = self._images = 0
        self._thresholds: Thresholds | None = None
        self._no_pixels = Histogram.empty(policy.num_classes)
        self._writer: RoundWriter | None = None

    def open(self, stack: ExitStack) -> bool:
        """Open the round on rank zero and send every process the place to start; false if it is complete already.

        Args:
            stack: Closes the round when it is left.

        Raises:
            InputError: The folder holds something else.
            RunError: The processes were given different arguments.
        """
        digest = hashlib.sha256(to_json(self._identity)).hexdigest()
        if len(set(self._communicator.all_gather_object(digest))) > 1:
            raise RunError("The processes were given different images, policies or identities to label with.")
        start = run_on_rank_zero(self._communicator, partial(self._open_writer, stack))
        self._finished_groups, self._images = start.groups, start.images
        if start.thresholds is not None and (self._policy.adapts or self._policy.surveys):
            self._thresholds = np.array(start.thresholds)
        order: Sequence[int] = self._identity["order"]
        if start.left is None:
            self._left = order[start.groups * self._group_size :]
        else:
            places = {name: place for place, name in enumerate(self._names)}
            self._left = [places[name] for name in start.left]
        return not start.complete

    def run(self, pipeline: LabelPipeline, ahead: int, behind: int) -> None:
        """Label all groups that are not finished.

        Args:
            pipeline: Threads that read, predict and write.
            ahead: Groups that reading and prediction may be ahead of the thresholds.
            behind: Turns whose labels may still be written.
        """
        if self._thresholds is None:
            survey = self._survey(pipeline, ahead) if self._policy.surveys else None
            self._thresholds = self._policy.start(survey)
        outputs = pipeline.outputs(self._own_groups(), 1 if self._policy.adapts else None, ahead)
        writing: deque[_Turn] = deque()
        rank = self._communicator.rank
        for first in range(0, self._groups_left, self._communicator.world_size):
            output = next(outputs, None)
            thresholds = self._advance(first, output)
            labels = None
            if output is not None:
                names = [self._names[index] for index in self._group(first + rank)]
                labels = pipeline.write(self._directory, names, output, thresholds[rank])
            writing.append(_Turn(thresholds, labels))
            if len(writing) > behind:
                self._record(writing.popleft())
        while writing:
            self._record(writing.popleft())

    def finish(self) -> None:
        """Complete the round."""
        run_on_rank_zero(self._communicator, self._finish)

    def _open_writer(self, stack: ExitStack) -> _Start:
        writer = RoundWriter(self._directory, self._identity, self._overwrite, self._keep_finished)
        self._writer = stack.enter_context(writer)
        names = writer.identity["names"]
        if writer.complete:
            RoundReader(self._directory, verify=True)
            return _Start(True, 0, None, None, len(names))
        last = writer.journal.last
        order = writer.identity["order"]
        changed = names != self._identity["names"] or order != self._identity["order"]
        left = [names[place] for place in order[writer.journal.images :]] if changed else None
        return _Start(False, writer.groups, last.thresholds if last else None, left, len(names))

    def _finish(self) -> None:
        assert self._writer is not None
        self._writer.finish()

    @property
    def _groups_left(self) -> int:
        return -(-len(self._left) // self._group_size)

    def _group(self, number: int) -> Sequence[int]:
        """Image indices of a group, counted from the first that is left."""
        return self._left[number * self._group_size : (number + 1) * self._group_size]

    def _own_groups(self, first: int = 0) -> list[Sequence[int]]:
        own = range(first + self._communicator.rank, self._groups_left, self._communicator.world_size)
        return [self._group(number) for number in own]

    def _histograms(self, output: Future[GroupOutput] | None) -> list[NDArray[np.int32]]:
        """Histograms int32 [C, codes] of a turn's groups; a process without a group adds one without pixels."""

        def make() -> NDArray[np.int32]:
            counts = None if output is None else output.result().counts
            return self._no_pixels.counts.astype(np.int32) if counts is None else counts

        return all_gather_checked(self._communicator, make)

    def _advance(self, first: int, output: Future[GroupOutput] | None) -> list[Thresholds | None]:
        """Thresholds after each group of a turn."""
        groups = min(self._communicator.world_size, self._groups_left - first)
        if not self._policy.adapts or self._thresholds is None:
            return [self._thresholds] * groups
        after: list[Thresholds | None] = []
        for counts in self._histograms(output)[:groups]:
            histogram = Histogram(counts.astype(np.int64), self._no_pixels.lowest)
            self._thresholds = self._policy.advance(self._thresholds, histogram)
            after.append(self._thresholds)
        return after

    def _survey(self, pipeline: LabelPipeline, ahead: int) -> Histogram:
        """Count the whole set. The counts so far are saved from time to time, to resume from."""

        def saved() -> tuple[int, NDArray[np.int64]]:
            assert self._writer is not None
            return self._writer.survey() or (0, self._no_pixels.counts)

        done, before = run_on_rank_zero(self._communicator, saved)
        counts = before.copy()
        outputs = pipeline.outputs(self._own_groups(done), self._policy.sampling, ahead)
        turns = range(done, self._groups_left, self._communicator.world_size)
        for number, first in enumerate(turns, start=1):
            counts += np.sum(self._histograms(next(outputs, None)), axis=0)
            groups = min(first + self._communicator.world_size, self._groups_left)
            due = number % _SURVEY_SAVED_EVERY == 0 or number == len(turns)
            run_on_rank_zero(self._communicator, partial(self._after_survey_turn, groups, counts, due))
        return Histogram(counts, self._no_pixels.lowest)

    def _after_survey_turn(self, groups: int, counts: NDArray[np.int64], due: bool) -> None:
        """Report progress; save the counts if that is due, or if the caller stops the labeling."""
        assert self._writer is not None
        reported = False
        try:
            self._report(min(groups * self._group_size, self._images))
            reported = True
        finally:
            if due or not reported:
                self._writer.save_survey(groups, counts)

    def _record(self, turn: _Turn) -> None:
        """Wait until the labels of a turn are on the disk in every process, and record them."""
        labels = all_gather_checked(
            self._communicator, lambda: turn.labels.result() if turn.labels is not None else None
        )
        run_on_rank_zero(self._communicator, partial(self._append, turn.thresholds, labels))

    def _append(self, thresholds: Sequence[Thresholds | None], labels: Sequence[GroupLabels | None]) -> None:
        assert self._writer is not None
        for limits, group in zip(thresholds, labels, strict=False):
            assert group is not None  # only processes without a group in the last turn have none
            values = None if limits is None else tuple(limits.tolist())
            self._writer.journal.append(GroupRecord(values, group.records, group.skipped))
        self._report(self._writer.journal.images + (self._images if self._policy.surveys else 0))

    def _report(self, images: int) -> None:
        """Report how many images have gone through the network, of all that have to."""
        if self._progress is not None:
            self._progress(images, self._images * (2 if self._policy.surveys else 1))
