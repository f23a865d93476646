"""Cross-entropy to label maps with ignored pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.objectives.regions import at_least_float32, region_mask, region_mean


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Compare ``labels`` [B,H,W] with ``logits`` [B,C,H,W].

    The values are looked at on the CPU only. On a GPU that would make every step wait for the device;
    there a label that is neither 255 nor below C stops the process with CUDA's own assertion when the
    loss is computed.

    Raises:
        InputError: Another shape than the logits', or (CPU) a label outside 0..C-1 that is not 255.
    """
    if logits.ndim != 4 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise InputError(
            f"Labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}; "
            "give labels [B,H,W] for logits [B,C,H,W]."
        )
    if labels.device.type != "cpu":
        return
    classes = logits.shape[1]
    outside = labels[(labels != IGNORED) & ((labels >= classes) | (labels < 0))]
    if outside.numel():
        raise InputError(
            f"A label map holds class {int(outside[0])}, but the network has {classes} classes; "
            f"map it to 0..{classes - 1} or to {IGNORED} (ignored)."
        )


def cross_entropy(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p_y over the pixels that are not 255; 0 with a zero gradient if there are none.

    Args:
        log_probabilities: Float [B,C,H,W], log-softmax over C.
        labels: uint8 [B,H,W], classes below C or 255.

    Returns:
        A scalar, natural log.
    """
    # Reduced here and not by nll_loss: on CUDA its own sum is the one that has no deterministic form.
    values = F.nll_loss(log_probabilities, labels.long(), ignore_index=IGNORED, reduction="none")
    return region_mean(values, region_mask(labels, "confident"))


def source_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labeled pixels of source images; 0 with a zero gradient if there are none.

    Args:
        logits: Float [B,C,H,W] of any precision; computed in float32 or float64.
        labels: uint8 [B,H,W], classes below C or 255 = ignored.

    Raises:
        InputError: See ``check_labels``.
    """
    check_labels(labels, logits)
    return cross_entropy(torch.log_softmax(at_least_float32(logits), dim=1), labels)
