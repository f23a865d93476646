"""Mixed images: pixels of a donor image, with their labels, are pasted onto another image.

All kinds are called alike, ``mixing(donor, onto, generator, classes)``, and give back the same things. What one
call gives can be ``onto`` of the next: first pseudo-labeled donors of hard classes, then source classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_choice
from hiast.online.draws import uniform


class Labeled(NamedTuple):
    """Images with labels.

    Attributes:
        images: uint8 or floating [B,3,H,W].
        labels: uint8 [B,H,W], class index or 255.
        weights: Floating [B,H,W], how far each label is trusted; None trusts all alike, with weight 1.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None


class Mixed(NamedTuple):
    """Images of two origins.

    Attributes:
        images: [B,3,H,W] of the type that was given.
        labels: uint8 [B,H,W].
        weights: float32 [B,H,W].
        pasted: Bool [B,H,W], true where pixel, label and weight are the donor's.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    pasted: Tensor

    @property
    def labeled(self) -> Labeled:
        """The same without the mask, to be mixed again."""
        return Labeled(self.images, self.labels, self.weights)


class Mixing(Protocol):
    """Pastes some pixels of a donor."""

    def __call__(
        self, donor: Labeled, onto: Labeled, generator: torch.Generator, classes: Tensor | None = None
    ) -> Mixed:
        """Mix two batches of equal shape and type; neither is changed.

        Args:
            donor: Images that pixels are taken from; image i is pasted onto image i.
            onto: Images that they are pasted onto.
            generator: Decides all draws.
            classes: Bool [C], classes that may be pasted; None means all.
        """
        ...


ClassesOf = Literal["image", "batch"]
"""Whose classes are drawn from: those of each donor image, or those of the donor's whole batch."""


@dataclass(frozen=True)
class ClassMix:
    """Half of the donor's classes, rounded up, are drawn for each image and pasted with all their pixels.

    Source: DACS, Tranheden et al. 2021, after Olsson et al. 2021; DAFormer draws from the classes of the batch.

    Args:
        classes_of: ``"image"`` draws from the classes of each donor image, ``"batch"`` for each image anew from
            the classes of the donor's whole batch (of which the image may lack some).
        ignored_counts: The label 255 counts as one more class, as in DACS and DAFormer, and its pixels are then
            pasted with the label 255. Otherwise ignored pixels of the donor are never pasted.
        context: Pixels around the drawn classes that are pasted along, with their own labels: a square of
            ``2 * context + 1`` around each pixel. An edge then keeps what lies on both of its sides. Without it an
            object is cut out along its label, and a network that never sees its blurred rim beside other pixels learns
            that the rim belongs to the object.

    Raises:
        InputError: Another ``classes_of``, or ``context`` is negative.
    """

    classes_of: ClassesOf = "image"
    ignored_counts: bool = True
    context: int = 0

    def __post_init__(self) -> None:
        check_choice("ClassMix", "classes_of", self.classes_of, get_args(ClassesOf))
        if self.context < 0:
            raise InputError(f"ClassMix: context is {self.context}; give a number of pixels, 0 or more.")

    def __call__(
        self, donor: Labeled, onto: Labeled, generator: torch.Generator, classes: Tensor | None = None
    ) -> Mixed:
        """Mix as ``Mixing`` says; ``classes`` does not restrict the label 255.

        Raises:
            InputError: Shapes or types do not fit.
        """
        _check(donor, onto)
        present = classes_present(donor.labels)
        if self.classes_of == "batch":
            present = present.any(0, keepdim=True).expand(present.shape)
        allowed = _table(classes, donor.labels.device, ignored=self.ignored_counts)
        drawn = draw_half(present & allowed, generator)
        mask = _look_up(drawn, donor.labels)
        if self.context:
            mask = grown(mask, self.context)
            if not self.ignored_counts:
                mask = mask & donor.labels.ne(IGNORED)
        return paste(donor, onto, mask)


@dataclass(frozen=True)
class HardClassPaste:
    """Every donor pixel of a hard class is pasted: HIAST's hard-aware augmentation (HPLA) on the device.

    The donors are pseudo-labeled target images; ``hiast.online.hard_classes`` finds the hard classes and draws
    donors within a batch.
    """

    def __call__(
        self, donor: Labeled, onto: Labeled, generator: torch.Generator, classes: Tensor | None = None
    ) -> Mixed:
        """Mix as ``Mixing`` says; ``classes`` are the hard classes. The generator is not used.

        Raises:
            InputError: There are no ``classes``, or shapes or types do not fit.
        """
        if classes is None:
            raise InputError("Hard class paste needs the set of hard classes; give classes, bool [C].")
        _check(donor, onto)
        hard = _table(classes, donor.labels.device, ignored=False)
        return paste(donor, onto, _look_up(hard.expand(len(donor.labels), -1), donor.labels))


