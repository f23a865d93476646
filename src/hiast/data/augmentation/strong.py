"""Strong augmentation: colors of the weak view are changed, its geometry never is.

The pixel work is that of albumentations where it has the operation. Every call is driven by the generator it
is given and by nothing else, so it repeats in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.data.augmentation.albumentations_steps import Seeded as Seeded
from hiast.data.augmentation.albumentations_steps import color_jitter, global_operations
from hiast.errors import InputError

ImageAugmentation = Callable[[np.random.Generator, NDArray[np.uint8]], NDArray[np.uint8]]
"""Takes a generator and an image uint8 [H, W, 3], RGB; gives an image of the same shape."""


class References(Protocol):
    """Images that an augmentation looks at beside the one that it changes."""

    def __len__(self) -> int: ...

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """An image uint8 [H, W, 3], RGB."""
        ...


@runtime_checkable
class NeedsReferences(Protocol):
    """A strong augmentation that waits for the images of the source; a datamodule gives them."""

    def bind(self, references: References) -> ImageAugmentation:
        """The augmentation with its references."""
        ...


def checked_view(image: NDArray[np.uint8], view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The strong view, if it is an image as the weak view is.

    Args:
        image: The weak view, uint8 [H, W, 3].
        view: What an augmentation has made of it.

    Raises:
        InputError: The view has another type or shape.
    """
    if not isinstance(view, np.ndarray) or view.dtype != np.uint8 or view.shape != image.shape:
        what = f"{view.dtype} {list(view.shape)}" if isinstance(view, np.ndarray) else type(view).__name__
        raise InputError(
            f"The strong augmentation gives {what} for an image uint8 {list(image.shape)}: it has to give uint8 values "
            "from 0 to 255 in three channels and keep the size of the image."
        )
    return view


class GaussianBlur:
    """Gaussian blur with an odd kernel size drawn uniformly; sigma follows from the size as OpenCV has it.

    Args:
        smallest: Smallest kernel size in pixels, odd.
        largest: Largest kernel size, odd.
    """

    def __init__(self, smallest: int = 3, largest: int = 41) -> None:
        if not 1 <= smallest <= largest or smallest % 2 == 0 or largest % 2 == 0:
            raise InputError(
                f"Blur kernels from {smallest} to {largest}: both must be odd and in this order."
            )
        self.smallest, self.largest = smallest, largest

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Blur an image uint8 [H, W, 3]."""
        size = self.smallest + 2 * int(rng.integers((self.largest - self.smallest) // 2 + 1))
        blurred: NDArray[np.uint8] = cv2.GaussianBlur(image, (size, size), 0)
        return blurred


def _jitter(brightness: float, contrast: float, saturation: float, hue: float) -> Seeded:
    for name, strength in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
        if not 0 <= strength <= 1:
            raise InputError(f"The {name} jitter is {strength}; it must lie between 0 and 1.")
    if not 0 <= hue <= 0.5:
        raise InputError(f"The hue jitter is {hue}; it must lie between 0 and 0.5.")
    return color_jitter(brightness, contrast, saturation, hue)


def published_operations(
    brightness: float = 0.5, contrast: float = 0.5, saturation: float = 0.5, hue: float = 0.1
) -> tuple[ImageAugmentation, ...]:
    """The eight color operations of HIAST's strong view.

    Color jitter (factors 1 +- strength, hue shift +- ``hue`` of the circle), Gaussian blur (kernel 3-41),
    contrast (values times a gain of 1-4, clipped), brightness (+- half the range), posterize to 4 bits,
    equalize each channel, solarize above 127, gray.
    """
    return (_jitter(brightness, contrast, saturation, hue), GaussianBlur(3, 41), *global_operations())


class StrongAugmentation:
    """Some operations drawn without replacement, each then applied with a probability.

    Published: 3 of 8, each with probability 0.5.

    Args:
        count: How many operations are drawn for an image.
        probability: Probability that a drawn operation is applied.
        brightness: Strength of the color jitter's brightness, 0 to 1.
        contrast: Strength of its contrast, 0 to 1.
        saturation: Strength of its saturation, 0 to 1.
        hue: Strength of its hue, 0 to 0.5.
        operations: Operations to draw from instead of the published eight; strengths are then unused.

    Raises:
        InputError: ``count`` exceeds the number of operations, or a probability or strength is out of range.

    Examples:
        >>> import numpy as np
        >>> image = np.zeros((32, 64, 3), np.uint8)
        >>> StrongAugmentation()(np.random.default_rng(0), image).shape
        (32, 64, 3)
    """

    def __init__(
        self,
        count: int = 3,
        probability: float = 0.5,
        brightness: float = 0.5,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.1,
        operations: Sequence[ImageAugmentation] | None = None,
    ) -> None:
        if operations is None:
            operations = published_operations(brightness, contrast, saturation, hue)
        if not 0 <= count <= len(operations):
            raise InputError(f"{count} of {len(operations)} color operations cannot be drawn; lower count.")
        if not 0 <= probability <= 1:
            raise InputError(f"The probability of a color operation is {probability}; it must lie in 0 to 1.")
        self.operations = tuple(operations)
        self.count = count
        self.probability = probability

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The strong view of an image uint8 [H, W, 3]; the image itself is not changed."""
        chosen = rng.permutation(len(self.operations))[: self.count]
        applied = rng.random(self.count) < self.probability
        for index in chosen[applied]:
            image = checked_view(image, self.operations[index](rng, image))
        return image


class SimpleStrong:
    """Color jitter and Gaussian blur, each with probability 0.5: the strong view of simpler methods.

    Args:
        probability: Probability of each of the two.
        brightness: Strength of the jitter's brightness, 0 to 1.
        contrast: Strength of its contrast, 0 to 1.
        saturation: Strength of its saturation, 0 to 1.
        hue: Strength of its hue, 0 to 0.5.
        blur: Largest kernel of the blur in pixels, odd; 41 fits crops of about 512 x 1024.

    Examples:
        >>> import numpy as np
        >>> image = np.zeros((32, 64, 3), np.uint8)
        >>> SimpleStrong()(np.random.default_rng(0), image).shape
        (32, 64, 3)
    """

    def __init__(
        self,
        probability: float = 0.5,
        brightness: float = 0.5,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.1,
        blur: int = 41,
    ) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"The probability of a color operation is {probability}; it must lie in 0 to 1.")
        self.operations: tuple[ImageAugmentation, ...] = (
            _jitter(brightness, contrast, saturation, hue),
            GaussianBlur(3, blur),
        )
        self.probability = probability

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The strong view of an image uint8 [H, W, 3]; the image itself is not changed."""
        for operation, draw in zip(self.operations, rng.random(len(self.operations)), strict=True):
            if draw < self.probability:
                image = operation(rng, image)
        return image
