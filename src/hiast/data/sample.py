"""What a dataset yields and what a batch holds: the one place that fixes keys, shapes and dtypes."""

from __future__ import annotations

from typing import NamedTuple, NotRequired, TypedDict

from torch import Tensor


class Draw(NamedTuple):
    """One request to a dataset: which sample, and its position in the endless order of a round.

    All randomness of a sample is a function of (seed, round, position) and of nothing else, so neither the number
    of workers nor a restart changes it.
    """

    index: int  # type: ignore[assignment]  # a tuple's own method of this name is of no use here
    position: int


class Sample(TypedDict):
    """One sample; collated by stacking into a batch of the same keys.

    Keys:
        image: uint8 [3, H, W], RGB, 0..255. In self-training the weak view, which the teacher sees.
        label: uint8 [H, W], class index or 255. Missing for an unlabeled image.
        strong: uint8 [3, H, W], the color-augmented copy of ``image`` that the student sees.
        window: float32 [4], top, left, height and width of the crop in pixels of the whole image. Target images of
            online self-training have it, as the two keys below.
        image_size: float32 [2], height and width of the whole image.
        flipped: bool, whether the crop was mirrored.
        name: Unique name of the image: path relative to the image folder, with "/", without suffix.
    """

    image: Tensor
    label: NotRequired[Tensor]
    strong: NotRequired[Tensor]
    window: NotRequired[Tensor]
    image_size: NotRequired[Tensor]
    flipped: NotRequired[Tensor]
    name: str


Batch = dict[str, Sample]
"""A training batch: domain ("source", "target") -> collated samples (image uint8 [B, 3, H, W], and so on)."""