@dataclass(frozen=True)
class NoMixing:
    """Nothing is pasted."""

    def __call__(
        self, donor: Labeled, onto: Labeled, generator: torch.Generator, classes: Tensor | None = None
    ) -> Mixed:
        """``onto`` as it is; the other arguments are not used."""
        nothing = torch.zeros_like(onto.labels, dtype=torch.bool)
        return Mixed(onto.images, onto.labels, _weights(onto), nothing)


def classes_present(labels: Tensor) -> Tensor:
    """Bool [B,256], true where the image holds the label; labels uint8 [B,H,W]."""
    present = torch.zeros(len(labels), 256, dtype=torch.bool, device=labels.device)
    return present.scatter_(1, labels.flatten(1).long(), True)


def draw_half(present: Tensor, generator: torch.Generator) -> Tensor:
    """In each row of bool [B,K], draw half of the true entries, rounded up, without replacement.

    Returns:
        Bool [B,K]; a row without a true entry stays all false. A row's draw depends on its own entries and its
        place alone.
    """
    keys = uniform(generator, *present.shape).to(present.device, non_blocking=True).masked_fill(~present, 2.0)
    places = keys.argsort(dim=1, stable=True).argsort(dim=1)
    wanted = (present.sum(1, keepdim=True) + 1) // 2
    return present & (places < wanted)


def grown(mask: Tensor, by: int) -> Tensor:
    """Bool [B,H,W], true where a true pixel of ``mask`` lies at most ``by`` rows and columns away."""
    # Of rows, then of columns: two short maxima instead of one over a square.
    found = functional.max_pool2d(mask.unsqueeze(1).float(), (2 * by + 1, 1), 1, (by, 0))
    return functional.max_pool2d(found, (1, 2 * by + 1), 1, (0, by)).squeeze(1) > 0


def paste(donor: Labeled, onto: Labeled, mask: Tensor) -> Mixed:
    """Take image, label and weight of ``donor`` where ``mask``, bool [B,H,W], is true, of ``onto`` elsewhere."""
    return Mixed(
        torch.where(mask.unsqueeze(1), donor.images, onto.images),
        torch.where(mask, donor.labels, onto.labels),
        torch.where(mask, _weights(donor), _weights(onto)),
        mask,
    )


def _weights(of: Labeled) -> Tensor:
    return torch.ones_like(of.labels, dtype=torch.float32) if of.weights is None else of.weights.float()


def _table(classes: Tensor | None, device: torch.device, *, ignored: bool) -> Tensor:
    """Bool [1,256]: the labels that may be pasted."""
    table = torch.zeros(256, dtype=torch.bool, device=device)
    if classes is None:
        table[:IGNORED] = True
    else:
        if classes.dtype != torch.bool or classes.ndim != 1 or len(classes) > IGNORED:
            raise InputError(
                f"classes is {classes.dtype} {list(classes.shape)}; give bool [C], C at most {IGNORED}."
            )
        table[: len(classes)] = classes.to(device)
    table[IGNORED] = ignored
    return table.unsqueeze(0)


def _look_up(table: Tensor, labels: Tensor) -> Tensor:
    return table.gather(1, labels.flatten(1).long()).view(labels.shape)


def _check(donor: Labeled, onto: Labeled) -> None:
    for name, part in (("donor", donor), ("onto", onto)):
        shape = part.images.shape[:1] + part.images.shape[2:]
        if part.labels.dtype != torch.uint8 or part.labels.shape != shape:
            raise InputError(
                f"Mixing: {name} has images {list(part.images.shape)} and {part.labels.dtype} labels "
                f"{list(part.labels.shape)}; give images [B, 3, H, W] and uint8 labels [B, H, W]."
            )
        if part.weights is not None and part.weights.shape != shape:
            raise InputError(
                f"Mixing: {name} has weights {list(part.weights.shape)} for labels {list(shape)}."
            )
    if donor.images.shape != onto.images.shape or donor.images.dtype != onto.images.dtype:
        raise InputError(
            f"Mixing: the donor's images are {donor.images.dtype} {list(donor.images.shape)}, the others "
            f"{onto.images.dtype} {list(onto.images.shape)}; both need one shape and type."
        )
