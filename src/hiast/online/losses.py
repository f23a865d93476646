"""Cross-entropy to labels whose pixels are trusted to a different degree."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_choice

Normalization = Literal["all", "labeled"]
"""What the sum is divided by: all pixels, ignored ones included, or the pixels that have a label."""


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, normalization: Normalization = "all"
) -> Tensor:
    """Sum of weight * -log p_y over the labeled pixels, divided by a number of pixels.

    With ``"all"`` the sum is divided by B * H * W, so that an image with few labels or small weights pulls less
    (DAFormer, Hoyer et al. 2022). With ``"labeled"`` it is divided by the number of pixels whose label is not
    255, whatever their weights (VFM-UDA on source images). Computed and summed in float32 (float64 for float64
    logits), also under autocast.

    Args:
        logits: Floating [B,C,H,W] of any precision.
        labels: uint8 [B,H,W], classes below C or 255 = ignored.
        weights: Floating [B,H,W], 0 or more, taken as constants; None weighs every pixel 1. Weights of ignored
            pixels do not matter, even if they are not finite.
        normalization: ``"all"`` or ``"labeled"``.

    Returns:
        A scalar, natural log; 0 with a zero gradient where no pixel is labeled.

    Raises:
        InputError: An unknown normalization, shapes that do not fit, or, on the CPU only, labels that are neither
            255 nor below C (on a GPU CUDA's own assertion stops the process).
    """
    check_choice("weighted cross-entropy", "normalization", normalization, get_args(Normalization))
    _check(logits, labels, weights)
    precise = logits if logits.dtype == torch.float64 else logits.float()
    # The reduction of nll_loss has no deterministic form on CUDA; a sum has.
    values = F.nll_loss(
        torch.log_softmax(precise, dim=1), labels.long(), ignore_index=IGNORED, reduction="none"
    )
    labeled = labels.ne(IGNORED)
    if weights is not None:
        values = values * torch.where(labeled, weights.detach().to(values.dtype), 0)
    count = labeled.sum().clamp(min=1) if normalization == "labeled" else max(labels.numel(), 1)
    return values.sum() / count


def _check(logits: Tensor, labels: Tensor, weights: Tensor | None) -> None:
    if logits.ndim != 4 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise InputError(
            f"Labels {list(labels.shape)} do not fit logits {list(logits.shape)}; "
            "give labels [B, H, W] for logits [B, C, H, W]."
        )
    if weights is not None and weights.shape != labels.shape:
        raise InputError(f"Weights {list(weights.shape)} do not fit labels {list(labels.shape)}.")
    if labels.device.type != "cpu":
        return
    classes = logits.shape[1]
    outside = labels[(labels != IGNORED) & ((labels >= classes) | (labels < 0))]
    if outside.numel():
        raise InputError(
            f"A label map holds class {int(outside[0])}, but the network has {classes} classes; "
            f"map it to 0..{classes - 1} or to {IGNORED} (ignored)."
        )
