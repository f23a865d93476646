"""What every segmentation network offers to the stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from hiast.models.batch_norm import BatchNormMode, batch_norms
from hiast.upsampling import Upsampling

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class DetailLogits(NamedTuple):
    """Logits of one window of the images, for a loss of its own beside that of the whole.

    Attributes:
        logits: Float [B,C,h,w].
        upsampling: From [h,w] to the pixels of the window.
        corner: (top, left) of the window in the padded images.
        share: Share of its loss in the sum of both, 0..1.
    """

    logits: Tensor
    upsampling: Upsampling
    corner: tuple[int, int]
    share: float


class TrainingPass(NamedTuple):
    """What a network gives in a training step.

    Attributes:
        logits: Coarse logits [B,C,h,w], see ``SegmentationNetwork.coarse``.
        detail: Logits of a window, of networks that look at several scales.
    """

    logits: Tensor
    detail: DetailLogits | None = None

    def images(self, first: int, end: int) -> TrainingPass:
        """That of the images from ``first`` to before ``end`` of the batch."""
        detail = self.detail
        if detail is not None:
            detail = detail._replace(logits=detail.logits[first:end])
        return TrainingPass(self.logits[first:end], detail)


class SegmentationNetwork(nn.Module):
    """Base of the networks: normalized images float [B,3,H,W] in, logits [B,C,H,W] at image size out.

    Attributes:
        num_classes: Classes C of the logits.
        mean: Mean of each RGB channel that the network expects to be subtracted, for images scaled to 0..1.
        std: Divisor of each RGB channel, likewise.
        batch_norm: How batch normalization is frozen, see :func:`hiast.models.batch_norm.freeze_batch_norm`.
    """

    num_classes: int
    mean: Triple
    std: Triple

    def __init__(self) -> None:
        super().__init__()
        self.batch_norm: BatchNormMode = "none"

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] of normalized ``images`` [B,3,H,W]."""
        raise NotImplementedError

    def coarse(self, images: Tensor) -> Tensor:
        """Logits [B,C,h,w] of normalized ``images`` [B,3,H,W] before their upsampling.

        ``upsampling(H, W)`` of them are what ``forward`` returns. Losses and read-outs take them, because they are
        small. A network that does not say otherwise gives the logits at image size.
        """
        logits: Tensor = self(images)
        return logits

    def training_pass(self, images: Tensor) -> TrainingPass:
        """``coarse`` of normalized ``images`` [B,3,H,W], and what a loss beside it is about."""
        return TrainingPass(self.coarse(images))

    def upsampling(self, height: int, width: int) -> Upsampling:
        """How the coarse logits of images of (``height``, ``width``) become logits at image size."""
        return Upsampling.to((height, width))

    def encoder_images(self, images: Tensor) -> Tensor:
        """Normalized images [B,3,H,W] as the first pass of ``coarse`` through the encoder sees them."""
        return images

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Size to which ``coarse`` pads images of (``height``, ``width``), at the right and the bottom."""
        return height, width

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that start from ImageNet: the group with the base learning rate."""
        raise NotImplementedError

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that start from scratch: the group with ten times the base learning rate."""
        raise NotImplementedError

    def parameter_depths(self) -> dict[str, int]:
        """Depth of every parameter of the encoder, for layer-wise learning rates.

        Returns:
            Names as of ``named_parameters()`` and depths from 0 (stem) to D (last block). With layer decay d a
            parameter of depth k learns with ``d ** (D - k)`` of the rate of the backbone, ``optimizer.lr`` (Bao et al.
            2022 count the head as a further layer; here it has a rate of its own).

        Raises:
            InputError: The depths of this encoder are not known.
        """
        raise NotImplementedError

    @property
    def recipe(self) -> dict[str, Any] | None:
        """Plain values from which ``build_from_recipe`` makes the same architecture, without any weights.

        None: a class of your own, which only you can build; ``load_from_checkpoint(..., network=...)`` takes it.
        """
        return None

    def train(self, mode: bool = True) -> SegmentationNetwork:
        """Set the mode of all parts; fully frozen batch normalization stays in eval mode."""
        super().train(mode)
        if self.batch_norm == "full":
            for norm in batch_norms(self):
                norm.eval()
        return self
