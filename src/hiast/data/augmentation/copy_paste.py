"""Hard-aware pseudo-label augmentation (HPLA): pixels of hard classes are copied from a donor image.

Source: HIAST, hard-aware pseudo-label augmentation. One class is drawn among the hard classes, then a donor image
that holds enough of it. Every pixel of the donor whose pseudo-label is any hard class is copied onto the image, with
its label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED
from hiast.data.geometry import resize_image, resize_labels
from hiast.errors import InputError


def class_mask(labels: NDArray[np.uint8], classes: Iterable[int]) -> NDArray[np.uint8]:
    """Mask uint8 [H, W] of a label map: 1 where the label is one of ``classes``, else 0."""
    table = np.zeros(256, np.uint8)
    table[list(classes)] = 1
    mask: NDArray[np.uint8] = cv2.LUT(labels, table)
    return mask


def copy_where(
    mask: NDArray[np.uint8], donor: NDArray[np.uint8], onto: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """A copy of ``onto`` [H, W, ...] with the pixels of ``donor`` where the mask uint8 [H, W] is not 0."""
    copied: NDArray[np.uint8] = cv2.copyTo(donor, mask, onto.copy())
    return copied


def hard_class_paste(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    donor_image: NDArray[np.uint8],
    donor_labels: NDArray[np.uint8],
    hard_classes: Iterable[int],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Copy the donor's pixels of hard classes, with their labels, onto an image.

    A donor of another size is first resized to the size of the image: bilinear, its labels by nearest neighbor.

    Args:
        image: uint8 [H, W, 3].
        labels: uint8 [H, W], pseudo-labels of ``image``, 255 = ignored.
        donor_image: uint8 [H', W', 3].
        donor_labels: uint8 [H', W'], pseudo-labels of ``donor_image``.
        hard_classes: Indices of the classes to copy.

    Returns:
        New image uint8 [H, W, 3], new labels uint8 [H, W], and the mask uint8 [H, W]: the class that
        was copied to a pixel, 255 where none was. The inputs are unchanged.

    Raises:
        InputError: An image and its labels differ in size, one is no array of uint8, or a hard class is no class.

    Examples:
        >>> image, donor = np.zeros((1, 2, 3), np.uint8), np.full((1, 2, 3), 7, np.uint8)
        >>> labels, donor_labels = np.array([[0, 0]], np.uint8), np.array([[5, 1]], np.uint8)
        >>> new, new_labels, mask = hard_class_paste(image, labels, donor, donor_labels, [5])
        >>> new_labels
        array([[5, 0]], dtype=uint8)
        >>> mask
        array([[  5, 255]], dtype=uint8)
    """
    for pixels, classes in ((image, labels), (donor_image, donor_labels)):
        for name, array in (("images", pixels), ("labels", classes)):
            if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
                found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise InputError(f"The {name} have to be arrays of uint8, not {found}.")
        if pixels.shape[:2] != classes.shape:
            raise InputError(
                f"An image of {pixels.shape[:2]} has labels of {classes.shape}; "
                "bring the labels to image size first."
            )
    height, width = labels.shape
    donor_image = resize_image(donor_image, height, width)
    donor_labels = resize_labels(donor_labels, height, width)
    hard_classes = list(hard_classes)
    if not all(0 <= index < IGNORED for index in hard_classes):
        raise InputError(f"Hard classes are class indices from 0 to {IGNORED - 1}, not {hard_classes}.")
    copied = class_mask(donor_labels, hard_classes)
    return (
        copy_where(copied, donor_image, image),
        copy_where(copied, donor_labels, labels),
        copy_where(copied, donor_labels, np.full_like(labels, IGNORED)),
    )


