"""Walking through the groups of a round in windows of one group per process, and keeping its books."""

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
from hiast.pseudo_labels.class_statistics import RoundStatistics
from hiast.pseudo_labels.collectives import Processes, agree, share
from hiast.pseudo_labels.histogram import Histogram
from hiast.pseudo_labels.policies import Policy, Thresholds
from hiast.pseudo_labels.round_reader import RoundReader, to_json
from hiast.pseudo_labels.round_writer import GroupRecord, LabelRecord, RoundWriter
from hiast.pseudo_labels.workers import Output, Stages

_SURVEY_KEPT_EVERY = 64
_HASH_WORDS = 4


@dataclass(frozen=True)
class Window:
    """Consecutive groups, one per process, whose labels are being written.

    Attributes:
        first: Number of its first group.
        thresholds: After each of its groups.
        labels: What this process writes; None: it has no group in the last window.
    """

    first: int
    thresholds: list[Thresholds | None]
    labels: Future[list[LabelRecord]] | None


class RoundLabeler:
    """One process's way through a round. Every process goes it with the same arguments."""

    def __init__(
        self,
        directory: Path,
        identity: Mapping[str, Any],
        policy: Policy,
        processes: Processes,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Start nothing yet; see :func:`hiast.pseudo_labels.generate.generate_round` for the arguments."""
        self._directory, self._identity, self._policy = directory, identity, policy
        self._processes, self._progress = processes, progress
        self._names: Sequence[str] = identity["names"]
        self._order: Sequence[int] = identity["order"]
        self._group_size: int = identity["group_size"]
        self._total = -(-len(self._order) // self._group_size)
        self._done = 0
        self._thresholds: Thresholds | None = None
        self._no_pixels = Histogram.empty(policy.num_classes)
        self._writer: RoundWriter | None = None

    def begin(self, stack: ExitStack, overwrite: bool) -> bool:
        """Open the round in process 0 and tell all where to go on; false if it is complete already."""
        digest = np.frombuffer(hashlib.sha256(to_json(self._identity)).digest()[:8], np.int64)

        def make() -> NDArray[np.int64]:
            state = np.zeros(2, np.int64)
            last = np.zeros(self._policy.num_classes)
            if self._processes.rank == 0:
                writer = stack.enter_context(RoundWriter(self._directory, self._identity, overwrite))
                if writer.complete:
                    RoundReader(self._directory, verify=True)
                elif writer.groups:
                    (record,) = deque(writer.records(), maxlen=1)
                    last = np.array(record.thresholds or last)
                state[:] = writer.complete, writer.groups
                self._writer = writer
            return np.concatenate([digest, state, last.view(np.int64)])

        states = share(self._processes, make, (3 + self._policy.num_classes,), np.int64)
        if (states[:, 0] != digest).any():
            raise RunError("The processes were given different images, policies or identities to label with.")
        complete, self._done = (int(value) for value in states[0, 1:3])
        if self._done and (self._policy.adapts or self._policy.surveys):
            self._thresholds = states[0, 3:].copy().view(np.float64)
        return not complete

    def go(self, stages: Stages, depth: int, lag: int) -> None:
        """Label all groups that are not done.

        Args:
            stages: Threads that read, run the network, and write.
            depth: Groups that reading and network may be ahead of the selection.
            lag: Windows whose labels may be in writing at the same time.
        """
        if self._thresholds is None:
            self._thresholds = self._policy.start(
                self._survey(stages, depth) if self._policy.surveys else None
            )
        outputs = stages.outputs(self._own_groups(self._done), 1 if self._policy.adapts else None, depth)
        writing: deque[Window] = deque()
        for first in range(self._done, self._total, self._processes.world_size):
            output = next(outputs, None)
            thresholds = self._advance(first, output)
            labels = None
            if output is not None:
                mine = first + self._processes.rank
                names = [self._names[index] for index in self._group(mine)]
                labels = stages.write(self._directory, names, output, thresholds[self._processes.rank])
            writing.append(Window(first, thresholds, labels))
            if len(writing) > lag:
                self._close(writing.popleft())
        while writing:
            self._close(writing.popleft())

    def finish(self) -> None:
        """Complete the round, in process 0, from what the journal says."""
        assert self._writer is not None
        statistics = RoundStatistics(self._policy.num_classes)
        for group in self._writer.records():
            statistics.add(
                np.array([label.pixels for label in group.labels], np.int64),
                np.array([label.sums for label in group.labels], np.float64),
            )
        self._writer.finish(statistics.class_mean_confidence)

    def _group(self, group: int) -> Sequence[int]:
        return self._order[group * self._group_size : (group + 1) * self._group_size]

    def _own_groups(self, first: int) -> list[Sequence[int]]:
        own = range(first + self._processes.rank, self._total, self._processes.world_size)
        return [self._group(group) for group in own]

    def _histograms(self, output: Future[Output] | None) -> NDArray[np.int32]:
        """Histograms int32 [world_size, C, codes] of a window's groups, without pixels for a missing one."""

        def make() -> NDArray[np.int32]:
            counts = None if output is None else output.result().counts
            return self._no_pixels.counts.astype(np.int32) if counts is None else counts

        return share(self._processes, make, self._no_pixels.counts.shape, np.int32)

    def _advance(self, first: int, output: Future[Output] | None) -> list[Thresholds | None]:
        groups = min(self._processes.world_size, self._total - first)
        if not self._policy.adapts or self._thresholds is None:
            return [self._thresholds] * groups
        after: list[Thresholds | None] = []
        for counts in self._histograms(output)[:groups]:
            histogram = Histogram(counts, self._no_pixels.lowest)
            self._thresholds = self._policy.advance(self._thresholds, histogram)
            after.append(self._thresholds)
        return after

    def _survey(self, stages: Stages, depth: int) -> Histogram:
        """Count the whole set; every now and then the counts so far are kept to continue from."""
        shape = self._no_pixels.counts.shape

        def kept() -> NDArray[np.int64]:
            kept = self._writer.survey() if self._writer is not None else None
            groups, counts = kept or (0, self._no_pixels.counts)
            return np.append(counts, groups)

        start = share(self._processes, kept, (self._no_pixels.counts.size + 1,), np.int64)[0]
        counts, done = start[:-1].reshape(shape).copy(), int(start[-1])
        outputs = stages.outputs(self._own_groups(done), self._policy.sampling, depth)
        windows = range(done, self._total, self._processes.world_size)
        for number, first in enumerate(windows, start=1):
            counts += self._histograms(next(outputs, None)).sum(axis=0)
            groups = min(first + self._processes.world_size, self._total)
            due = number % _SURVEY_KEPT_EVERY == 0 or number == len(windows)
            agree(self._processes, partial(self._surveyed, groups, counts, due))
        return Histogram(counts, self._no_pixels.lowest)

    def _surveyed(self, groups: int, counts: NDArray[np.int64], due: bool) -> None:
        """Tell how far the survey is, and keep it when that is due or the caller wants to stop."""
        assert self._writer is not None
        told = False
        try:
            self._tell(groups)
            told = True
        finally:
            if due or not told:
                self._writer.save_survey(groups, counts)

    def _tell(self, groups: int) -> None:
        """Tell how many images have gone through the network, of all that have to."""
        if self._progress is not None:
            passes, groups = divmod(groups, self._total)
            images = passes * len(self._order) + groups * self._group_size
            self._progress(images, len(self._order) * (2 if self._policy.surveys else 1))

    def _close(self, window: Window) -> None:
        """Wait until the window's labels are on the disk, everywhere, and record them."""
        classes = self._policy.num_classes

        def make() -> NDArray[np.int64]:
            rows = np.zeros((self._group_size, _HASH_WORDS + 2 * classes), np.int64)
            for row, record in zip(rows, window.labels.result() if window.labels else [], strict=False):
                row[:] = _to_words(record)
            return rows

        rows = share(self._processes, make, (self._group_size, _HASH_WORDS + 2 * classes), np.int64)
        agree(self._processes, partial(self._append, window, rows))

    def _append(self, window: Window, rows: NDArray[np.int64]) -> None:
        assert self._writer is not None
        for offset, thresholds in enumerate(window.thresholds):
            names = [self._names[index] for index in self._group(window.first + offset)]
            labels = tuple(_from_words(name, row) for name, row in zip(names, rows[offset], strict=False))
            self._writer.append(
                GroupRecord(None if thresholds is None else tuple(thresholds.tolist()), labels)
            )
        self._tell(self._writer.groups + (self._total if self._policy.surveys else 0))


def _to_words(record: LabelRecord) -> NDArray[np.int64]:
    digest = np.frombuffer(bytes.fromhex(record.sha256), np.int64)
    return np.concatenate([digest, record.pixels, np.array(record.sums, np.float64).view(np.int64)])


def _from_words(name: str, words: NDArray[np.int64]) -> LabelRecord:
    digest, rest = words[:_HASH_WORDS], words[_HASH_WORDS:]
    pixels, sums = np.split(rest, 2)
    return LabelRecord(
        name, digest.tobytes().hex(), tuple(pixels.tolist()), tuple(sums.view(np.float64).tolist())
    )
