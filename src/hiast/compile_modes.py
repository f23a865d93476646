"""Modes of ``torch.compile`` that a run can ask for; needs no torch, so that commands can check them at once."""

from __future__ import annotations

from typing import Literal, get_args

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
"""As in ``torch.compile``. "reduce-overhead" and "max-autotune" replay CUDA graphs."""

COMPILE_MODES: tuple[str, ...] = get_args(CompileMode)
