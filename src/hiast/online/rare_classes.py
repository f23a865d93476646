"""Rare class sampling: images and crops that show classes of which there are few pixels.

Source: DAFormer, Hoyer et al. 2022, section 3.3. Pure functions of numpy arrays, for a loader to call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_choice, check_shares

Otherwise = Literal["last", "most"]
"""Which crop is taken where none will do: the last one (published) or the one with most pixels of the class."""


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

    Example:
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
    windows: Sequence[tuple[int, int, int, int]],
    class_index: int,
    min_pixels: float,
    largest_share: float = 1.0,
    otherwise: Otherwise = "last",
) -> int:
    """The first of several drawn crops that shows enough of a class.

    Published: up to 10 crops, ``min_pixels`` = ratio * 3,000 with ratio 0.5 for crops of 512 (DAFormer) and 2.0 for
    crops of 1024 (HRDA).

    Args:
        labels: uint8 [H,W], the whole label map, 255 = ignored.
        windows: Top, left, height and width of each crop in pixels of ``labels``, at least one.
        class_index: The class.
        min_pixels: A crop needs more pixels of the class than this, in pixels of ``labels``.
        largest_share: A crop's most frequent class must hold less than this share of its labeled pixels; 1 or more
            asks for nothing (VFM-UDA 0.75).
        otherwise: Which crop is taken where none will do.

    Returns:
        The index of the crop in ``windows``.

    Raises:
        InputError: There is no window or a setting is out of range.

    Example:
        >>> labels = np.array([[0, 0, 1, 1]], np.uint8)
        >>> choose_crop(labels, [(0, 0, 1, 2), (0, 1, 1, 2), (0, 2, 1, 2)], class_index=1, min_pixels=1)
        2
    """
    check_choice("rare class sampling", "otherwise", otherwise, get_args(Otherwise))
    check_shares("rare class sampling", largest_share=min(largest_share, 1.0))
    if not windows:
        raise InputError("rare class sampling: there is no crop to choose from; draw at least one.")
    pixels = np.zeros(len(windows), np.int64)
    for place, (top, left, height, width) in enumerate(windows):
        counts = np.bincount(labels[top : top + height, left : left + width].ravel(), minlength=IGNORED + 1)
        pixels[place] = counts[class_index]
        known = counts[:IGNORED]
        varied = largest_share >= 1 or known.max() < largest_share * known.sum()
        if pixels[place] > min_pixels and varied:
            return place
    return len(windows) - 1 if otherwise == "last" else int(pixels.argmax())
