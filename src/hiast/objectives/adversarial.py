"""What the warm-up's discriminator sees, the loss on its answers, and entropy minimization."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.objectives.regions import at_least_float32

EPSILON = 1e-30
"""Added to p inside the logarithm, as published (Vu et al. 2019); it keeps p = 0 finite."""


INPUTS = ("softmax", "entropy")
"""Kinds of maps that a discriminator can judge."""

LOSSES = ("mse", "bce")
"""Kinds of loss on its answers."""


def discriminator_input(logits: Tensor, kind: str = "softmax") -> Tensor:
    """The score maps [B,C,H,W] that the discriminator judges, in float32 (float64 for float64 logits).

    ``"softmax"``: the probabilities (Tsai et al. 2018). ``"entropy"``: -p * log2(p + 1e-30) / log2(C) for
    each class (Vu et al. 2019), whose sum over the classes is in 0..1.

    Args:
        logits: Float [B,C,H,W] at full size, of any precision; at least two classes for ``"entropy"``.
        kind: ``"softmax"`` or ``"entropy"``.

    Raises:
        InputError: Another ``kind``, or the entropy of one class.
    """
    if kind == "softmax":
        return torch.softmax(at_least_float32(logits), dim=1)
    if kind == "entropy":
        return _entropy_maps(logits)
    raise InputError(f"The discriminator's input is {kind!r}; choose softmax or entropy.")


def adversarial_loss(outputs: Tensor, label: int, kind: str = "mse") -> Tensor:
    """Mean loss of the discriminator's raw ``outputs`` (any shape) against one domain ``label``.

    Args:
        outputs: Float of any precision; with ``"bce"`` logits.
        label: 0 for source, 1 for target.
        kind: ``"mse"``, the squared difference (published), or ``"bce"``, binary cross-entropy with logits.

    Raises:
        InputError: Another ``kind`` or ``label``.
    """
    if label not in (0, 1):
        raise InputError(f"The domain label is {label!r}; it is 0 for source and 1 for target.")
    outputs = at_least_float32(outputs)
    wanted = torch.full_like(outputs, float(label))
    if kind == "mse":
        return F.mse_loss(outputs, wanted)
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(outputs, wanted)
    raise InputError(f"The adversarial loss is {kind!r}; choose mse or bce.")


def normalized_entropy(logits: Tensor) -> Tensor:
    """Mean over pixels of the entropy of softmax(``logits`` [B,C,H,W]) divided by log(C): a scalar in 0..1.

    Minimized on target images in the warm-up (MinEnt, Vu et al. 2019, section 3.1).
    """
    return _entropy_maps(logits).sum(1).mean()


def _entropy_maps(logits: Tensor) -> Tensor:
    classes = logits.shape[1]
    if classes < 2:
        raise InputError("Normalized entropy needs two classes or more; choose the softmax input for one.")
    probabilities = torch.softmax(at_least_float32(logits), dim=1)
    return probabilities * (probabilities + EPSILON).log2() / -math.log2(classes)
