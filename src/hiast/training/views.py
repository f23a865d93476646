"""Views of source and target images that the online student sees, drawn on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.online import BlockMasking, ColorStep, StyleTransfer, generator_at
from hiast.online.checks import check_shares

_STREAMS = {
    "style": 1,
    "source": 2,
    "mixed": 3,
    "masked": 4,
    "masking": 5,
    "mixing": 6,
    "donors": 7,
    "plain": 8,
}
"""One stream of random numbers for each purpose."""


@dataclass(frozen=True)
class StepKey:
    """Position of a training step, which decides all of its random draws.

    Attributes:
        seed: Seed of the run.
        round_number: Round, counted from 1.
        batch: Batch of the round, counted from 0.
        rank: Rank of the process.
    """

    seed: int
    round_number: int
    batch: int
    rank: int

    def generator(self, purpose: str) -> torch.Generator:
        """A CPU generator for one purpose of the step; ``purpose`` is a key of ``_STREAMS``."""
        return generator_at(self.seed, self.round_number, self.batch, self.rank, _STREAMS[purpose])


@dataclass(frozen=True)
class Views:
    """Augmentations of the online stage. All work on images uint8 [B,3,H,W] in 0..255.

    Attributes:
        style: Gives source images the colors of target images, before anything else; None: not.
        source: Color augmentation of source images, one step after the other.
        plain: Share of the source images, 0..1, that the source loss sees as they are. Pixels are always pasted from
            the images after style transfer and color augmentation. ``"found"``: the share follows from how much the
            network is confused by colors of the target when training starts, see ``hiast.callbacks.FindPlainShare``.
        mixed: Color augmentation of mixed images.
        masked: Color augmentation of target images that are then masked.
        masking: Masks of the masked consistency; None: target images are not masked.
    """

    style: StyleTransfer | None = None
    source: Sequence[ColorStep] = ()
    plain: float | Literal["found"] = 0.0
    mixed: Sequence[ColorStep] = ()
    masked: Sequence[ColorStep] = ()
    masking: BlockMasking | None = None

    def __post_init__(self) -> None:
        if isinstance(self.plain, str):
            if self.plain != "found":
                raise InputError(f"views.plain is '{self.plain}'; choose found, or give a share from 0 to 1.")
        else:
            check_shares("Views", plain=self.plain)
        # A step that does not keep type and size is found now, and not when the online stage begins.
        images = torch.arange(3 * 64 * 64).remainder(256).to(torch.uint8).view(1, 3, 64, 64)
        for view in ("source", "mixed", "masked"):
            self.colored(images, view, StepKey(0, 1, 0, 0))

    def diversified(self, images: Tensor, references: Tensor, key: StepKey) -> Tensor:
        """Source images in the colors of the target images ``references``, after the color augmentation."""
        if self.style is not None:
            images = self.style(images, references, key.generator("style"))
        return self.colored(images, "source", key)

    def colored(self, images: Tensor, view: str, key: StepKey) -> Tensor:
        """Images after the color augmentation of a view: ``source``, ``mixed`` or ``masked``."""
        generator = key.generator(view)
        for step in getattr(self, view):
            changed = step(images, generator)
            if (
                not isinstance(changed, Tensor)
                or changed.dtype != images.dtype
                or changed.shape != images.shape
            ):
                what = (
                    f"{changed.dtype} {list(changed.shape)}"
                    if isinstance(changed, Tensor)
                    else type(changed).__name__
                )
                raise InputError(
                    f"views.{view}: {type(step).__name__} gives {what} for images {images.dtype} {list(images.shape)}: "
                    "it has to keep type and size."
                )
            images = changed
        return images

    def source_view(self, images: Tensor, diversified: Tensor, key: StepKey) -> Tensor:
        """What the source loss sees: a share of ``images`` as they are, the others as they are in ``diversified``."""
        if isinstance(self.plain, str):
            raise InputError("views.plain=found needs the callback hiast.callbacks.FindPlainShare.")
        if not self.plain:
            return diversified
        kept = torch.rand(len(images), generator=key.generator("plain")) < self.plain
        return torch.where(kept.view(-1, 1, 1, 1).to(images.device, non_blocking=True), images, diversified)
