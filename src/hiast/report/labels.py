"""What the pseudo-labels of the rounds look like: coverage, thresholds, confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.report.history import Round

BINS = 40
"""Parts of a round that are told apart over its images."""


@dataclass(frozen=True)
class LabeledRound:
    """The pseudo-labels of a round; arrays of C classes.

    Attributes:
        title: Title of the round.
        begin: Optimizer steps of all rounds before it.
        images: Number of labels.
        coverage: Share of the pixels that have a pseudo-label.
        overlap: Pixels with the same label in the round before, among those that either round keeps; NaN: not compared.
        shares: float64 [C], share of all pixels that have this pseudo-label.
        pixels: int64 [C], their number.
        class_images: int64 [C], images that hold the class.
        confidence: float64 [C], mean confidence of the kept pixels; NaN: none was kept.
        thresholds: float64 [T, C] over the round, at most ``BINS`` rows; None: a policy without.
        labeled: Number of images labeled at the end of each part of the round, at most ``BINS`` parts in the order
            of labeling; empty where the order is not known.
        covered: float64 [P, C], share of the pixels of each of these parts that have this pseudo-label.
        labeled_with: The checkpoint that labeled.
    """

    title: str
    begin: int
    images: int
    coverage: float
    overlap: float
    shares: NDArray[np.float64]
    pixels: NDArray[np.int64]
    class_images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    thresholds: NDArray[np.float64] | None
    labeled: tuple[int, ...]
    covered: NDArray[np.float64]
    labeled_with: str


def read_labels(folder: Path, rounds: Sequence[Round]) -> tuple[list[LabeledRound], list[str]]:
    """The complete sets of pseudo-labels of a run, and what could not be read.

    Args:
        folder: The run directory.
        rounds: Its rounds.
    """
    found, problems = [], []
    for one in rounds:
        if not one.labeled:
            continue
        try:
            found.append(_labeled(one, RoundReader(folder / one.stage / "rounds" / str(one.number))))
        except (InputError, OSError) as error:
            problems.append(str(error))
    return found, problems


def _labeled(one: Round, reader: RoundReader) -> LabeledRound:
    identity = reader.manifest["identity"]
    counts = reader.image_pixels
    pixels = counts.sum(0)
    labeled, covered = _covered(reader, identity.get("order"))
    return LabeledRound(
        title=one.title,
        begin=one.begin,
        images=len(reader.names),
        coverage=reader.coverage,
        overlap=math.nan if reader.overlap is None else float(reader.overlap),
        shares=pixels / max(1, reader.pixels),
        pixels=pixels,
        class_images=(counts > 0).sum(0),
        confidence=reader.class_mean_confidence,
        thresholds=None if reader.thresholds is None else _thinned(reader.thresholds),
        labeled=labeled,
        covered=covered,
        labeled_with=str(identity.get("labeled_with", "")),
    )


def _thinned(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most ``BINS`` rows, the first and the last among them."""
    if len(thresholds) <= BINS:
        return thresholds
    thinned: NDArray[np.float64] = thresholds[np.linspace(0, len(thresholds) - 1, BINS).round().astype(int)]
    return thinned


def _covered(reader: RoundReader, order: object) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Where the parts of a round end, and the coverage of each class in each of them."""
    names = reader.manifest["identity"]["names"]
    rows = {name: row for row, name in enumerate(reader.names)}
    in_order = (
        [rows[names[index]] for index in order if names[index] in rows] if isinstance(order, list) else []
    )
    counts = reader.image_pixels[in_order]
    each = max(1.0, reader.pixels / max(1, len(in_order)))
    parts = np.array_split(np.arange(len(in_order)), min(BINS, len(in_order))) if in_order else []
    shares = [counts[part].mean(0) / each for part in parts]
    return tuple(int(part[-1]) + 1 for part in parts), np.array(shares).reshape(len(parts), counts.shape[1])
