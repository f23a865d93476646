"""Rare class sampling: images and crops that show classes of which there are few pixels.

Source: DAFormer, Hoyer et al. 2022, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED
from hiast.data.geometry import Window
from hiast.data.loading.sampler import StreamKey
from hiast.errors import InputError, check_not_negative


def rare_class_probabilities(
    class_pixels: NDArray[np.int64], temperature: float = 0.01, usable: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Probability of drawing each class: softmax over the classes of (1 - f_c) / temperature.

    f_c is the share of class c among all labeled pixels, those of classes that are not usable included.

    Args:
        class_pixels: int64 [C] or [N,C], labeled pixels of each class (in each image).
        temperature: The lower, the more often rare classes are drawn; above 0 (DAFormer 0.01, VFM-UDA 0.05).
        usable: Bool [C], classes that can be drawn; None: those with a labeled pixel.

    Returns:
        float64 [C], summing to 1; 0 for classes that are not usable.

    Raises:
        InputError: ``temperature`` is not above 0, or there is no usable class.

    Examples:
        >>> rare_class_probabilities(np.array([90, 10, 0]), temperature=1.0).round(3).tolist()
        [0.31, 0.69, 0.0]
    """
    if not temperature > 0:
        raise InputError(f"rare class sampling: temperature is {temperature}; give a number above 0.")
    totals = class_pixels.reshape(-1, class_pixels.shape[-1]).sum(axis=0)
    usable = totals > 0 if usable is None else usable
    if not usable.any() or not totals.any():
        raise InputError(
            "rare class sampling: no class has an image to draw; lower min_pixels or check labels."
        )
    scores = np.where(usable, (1 - totals / totals.sum()) / temperature, -np.inf)
    weights = np.exp(scores - scores.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


@dataclass(frozen=True)
class RareClassPlan:
    """What rare class sampling draws from.

    Attributes:
        probabilities: float64 [C], probability of each class; 0 for classes without an image.
        images: For each class, indices int64 of the images that hold enough of it.
        warning: A sentence that names the classes that are never drawn; empty if there is none.
    """

    probabilities: NDArray[np.float64]
    images: tuple[NDArray[np.int64], ...]
    warning: str

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """A class by its probability, and an image uniformly among those that hold enough of it."""
        chosen = int(rng.choice(len(self.probabilities), p=self.probabilities))
        return chosen, int(rng.choice(self.images[chosen]))

    def class_given_image(self, index: int, rng: np.random.Generator) -> int:
        """A class drawn given that ``draw`` gave the image ``index``.

        Its probability is proportional to P(c) / n_c over the classes that the image holds enough of, n_c the number of
        images that do. So a pair of an image from ``draw`` and this class has the distribution of a pair from
        ``draw``, and a loader can draw the image first.
        """
        held = [bool(np.isin(index, found)) for found in self.images]
        counts = [max(len(found), 1) for found in self.images]
        weights = np.where(held, self.probabilities / counts, 0.0)
        return int(rng.choice(len(weights), p=weights / weights.sum()))


def plan_rare_classes(
    class_pixels: NDArray[np.int64],
    temperature: float = 0.01,
    min_pixels: int = 3000,
    names: Sequence[str] | None = None,
) -> RareClassPlan:
    """Find the images that hold enough of each class; classes without any are dropped, with a warning.

    Args:
        class_pixels: int64 [N,C], labeled pixels of each class in each image.
        temperature: See :func:`rare_class_probabilities`.
        min_pixels: An image shows a class if it holds more pixels of it than this (published 3,000, in label maps of
            1280 x 720), 0 or more.
        names: Names of the C classes for the warning; None: their indices.

    Raises:
        InputError: A setting is out of range, sizes do not fit, or no class is left.
    """
    if class_pixels.ndim != 2 or (names is not None and len(names) != class_pixels.shape[1]):
        raise InputError(
            f"rare class sampling: counts {list(class_pixels.shape)} do not fit {len(names or ())} class names; "
            "give int64 [N, C] and C names."
        )
    if min_pixels < 0:
        raise InputError(f"rare class sampling: min_pixels is {min_pixels}; give 0 or more.")
    images = tuple(np.flatnonzero(pixels > min_pixels).astype(np.int64) for pixels in class_pixels.T)
    usable = np.array([len(found) > 0 for found in images])
    probabilities = rare_class_probabilities(class_pixels, temperature, usable)
    return RareClassPlan(probabilities, images, _warning(usable, class_pixels, min_pixels, names))


def _warning(
    usable: NDArray[np.bool_], class_pixels: NDArray[np.int64], min_pixels: int, names: Sequence[str] | None
) -> str:
    if usable.all():
        return ""
    most = class_pixels.max(axis=0, initial=0)
    dropped = [
        f"{names[k] if names is not None else k} (at most {most[k]})"
        for k in np.flatnonzero(~usable).tolist()
    ]
    return (
        f"Rare class sampling never draws {', '.join(dropped)}: no image holds more than {min_pixels} pixels; "
        "lower min_pixels to draw what there is."
    )


def choose_crop(
    labels: NDArray[np.uint8],
    windows: Iterator[Window],
    class_index: int,
    min_pixels: float,
    *,
    tries: int = 10,
    largest_share: float = 1.0,
    share_tries: int = 0,
) -> Window:
    """The first crop that shows enough of a class, or the last that is looked at.

    Published: one crop and up to 10 redraws, ``min_pixels`` = ratio * 3,000 with ratio 0.5 for crops of 512 of images
    at half size (DAFormer) and 2.0 for crops of 1024 at full size (HRDA): the same part of the image, counted at four
    times the pixels.

    Args:
        labels: uint8 [H,W], the whole label map, 255 = ignored.
        windows: Crops in pixels of ``labels``, without an end; no more are taken than are looked at.
        class_index: The class.
        min_pixels: A crop needs more pixels of the class than this, in pixels of ``labels``.
        tries: See :class:`RareClassSampling`, also for the others; 1 or more.
        largest_share: A crop's most frequent class must hold less than this share of its labeled pixels; 1 or more
            asks for nothing.
        share_tries: 0 or more.

    Examples:
        >>> labels = np.array([[0, 0, 1, 1]], np.uint8)
        >>> windows = iter([Window(0, 0, 1, 2), Window(0, 1, 1, 2), Window(0, 2, 1, 2)])
        >>> choose_crop(labels, windows, class_index=1, min_pixels=1)
        Window(top=0, left=2, height=1, width=2)
    """
    for _ in range(tries):
        for window in islice(windows, max(1, share_tries)):
            counts = np.bincount(window.of(labels).ravel(), minlength=IGNORED + 1)
            known = counts[:IGNORED]
            varied = largest_share >= 1 or known.max() < largest_share * known.sum()
            if varied:
                break
        if counts[class_index] > min_pixels and (varied or share_tries):
            break
    return window


@dataclass(frozen=True)
class RareClassSampling:
    """Settings of rare class sampling.

    Attributes:
        temperature: See :func:`rare_class_probabilities`.
        min_pixels: An image shows a class if it holds more pixels of it than this. None: 3,000 for images of 1280 x 720
            pixels as published, in proportion to the size of the images.
        crop_ratio: A crop shows the class that its image was drawn for if it holds more than ``crop_ratio *
            min_pixels`` pixels of it; 0: any crop will do. Pixels are those of the stored label map, at whatever size
            training sees them, so the published 0.5 at half size and 2.0 at full size both are 0.5 here.
        tries: Crops that are drawn at most; the last is taken if none will do.
        largest_share: The most frequent class of a crop must hold less than this share of its labeled pixels; 1 asks
            for nothing.
        share_tries: 0: one crop must show the class and satisfy ``largest_share`` (VFM-UDA). Otherwise each of the
            ``tries`` is the first of this many crops that satisfies ``largest_share``, or the last of them, and the
            class alone decides between the tries. DAFormer: 11 and 11, a crop that is redrawn up to ten times within
            a sample that is redrawn up to ten times.

    Raises:
        InputError: A setting is out of range.
    """

    temperature: float = 0.01
    min_pixels: int | None = None
    crop_ratio: float = 0.5
    tries: int = 10
    largest_share: float = 1.0
    share_tries: int = 0

    def __post_init__(self) -> None:
        check_not_negative(
            "rare_class_sampling",
            temperature=self.temperature,
            min_pixels=self.min_pixels or 0,
            crop_ratio=self.crop_ratio,
            largest_share=self.largest_share,
            share_tries=self.share_tries,
        )
        if self.tries < 1:
            raise InputError(f"rare_class_sampling: tries is {self.tries}; give 1 or more.")

    def plan(
        self, class_pixels: NDArray[np.int64], pixels: int, names: Sequence[str]
    ) -> tuple[RareClassPlan, int]:
        """What to draw from, and the number of pixels from which on an image shows a class.

        Args:
            class_pixels: int64 [N,C], labeled pixels of each class in each image.
            pixels: Pixels of an image.
            names: Names of the C classes.
        """
        least = round(3000 * pixels / (1280 * 720)) if self.min_pixels is None else self.min_pixels
        return plan_rare_classes(class_pixels, self.temperature, least, names), least


class RareClassOrder:
    """Order of the images of a dataset under rare class sampling, and the choice of their crops.

    Args:
        plan: What to draw from.
        settings: How crops are drawn.
        min_pixels: Pixels from which on an image shows a class.
    """

    def __init__(self, plan: RareClassPlan, settings: RareClassSampling, min_pixels: int) -> None:
        self.plan, self.settings, self.min_pixels = plan, settings, min_pixels

    def index(self, key: StreamKey, position: int) -> int:
        """Index of the image at ``position``."""
        rng = np.random.default_rng([key.seed, key.round, position, key.stream])
        return self.plan.draw(rng)[1]

    def choose_window(
        self, index: int, labels: NDArray[np.uint8], windows: Iterator[Window], rng: np.random.Generator
    ) -> Window:
        """The first window that shows enough of the class that the image was drawn for, or the last of ``tries``."""
        settings = self.settings
        return choose_crop(
            labels,
            windows,
            self.plan.class_given_image(index, rng),
            settings.crop_ratio * self.min_pixels,
            tries=settings.tries,
            largest_share=settings.largest_share,
            share_tries=settings.share_tries,
        )
