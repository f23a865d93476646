"""Which implementation computes a fused loss, and the checks that come before it."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.upsampling import Upsampling
from hiast.upsampling.triton_support import can_use_triton, why_not_triton

Backend = Literal["auto", "eager", "triton"]
"""Blocks of rows in plain torch, or one kernel on a GPU; ``"auto"`` takes what suits the device."""


def choose_backend(backend: Backend, logits: Tensor, upsampling: Upsampling) -> Backend:
    """``backend``, or for ``"auto"`` ``"triton"`` where it can be had and ``"eager"`` elsewhere.

    Args:
        backend: The user's choice.
        logits: Float [B,C,h,w], the coarse logits.
        upsampling: Steps from coarse maps to the full size.

    Raises:
        InputError: There is no such backend, or Triton cannot be used here.
    """
    if backend not in get_args(Backend):
        raise InputError(f"The backend is {backend!r}; choose one of {', '.join(get_args(Backend))}.")
    if backend == "auto":
        return "triton" if can_use_triton(logits, upsampling) else "eager"
    if backend == "triton":
        reason = why_not_triton(logits, upsampling)
        if reason:
            raise InputError(f"The backend triton cannot be used: {reason}; choose auto or eager.")
    return backend


def check_coarse(logits: Tensor, labels: Tensor, upsampling: Upsampling) -> None:
    """Compare ``labels`` [B,H,W] with what coarse ``logits`` [B,C,h,w] become.

    Values are looked at on the CPU only, as in ``hiast.objectives.cross_entropy.check_labels``.

    Raises:
        InputError: The shapes do not fit, there are 256 classes or more, or (CPU) a label is neither 255 nor below C.
    """
    fits = logits.ndim == 4 and logits.is_floating_point() and logits.numel() > 0
    if not fits or logits.shape[1] > IGNORED:
        raise InputError(
            f"Coarse logits are {logits.dtype} {tuple(logits.shape)}; give floats [B,C,h,w] of 1 to {IGNORED} classes."
        )
    wanted = (len(logits), *upsampling.size)
    if tuple(labels.shape) != wanted:
        raise InputError(
            f"Labels {tuple(labels.shape)} do not fit coarse logits {tuple(logits.shape)} that are upsampled to "
            f"{upsampling.size}; give labels {wanted}."
        )
    if labels.dtype != torch.uint8:
        raise InputError(f"Labels are {labels.dtype}; give uint8, with {IGNORED} for ignored pixels.")
    if labels.device.type != "cpu":
        return
    classes = logits.shape[1]
    # 255 wraps to 0, so that one maximum finds what is neither a class nor ignored.
    largest = int((labels + 1).max())
    if largest > classes:
        raise InputError(
            f"A label map holds class {largest - 1}, but the network has {classes} classes; "
            f"map it to 0..{classes - 1} or to {IGNORED} (ignored)."
        )
