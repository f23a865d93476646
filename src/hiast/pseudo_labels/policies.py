"""Threshold policies: the confidence from which a predicted class becomes a pseudo-label.

A policy holds parameters only. The thresholds, which change while a data set is labeled, are arguments and return
values, so that a policy can be reused and a labeling can resume from recorded thresholds.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.plain import make_plain
from hiast.pseudo_labels.histogram import Histogram

Thresholds = NDArray[np.float64]
"""One threshold per class, float64 [C]."""


@dataclass(frozen=True)
class Policy(ABC):
    """How thresholds start and how they change.

    Attributes:
        num_classes: C, 1 to 255.
        surveys: The policy needs the histogram of the whole set before the first label.
        adapts: The thresholds change with each group of images.
    """

    num_classes: int
    surveys: ClassVar[bool] = False
    adapts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        make_plain(self)
        _require(1 <= self.num_classes <= 255, "num_classes", self.num_classes, "from 1 to 255")

    @property
    def sampling(self) -> int:
        """The histogram of a survey counts every n-th pixel of each class and group; this is n."""
        return 1

    @abstractmethod
    def start(self, survey: Histogram | None = None) -> Thresholds | None:
        """Thresholds before the first group, float64 [C]; None keeps every pixel.

        Args:
            survey: Histogram of the whole set, for a policy that ``surveys``.
        """

    def advance(self, thresholds: Thresholds, group: Histogram) -> Thresholds:
        """Thresholds that select the labels of ``group``.

        Args:
            thresholds: Thresholds of the group before, float64 [C].
            group: Histogram of the group.
        """
        return thresholds

    def to_dict(self) -> dict[str, object]:
        """Name and parameters as plain values, for manifests."""
        return {"name": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class InstanceAdaptive(Policy):
    """Instance adaptive selection (IAS) of IAST and HIAST.

    For each group (an image, or the images of one batch) and each class k predicted in it::

        x[k] = quantile({t[k]} + {float16 confidences of the pixels predicted k}, 1 - alpha * t[k]**gamma)
        t[k] = beta * t[k] + (1 - beta) * x[k]

    from t = 0.9; t[k] >= 1 becomes 0.999. Classes that are absent from the group keep their threshold. The
    quantile is linear and in float64, x and its product with 1 - beta are rounded to float32, as published.

    Attributes:
        num_classes: C.
        alpha: Share of pixels that a class of threshold 1 may keep, above 0, at most 1.
        beta: Weight of the past, 0 to 1.
        gamma: How much less a class with a low threshold may keep, 0 or more.
    """

    alpha: float = 0.5
    beta: float = 0.9
    gamma: float = 8.0
    adapts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 < self.alpha <= 1, "alpha", self.alpha, "above 0 and at most 1")
        _require(0 <= self.beta <= 1, "beta", self.beta, "from 0 to 1")
        _require(0 <= self.gamma < float("inf"), "gamma", self.gamma, "0 or more")

    def start(self, survey: Histogram | None = None) -> Thresholds:
        """0.9 for every class."""
        return np.full(self.num_classes, 0.9)

    def advance(self, thresholds: Thresholds, group: Histogram) -> Thresholds:
        """Update the thresholds of the classes that are predicted in the group."""
        moved = thresholds.copy()
        for index in np.flatnonzero(group.pixels).tolist():
            threshold = float(thresholds[index])
            level = 1 - self.alpha * threshold**self.gamma
            local = np.float32(group.quantile(index, level, extra=threshold))
            step = float(np.float32(1 - self.beta) * local)
            threshold = self.beta * threshold + step
            moved[index] = threshold if threshold < 1 else 0.999
        return moved


@dataclass(frozen=True)
class ClassBalanced(Policy):
    """Class-balanced selection (CBST): the most confident ``proportion`` of each class over the whole set.

    Two passes: the first collects confidences, rounded to float16; the second selects. A class that is never
    predicted gets the threshold 1, with a warning.

    Attributes:
        num_classes: C.
        proportion: Share of each class to keep, above 0, at most 1.
        every: Look at every n-th pixel of each class and group in the first pass (published: 4).
    """

    proportion: float = 0.2
    every: int = 1
    surveys: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 < self.proportion <= 1, "proportion", self.proportion, "above 0 and at most 1")
        _require(self.every >= 1, "every", self.every, "1 or more")

    @property
    def sampling(self) -> int:
        """``every``."""
        return self.every

    def start(self, survey: Histogram | None = None) -> Thresholds:
        """The quantile at ``1 - proportion`` of each class."""
        if survey is None:
            raise ValueError("ClassBalanced needs the histogram of the whole set.")
        present = survey.pixels > 0
        if not present.all():
            absent = ", ".join(map(str, np.flatnonzero(~present)))
            warnings.warn(f"Never predicted, so without pseudo-labels: class {absent}.", stacklevel=2)
        level = 1 - self.proportion
        return np.array([survey.quantile(k, level) if seen else 1.0 for k, seen in enumerate(present)])


@dataclass(frozen=True)
class Constant(Policy):
    """The same threshold for every class.

    Attributes:
        num_classes: C.
        threshold: 0 to 1.
    """

    threshold: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.threshold <= 1, "threshold", self.threshold, "from 0 to 1")

    def start(self, survey: Histogram | None = None) -> Thresholds:
        """``threshold`` for every class."""
        return np.full(self.num_classes, float(self.threshold))


@dataclass(frozen=True)
class Argmax(Policy):
    """Keeps every pixel's predicted class.

    Attributes:
        num_classes: C.
    """

    def start(self, survey: Histogram | None = None) -> None:
        """No thresholds."""
        return


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"{name} must be {wanted}, not {value}.")
