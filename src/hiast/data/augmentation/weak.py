"""Weak augmentation: where to crop and whether to flip, drawn before a pixel is read.

The draws need the size of the image only, so a reader can decode just the window that is going to be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.data.geometry import Window, resize_image, resize_labels
from hiast.errors import InputError


class Crop(Protocol):
    """Draws a window and says the size that it is resized to."""

    @property
    def height(self) -> int:
        """Height of the result in pixels."""
        ...

    @property
    def width(self) -> int:
        """Width of the result in pixels."""
        ...

    def draw(self, rng: np.random.Generator, image_height: int, image_width: int) -> Window:
        """A window inside an image of the given size."""
        ...


class CropAndFlip(NamedTuple):
    """What a weak augmentation has drawn for one image."""

    window: Window
    flip: bool


def _inside(rng: np.random.Generator, height: int, width: int, image_height: int, image_width: int) -> Window:
    top = int(rng.integers(image_height - height + 1))
    left = int(rng.integers(image_width - width + 1))
    return Window(top, left, height, width)


@dataclass(frozen=True)
class RandomSizedCrop:
    """A window of random height and fixed aspect, at a random place, resized to one size.

    The height is uniform over the integers from ``min_height`` to ``max_height``; the range is narrowed
    where the image is too small for it, so the aspect holds (up to rounding down the width).

    Args:
        height: Height of the result in pixels.
        width: Width of the result in pixels; width / height is the aspect of the window.
        min_height: Smallest height of the window in pixels of the image.
        max_height: Largest height of the window.

    Raises:
        InputError: A size is not positive, or the smallest height exceeds the largest.

    Examples:
        >>> import numpy as np
        >>> crop = RandomSizedCrop(height=512, width=1024, min_height=300, max_height=300)
        >>> window = crop.draw(np.random.default_rng(0), image_height=1024, image_width=2048)
        >>> window.height, window.width
        (300, 600)
    """

    height: int = 512
    width: int = 1024
    min_height: int = 341
    max_height: int = 1000

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or not 1 <= self.min_height <= self.max_height:
            raise InputError(
                f"A crop to {self.height}x{self.width} from heights {self.min_height} to {self.max_height} "
                "is not possible: sizes must be positive and min_height at most max_height."
            )

    def draw(self, rng: np.random.Generator, image_height: int, image_width: int) -> Window:
        """Draw a window inside an image of ``image_height`` x ``image_width`` pixels."""
        largest = max(1, min(image_height, self.max_height, image_width * self.height // self.width))
        height = int(rng.integers(min(self.min_height, largest), largest + 1))
        width = min(image_width, max(1, height * self.width // self.height))
        return _inside(rng, height, width, image_height, image_width)


@dataclass(frozen=True)
class FixedScaleCrop:
    """A crop of one size from an image resized to one size, as DACS uses (512x512 from 512x1024).

    The window is drawn in pixels of the original image, so only the window is ever resized.

    Args:
        height: Height of the result in pixels.
        width: Width of the result.
        resized_height: Height that the whole image is thought to be resized to.
        resized_width: Width that the whole image is thought to be resized to.

    Raises:
        InputError: The crop does not fit into the resized image.

    Examples:
        >>> import numpy as np
        >>> crop = FixedScaleCrop(512, 512, resized_height=512, resized_width=1024)
        >>> window = crop.draw(np.random.default_rng(0), image_height=1024, image_width=2048)
        >>> window.height, window.width
        (1024, 1024)
    """

    height: int = 512
    width: int = 512
    resized_height: int = 512
    resized_width: int = 1024

    def __post_init__(self) -> None:
        if not (1 <= self.height <= self.resized_height and 1 <= self.width <= self.resized_width):
            raise InputError(
                f"A crop of {self.height}x{self.width} does not fit into an image resized to "
                f"{self.resized_height}x{self.resized_width}: make the crop smaller or the image larger."
            )

    def draw(self, rng: np.random.Generator, image_height: int, image_width: int) -> Window:
        """Draw a window inside an image of ``image_height`` x ``image_width`` pixels."""
        height = max(1, round(self.height * image_height / self.resized_height))
        width = max(1, round(self.width * image_width / self.resized_width))
        return _inside(rng, height, width, image_height, image_width)


@dataclass(frozen=True)
class WeakAugmentation:
    """Random crop and horizontal flip: what the teacher sees (method of HIAST; flip, random sized crop).

    Args:
        crop: Draws the window and holds the size of the result.
        flip_probability: Probability of a horizontal flip, 0 to 1.

    Examples:
        >>> import numpy as np
        >>> weak = WeakAugmentation(RandomSizedCrop(32, 64, 40, 60))
        >>> image, label = np.zeros((64, 128, 3), np.uint8), np.zeros((64, 128), np.uint8)
        >>> image, label = weak(np.random.default_rng(0), image, label)
        >>> image.shape, label.shape
        ((32, 64, 3), (32, 64))
    """

    crop: Crop
    flip_probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.flip_probability <= 1:
            raise InputError(f"flip_probability is {self.flip_probability}; it must lie between 0 and 1.")

    def draw(self, rng: np.random.Generator, image_height: int, image_width: int) -> CropAndFlip:
        """Draw window and flip for an image of the given size in pixels."""
        window = self.crop.draw(rng, image_height, image_width)
        return CropAndFlip(window, bool(rng.random() < self.flip_probability))

    def image(self, pixels: NDArray[np.uint8], flip: bool) -> NDArray[np.uint8]:
        """The pixels of a window uint8 [h, w, 3], resized and flipped: uint8 [height, width, 3]."""
        resized = resize_image(pixels, self.crop.height, self.crop.width)
        return cv2.flip(resized, 1) if flip else resized

    def label(self, classes: NDArray[np.uint8], flip: bool) -> NDArray[np.uint8]:
        """The label map of a window uint8 [h, w], resized and flipped: uint8 [height, width]."""
        resized = resize_labels(classes, self.crop.height, self.crop.width)
        return cv2.flip(resized, 1) if flip else resized

    def __call__(
        self, rng: np.random.Generator, image: NDArray[np.uint8], label: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment an image uint8 [H, W, 3] and its label map uint8 [H, W] alike.

        Returns:
            Image uint8 [height, width, 3] and label uint8 [height, width] of the crop's size.
        """
        window, flip = self.draw(rng, *image.shape[:2])
        return self.image(window.of(image), flip), self.label(window.of(label), flip)
