"""What batches of one's own loaders must hold: types and shapes, looked at without a wait for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hiast.errors import InputError


def check_sample(what: str, sample: Any, images: Sequence[str], *, labeled: bool) -> None:
    """Refuse collated samples that do not hold what a step reads.

    Floats from 0 to 1, as many loaders give them, would be taken for nearly black images.

    Args:
        what: Where they come from, for the message.
        sample: Mapping of tensors, see ``hiast.data.sample.Sample``.
        images: Names of the images that have to be there.
        labeled: Whether ``label`` has to be there too, with a label for each pixel.

    Raises:
        InputError: Something is missing, or has another type or shape.
    """
    for name in (*images, *(["label"] if labeled else [])):
        if not isinstance(sample, Mapping) or not isinstance(sample.get(name), torch.Tensor):
            raise InputError(f"{what} hold no tensor '{name}'.")
    for name in images:
        values = sample[name]
        if values.dtype != torch.uint8 or values.ndim != 4 or values.shape[1] != 3:
            raise InputError(
                f"{what} hold '{name}' of {values.dtype} {list(values.shape)}: give uint8 [B, 3, H, W] from 0 to 255, "
                "which the module normalizes itself."
            )
    if labeled:
        label, wanted = sample["label"], [*sample[images[0]].shape[:1], *sample[images[0]].shape[2:]]
        if label.dtype != torch.uint8 or list(label.shape) != wanted:
            raise InputError(
                f"{what} hold 'label' of {label.dtype} {list(label.shape)}: give uint8 {wanted}, classes or 255 for "
                "ignored pixels."
            )