@dataclass(frozen=True)
class HardClasses:
    """The hard classes of a round and the images that hold them.

    Attributes:
        hard_classes: Class indices, hardest first.
        probabilities: float64 [C], probability of drawing each class; they sum to 1, or are all zero if there is no
            hard class.
        donor_lists: Class index -> indices int64 [n] of its donor images, at least one, fewest pixels first.
    """

    hard_classes: tuple[int, ...]
    probabilities: NDArray[np.float64]
    donor_lists: dict[int, NDArray[np.int64]]

    def donors(self, class_index: int) -> NDArray[np.int64]:
        """Indices int64 [n] of the donor images of a class, fewest pixels first; none if it is not hard."""
        return self.donor_lists.get(class_index, np.empty(0, np.int64))

    def draw(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """Draw a class and the index of a donor image; None if there is no hard class."""
        if not self.hard_classes:
            return None
        chosen = int(rng.choice(len(self.probabilities), p=self.probabilities))
        return chosen, int(rng.choice(self.donor_lists[chosen]))


@dataclass(frozen=True)
class HardClassAugmentation:
    """The parameters of HPLA.

    Args:
        count: Number of hard classes: those with the lowest class mean confidence v. None: all.
        power: A hard class is drawn with probability proportional to (1 - v) ** power.
        drop: Share of the images with a class that are not its donors: the round(drop * n) images with the
            fewest pixels of it, rounded half to even, ties broken by name. One image always stays.
        donors: Number of donors pasted one after the other.

    Raises:
        InputError: A parameter is out of range.

    Examples:
        >>> import numpy as np
        >>> hpla = HardClassAugmentation(count=1)
        >>> hard = hpla.hard_classes(np.array([0.9, 0.6]), np.array([[90, 10], [80, 20]]), ["a", "b"])
        >>> hard.hard_classes, hard.donors(1).tolist()
        ((1,), [0, 1])
    """

    count: int | None = 14
    power: float = 2.0
    drop: float = 0.1
    donors: int = 1

    def __post_init__(self) -> None:
        if (self.count is not None and self.count < 1) or self.donors < 1:
            raise InputError("HPLA needs count >= 1 (or null for all classes) and donors >= 1.")
        if not 0 <= self.drop < 1 or self.power < 0:
            raise InputError(f"HPLA needs 0 <= drop < 1 and power >= 0, not {self.drop} and {self.power}.")

    def hard_classes(
        self,
        class_mean_confidence: NDArray[np.float64],
        image_pixels: NDArray[np.int64],
        names: Sequence[str],
        excluded: Collection[int] = (),
    ) -> HardClasses:
        """Find the hard classes of a round and their donor images.

        Args:
            class_mean_confidence: v, float64 [C]; nan for a class that was never kept.
            image_pixels: int64 [N, C], kept pixels of each class in each image.
            names: N image names, to break ties.
            excluded: Classes that are never hard: those that the source label space lacks.

        Returns:
            Hard classes in ascending order of v (ties by index). A class without v, without kept pixels, or
            excluded is neither hard nor drawn.

        Raises:
            InputError: The sizes do not fit together.
        """
        values = np.asarray(class_mean_confidence, np.float64)
        if image_pixels.shape != (len(names), len(values)):
            raise InputError(
                f"The round's statistics hold {image_pixels.shape} pixel counts for {len(names)} images and "
                f"{len(values)} classes; label the images again."
            )
        order = [int(k) for k in np.argsort(values, kind="stable") if not np.isnan(values[k])]
        usable = [k for k in order if k not in excluded and image_pixels[:, k].any()]
        hard = tuple(usable[: self.count])
        weights = np.zeros(len(values))
        weights[list(hard)] = (1 - values[list(hard)]) ** self.power
        # If every hard class has v = 1, all weights are 0; the classes are equally hard then.
        if hard and weights.sum() == 0:
            weights[list(hard)] = 1
        probabilities = weights / weights.sum() if hard else weights
        lists = {k: self._donors_of(image_pixels[:, k], names) for k in hard}
        return HardClasses(hard, probabilities, lists)

    def _donors_of(self, pixels: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
        holding = sorted(np.flatnonzero(pixels).tolist(), key=lambda image: (pixels[image], names[image]))
        dropped = min(round(self.drop * len(holding)), len(holding) - 1)
        return np.array(holding[dropped:], np.int64)
