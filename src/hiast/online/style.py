"""Images take over the look of the other domain's, without labels: histograms, color statistics or amplitudes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.online.checks import check_images, check_shares
from hiast.online.color import from_unit, to_unit
from hiast.online.draws import uniform
from hiast.online.lab import lab_to_rgb, rgb_to_lab
from hiast.upsampling import to_double


@dataclass(frozen=True, kw_only=True)
class StyleTransfer(ABC):
    """Moves images towards the look of references, each towards one that is drawn for it.

    Args:
        probability: Probability that an image is changed, 0 to 1.
        strength: How far it is moved, 0 (not at all) to 1.

    Raises:
        InputError: A setting is out of range.
    """

    probability: float = 0.5
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_shares(type(self).__name__, probability=self.probability, strength=self.strength)

    def __call__(self, images: Tensor, references: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images of the same shape and type.

        Args:
            images: uint8, or floating in 0..255: [B,3,H,W].
            references: Images of the other domain, likewise, [R,3,H',W'], R at least 1.
            generator: Decides all draws.

        Raises:
            InputError: Images or references are of another shape or type, or there is no reference.
        """
        check_images("The references of a style transfer", references)
        if len(references) == 0:
            raise InputError("A style transfer needs at least one image of the other domain.")
        numbers = uniform(generator, len(images), 2)
        chosen = (numbers[:, 0] * len(references)).long().clamp(max=len(references) - 1)
        other = to_unit(references).index_select(0, chosen.to(references.device, non_blocking=True))
        own = to_unit(images)
        moved = own.lerp(self.change(own, other), self.strength)
        tossed = (numbers[:, 1] < self.probability).to(images.device, non_blocking=True).view(-1, 1, 1, 1)
        return from_unit(torch.where(tossed, moved, own), images.dtype)

    @abstractmethod
    def change(self, images: Tensor, references: Tensor) -> Tensor:
        """Images float32 [B,3,H,W] in 0..1 in the look of ``references``, image by image."""


@dataclass(frozen=True)
class HistogramMatching(StyleTransfer):
    """Each channel gets the reference's histogram, see :func:`match_histograms`."""

    def change(self, images: Tensor, references: Tensor) -> Tensor:
        """See :meth:`StyleTransfer.change`."""
        return match_histograms(images, references)


@dataclass(frozen=True)
class ColorTransfer(StyleTransfer):
    """Mean and deviation of each channel of CIE Lab become the reference's, see :func:`match_lab`."""

    def change(self, images: Tensor, references: Tensor) -> Tensor:
        """See :meth:`StyleTransfer.change`."""
        return match_lab(images, references)


@dataclass(frozen=True)
class AmplitudeMixing(StyleTransfer):
    """Low frequencies get the reference's amplitudes, see :func:`mix_amplitudes`.

    Args:
        beta: Share of the spectrum, 0 to below 0.5.

    Raises:
        InputError: A setting is out of range.
    """

    beta: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_beta(self.beta)

    def change(self, images: Tensor, references: Tensor) -> Tensor:
        """See :meth:`StyleTransfer.change`."""
        return mix_amplitudes(images, references, self.beta)


