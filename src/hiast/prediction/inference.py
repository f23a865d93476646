"""How a network looks at an image: at which sizes, mirrored, whole or through windows; and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.errors import InputError
from hiast.evaluation.inference import Prediction, predict_probabilities
from hiast.models.normalize import normalize
from hiast.plain import plain
from hiast.prediction.windows import Blend, Windows, logit_bands

Size = tuple[int, int]
Network = Callable[[Tensor], Tensor]
Item = TypeVar("Item")


@dataclass(frozen=True)
class InferenceSettings:
    """How a network looks at an image.

    Attributes:
        sizes: (height, width) at which the network sees every image; None: each image's own size.
        scales: Factors of these sizes; the class probabilities of all are averaged.
        flip: Average with the mirrored image, at every size.
        window: (height, width, stride) of a sliding window at each of the sizes; None: the whole image at once.
        blend: Weight of a pixel within a window: "gaussian" trusts the middle of a window more than its border (Isensee
            et al. 2021, nnU-Net), "mean" trusts all alike.

    Raises:
        InputError: A value is out of range.
    """

    sizes: tuple[Size, ...] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: tuple[int, int, int] | None = None
    blend: Blend = "gaussian"

    def __post_init__(self) -> None:
        if self.sizes is not None:
            given = plain(self.sizes)
            if not isinstance(given, Sequence):
                raise InputError(f"sizes is {given}: give a list of [height, width].")
            sizes = tuple(whole_numbers(size, 2, "sizes", "[height, width]") for size in given)
            object.__setattr__(self, "sizes", sizes)
            if not sizes:
                raise InputError("sizes is empty: name at least one [height, width], or leave it out.")
        scales = plain(self.scales)
        numbers = isinstance(scales, Sequence) and all(isinstance(scale, int | float) for scale in scales)
        if not numbers or not scales or not all(0 < scale < 100 for scale in scales):
            raise InputError(f"scales is {scales}: give positive numbers, such as [0.75, 1.0, 1.25].")
        object.__setattr__(self, "scales", tuple(float(scale) for scale in scales))
        if self.window is not None:
            window = whole_numbers(self.window, 3, "window", "[height, width, stride]")
            object.__setattr__(self, "window", window)
            if window[2] > min(window[:2]):
                raise InputError(
                    f"The window [height, width, stride] = {list(window)} needs a stride of at most its height and "
                    "width, so that no pixel is left out."
                )
        if self.blend not in get_args(Blend):
            raise InputError(f"blend is '{self.blend}': choose {' or '.join(get_args(Blend))}.")

    def sizes_of(self, own: Size) -> list[Size]:
        """The sizes at which an image of size ``own`` is seen."""
        return [
            (max(1, round(height * scale)), max(1, round(width * scale)))
            for height, width in self.sizes or (own,)
            for scale in self.scales
        ]

    @property
    def plain(self) -> bool:
        """Whether images are seen once, whole and at their own size."""
        return self.sizes is None and self.scales == (1.0,) and not self.flip and self.window is None


def whole_numbers(values: Any, count: int, name: str, form: str) -> tuple[int, ...]:
    """``count`` whole numbers above 0, as a setting has them.

    Args:
        values: A sequence or an array.
        count: How many there have to be.
        name: Name of the setting, for the message.
        form: What it looks like.

    Raises:
        InputError: They are something else.
    """
    values = plain(values)
    numbers = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else ()
    if len(numbers) != count or not all(isinstance(n, int) and n > 0 for n in numbers):
        raise InputError(f"{name}: {values} is not {form}: give {count} whole numbers above 0.")
    return numbers


@torch.inference_mode()
def predict_arrays(
    network: Network,
    images: NDArray[np.uint8],
    settings: InferenceSettings,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | str = "cpu",
) -> list[Prediction]:
    """Labels and confidence of images of one size.

    Through windows at the image's own size, no more than a band of the picture as high as a window is held in memory.

    Args:
        network: Normalized images float32 [B, 3, h, w] -> logits [B, C, h', w'], in eval mode.
        images: uint8 [B, H, W, 3], RGB.
        settings: How to look at them.
        mean: Channel means for images in 0..1.
        std: Channel divisors for images in 0..1.
        device: Where the network is.

    Returns:
        A prediction at the size of the image for each of them.
    """
    batch = to_planes(images, device)
    own = (int(batch.shape[-2]), int(batch.shape[-1]))
    sizes = settings.sizes_of(own)
    if settings.window is not None and sizes == [own]:
        bands = _probability_bands(network, batch, settings, mean, std)
        parts = [band.max(1) for band in bands]
        confidence = torch.cat([part.values for part in parts], dim=1)
        labels = torch.cat([part.indices.to(torch.uint8) for part in parts], dim=1)
    else:
        seen = network if settings.window is None else Windows(network, settings.window, settings.blend)
        probabilities = predict_probabilities(
            seen, batch, mean=mean, std=std, sizes=sizes, flip=settings.flip, output_size=own
        )
        confidence, labels = probabilities.max(1)
    return to_predictions(labels, confidence)


def to_planes(images: NDArray[np.uint8], device: torch.device | str) -> Tensor:
    """Tensor uint8 [B, 3, H, W] of images uint8 [B, H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)


def to_predictions(labels: Tensor, confidence: Tensor) -> list[Prediction]:
    """Predictions of labels [B, H, W] and confidence [B, H, W] on any device."""
    # Sums of rounded probabilities may exceed 1 by a last bit.
    values = confidence.float().clamp(max=1.0).cpu().numpy()
    return [
        Prediction(label, one)
        for label, one in zip(labels.to(torch.uint8).cpu().numpy(), values, strict=True)
    ]


def _probability_bands(
    network: Network,
    batch: Tensor,
    settings: InferenceSettings,
    mean: Sequence[float],
    std: Sequence[float],
) -> Iterator[Tensor]:
    """Class probabilities [B, C, rows, W] from the top to the bottom."""
    assert settings.window is not None

    def seen(crop: Tensor) -> Tensor:
        return network(crop)

    def ready(crop: Tensor) -> Tensor:
        return normalize(crop, mean, std)

    views = [logit_bands(seen, batch, settings.window, settings.blend, ready)]
    if settings.flip:
        views.append(logit_bands(seen, batch.flip(-1), settings.window, settings.blend, ready))
    for bands in zip(*views, strict=True):
        probabilities = bands[0].softmax(1)
        for mirrored in bands[1:]:
            probabilities = probabilities.add_(mirrored.flip(-1).softmax(1))
        yield probabilities.div_(len(views))


Sizes = Sequence[Sequence[int]] | Literal["native"] | None
"""What ``predict`` takes as sizes: None as in validation, "native" for each image's own size, or a list."""


def equal_sized(images: Iterable[NDArray[np.uint8]], batch_size: int) -> Iterator[NDArray[np.uint8]]:
    """Consecutive images [H, W, 3] of equal size together, as [B, H, W, 3] with B of at most ``batch_size``.

    Raises:
        InputError: ``batch_size`` is no whole number of at least 1.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: give a whole number of at least 1.")
    yield from map(np.stack, in_batches(images, batch_size, np.shape))


def in_batches(
    items: Iterable[Item], batch_size: int, shape: Callable[[Item], tuple[int, ...]]
) -> Iterator[list[Item]]:
    """Consecutive items of equal shape together, at most ``batch_size``."""
    batch: list[Item] = []
    for item in items:
        if batch and (len(batch) == batch_size or shape(item) != shape(batch[0])):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
