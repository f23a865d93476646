"""Fourier domain adaptation: an image takes over low-frequency amplitudes of the other domain.

Source: Yang and Soatto, FDA: Fourier Domain Adaptation for Semantic Segmentation, CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiast.data.augmentation.strong import References
from hiast.data.geometry import resize_image
from hiast.errors import InputError


def _waves(length: int, border: int) -> NDArray[np.complex64]:
    """exp(-2 pi i f x / length) for f = -border..border, complex64 [2 * border + 1, length]."""
    phase = np.arange(-border, border + 1)[:, None] * np.arange(length)[None] / length
    waves: NDArray[np.complex64] = np.exp(-2j * np.pi * phase).astype(np.complex64)
    return waves


def fourier_adapt(
    image: NDArray[np.uint8], reference: NDArray[np.uint8], beta: float = 0.001
) -> NDArray[np.uint8]:
    """Give an image the low-frequency amplitudes of a reference; phases and all other frequencies stay.

    Per channel, the amplitudes of the frequencies -b..b in both directions are replaced, b = floor(beta * the
    shorter side): at beta 0.001 and 512 rows that is the mean alone. Only these coefficients are computed.

    Args:
        image: uint8 [H, W, 3].
        reference: uint8 [H', W', 3]; resized to the image's size where it differs.
        beta: Share of the spectrum, 0 to 0.5.

    Returns:
        uint8 [H, W, 3], clipped to 0..255.
    """
    height, width = image.shape[:2]
    reference = resize_image(reference, height, width)
    border = int(min(height, width) * beta)
    rows, columns = _waves(height, border), _waves(width, border)
    planes = np.stack([image, reference]).astype(np.float32)
    # [image or reference, channel, row frequency, column frequency]
    own, other = np.einsum("fh,nhwc,gw->ncfg", rows, planes, columns, optimize=True)
    change = np.exp(1j * np.angle(own)) * (np.abs(other) - np.abs(own)) / (height * width)
    added = np.einsum("fh,cfg,gw->hwc", rows.conj(), change, columns.conj(), optimize=True).real
    adapted: NDArray[np.uint8] = np.clip(np.rint(image + added), 0, 255).astype(np.uint8)
    return adapted


def _check_beta(beta: float) -> None:
    if not 0 <= beta < 0.5:
        raise InputError(f"The beta of Fourier adaptation is {beta}; it must be at least 0 and below 0.5.")


class FourierAdaptation:
    """Fourier domain adaptation towards a random image of the other domain, as a strong view.

    The image is drawn uniformly among all references by the generator of each call.

    Args:
        references: The other domain's images.
        beta: Share of the spectrum that is replaced, 0 to 0.5 (published 0.001).

    Raises:
        InputError: ``beta`` is out of range, or there is no reference.

    Examples:
        >>> import numpy as np
        >>> class Sky:
        ...     def __len__(self):
        ...         return 1
        ...     def read_image(self, index):
        ...         return np.full((8, 8, 3), 200, np.uint8)
        >>> gray = np.full((8, 8, 3), 100, np.uint8)
        >>> FourierAdaptation(Sky())(np.random.default_rng(0), gray)[0, 0].tolist()
        [200, 200, 200]
    """

    def __init__(self, references: References, beta: float = 0.001) -> None:
        _check_beta(beta)
        if len(references) == 0:
            raise InputError(
                "Fourier adaptation needs images of the other domain; its list of them is empty."
            )
        self.references = references
        self.beta = beta

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Adapt an image uint8 [H, W, 3]."""
        reference = self.references.read_image(int(rng.integers(len(self.references))))
        return fourier_adapt(image, reference, self.beta)


@dataclass(frozen=True)
class FourierTowardsSource:
    """Fourier adaptation towards the source, whose images are not known yet: what a configuration names.

    Args:
        beta: See ``FourierAdaptation``.

    Raises:
        InputError: ``beta`` is out of range.

    Examples:
        >>> FourierTowardsSource(beta=0.01).beta
        0.01
    """

    beta: float = 0.001

    def __post_init__(self) -> None:
        _check_beta(self.beta)

    def bind(self, references: References) -> FourierAdaptation:
        """The strong view towards the images of ``references``.

        Raises:
            InputError: There is no reference.
        """
        return FourierAdaptation(references, self.beta)