@dataclass(frozen=True)
class OneStyle(StyleTransfer):
    """Each image is changed by one of several style transfers, drawn with equal chance.

    Args:
        styles: One or more; their own ``probability`` and ``strength`` are not used.

    Raises:
        InputError: There is no style.
    """

    styles: tuple[StyleTransfer, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "styles", tuple(self.styles))
        if not self.styles:
            raise InputError("OneStyle needs at least one style transfer in styles.")

    def change(self, images: Tensor, references: Tensor) -> Tensor:
        """The first style; ``__call__`` draws one for each image."""
        return self.styles[0].change(images, references)

    def __call__(self, images: Tensor, references: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images, see :meth:`StyleTransfer.__call__`."""
        numbers = uniform(generator, len(images))
        drawn = (
            (numbers * len(self.styles))
            .long()
            .clamp(max=len(self.styles) - 1)
            .to(images.device, non_blocking=True)
        )
        key = generator.get_state()
        result = images
        for number, style in enumerate(self.styles):
            generator.set_state(key)
            moved = replace(style, probability=self.probability, strength=self.strength)
            changed = moved(images, references, generator)
            result = torch.where(drawn.eq(number).view(-1, 1, 1, 1), changed, result)
        return result


def match_histograms(images: Tensor, references: Tensor) -> Tensor:
    """Give each channel the reference's distribution of values.

    A value is replaced by the reference's value of the same rank, interpolated linearly between the levels that the
    reference holds (Gonzalez and Woods). Values are taken as 256 levels.

    Args:
        images: float32 [B,3,H,W] in 0..1.
        references: float32 [B,3,H',W'] in 0..1.

    Returns:
        float32 [B,3,H,W] in 0..1.
    """
    levels = _levels(images)
    own, other = _cumulative(levels), _cumulative(_levels(references))
    # The first level at which a rank is reached is one that the reference holds.
    high = torch.searchsorted(other, own).clamp(max=255)
    below = other.gather(1, (high - 1).clamp(min=0))
    below = torch.where(high > 0, below, 0.0)
    low = torch.where(below > 0, torch.searchsorted(other, below), high)
    span = (other.gather(1, high) - below).clamp(min=torch.finfo(other.dtype).tiny)
    table = low + (high - low) * ((own - below) / span)
    return (table.gather(1, levels) / 255).float().view(images.shape)


def match_lab(images: Tensor, references: Tensor) -> Tensor:
    """Give each channel of CIE Lab the reference's mean and standard deviation.

    Source: Reinhard et al. 2001, with CIE Lab in place of their l-alpha-beta. A channel without any deviation is
    moved only.

    Args:
        images: float32 [B,3,H,W] in 0..1.
        references: float32 [B,3,H',W'] in 0..1.

    Returns:
        float32 [B,3,H,W], clipped to 0..1.
    """
    own, other = rgb_to_lab(images), rgb_to_lab(references)
    over = (2, 3)
    mean, deviation = own.mean(over, keepdim=True), own.std(over, correction=0, keepdim=True)
    scale = other.std(over, correction=0, keepdim=True) / deviation.clamp(min=1e-3)
    scale = torch.where(deviation > 1e-3, scale, 1.0)
    return lab_to_rgb((own - mean) * scale + other.mean(over, keepdim=True))


def mix_amplitudes(images: Tensor, references: Tensor, beta: float = 0.01) -> Tensor:
    """Give the low frequencies of each channel the reference's amplitudes; phases and other frequencies stay.

    Frequencies -b..b in both directions are replaced, b = floor(beta * the shorter side). Source: FDA, Yang and
    Soatto 2020.

    Args:
        images: float32 [B,3,H,W] in 0..1.
        references: float32 [B,3,H',W'] in 0..1; resized (bilinear) where the size differs.
        beta: Share of the spectrum, 0 to below 0.5.

    Returns:
        float32 [B,3,H,W], clipped to 0..1.

    Raises:
        InputError: ``beta`` is out of range.
    """
    _check_beta(beta)
    height, width = images.shape[2:]
    if references.shape[2:] != images.shape[2:]:
        references = F.interpolate(references, (height, width), mode="bilinear", antialias=True)
    border = int(min(height, width) * beta)
    own, other = torch.fft.rfft2(images), torch.fft.rfft2(references)
    rows = torch.arange(height, device=images.device)
    low = (rows <= border) | (rows >= height - border)
    low = low.unsqueeze(1) & (torch.arange(own.shape[3], device=images.device) <= border)
    mixed = torch.where(low, torch.polar(other.abs(), own.angle()), own)
    result: Tensor = torch.fft.irfft2(mixed, s=(height, width))
    return result.clamp(0, 1)


def _levels(images: Tensor) -> Tensor:
    """int64 [B*3,pixels] in 0..255."""
    return (images * 255).round().long().clamp(0, 255).flatten(2).flatten(0, 1)


def _cumulative(levels: Tensor) -> Tensor:
    """Share of the pixels up to each level, float64 [B*3,256]."""
    planes, pixels = levels.shape
    cell = levels + 256 * torch.arange(planes, device=levels.device).unsqueeze(1)
    counts = torch.zeros(planes * 256, dtype=torch.int64, device=levels.device)
    counts.scatter_add_(0, cell.flatten(), torch.ones_like(cell).flatten())
    return to_double(counts.view(planes, 256).cumsum(1)) / pixels


def _check_beta(beta: float) -> None:
    if not 0 <= beta < 0.5:
        raise InputError(f"AmplitudeMixing: beta is {beta}; it must be at least 0 and below 0.5.")
