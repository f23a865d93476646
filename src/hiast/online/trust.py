"""Which pixels of the teacher's prediction become labels, and how much each of them weighs.

All kinds are called alike, ``trust(confidence, prediction, valid)``, and give labels and weights. The kinds with
thresholds that move over the steps are in ``hiast.online.thresholds``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor, nn

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_choice, check_predictions, check_shares
from hiast.upsampling import to_double

Per = Literal["batch", "image"]
"""What is looked at together: all images of this process's batch, or each image by itself."""
Of = Literal["all", "valid"]
"""Pixels that a share is of: every one, or those outside of margins."""


class Trusted(NamedTuple):
    """Pseudo-labels with weights.

    Attributes:
        labels: uint8 [B,H,W], 255 where nothing is kept.
        weights: float32 [B,H,W], 0 or more; 0 where nothing is kept.
    """

    labels: Tensor
    weights: Tensor


class Trust(Protocol):
    """Turns a teacher's prediction into weighted pseudo-labels."""

    def __call__(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None = None) -> Trusted:
        """Labels and weights of one batch.

        Args:
            confidence: Floating [B,H,W], the largest probability of each pixel.
            prediction: Integer [B,H,W], its class.
            valid: Bool [B,H,W]; pixels where it is false get no label and do not count. None: all count.
        """
        ...


def confidence_and_prediction(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability, float32 [B,H,W], and its class, int64 [B,H,W], of probabilities [B,C,H,W].

    The first of equal classes counts, as by ``argmax``. Gradients are cut.

    Raises:
        InputError: ``probabilities`` is not a floating tensor with four dimensions.
    """
    if probabilities.ndim != 4 or not probabilities.is_floating_point():
        raise InputError(
            f"Teacher probabilities are {probabilities.dtype} {list(probabilities.shape)}; "
            "give a floating tensor [B, C, H, W]."
        )
    confidence, prediction = probabilities.detach().max(dim=1)
    return confidence.float(), prediction


def label_where(kept: Tensor, prediction: Tensor) -> Tensor:
    """Labels uint8 [B,H,W]: ``prediction`` where ``kept``, bool [B,H,W], is true, else 255."""
    return prediction.to(torch.uint8).masked_fill(~kept, IGNORED)


class QualityWeight(nn.Module):
    """Every pixel keeps its class; all weigh the share of pixels that the teacher is sure of.

    Source: DACS, Tranheden et al. 2021; 0.968 as in DAFormer, HRDA, MIC and VFM-UDA, where the share is over
    the batch of each device.

    Args:
        threshold: Confidence from which on the teacher is sure, 0 to 1.
        per: ``"batch"``: one weight for all images of the batch; ``"image"``: one for each image.
        of: Pixels that the share is of. ``"all"`` (published): those of margins, too, which then have no weight.
            ``"valid"``: those outside of margins.

    Raises:
        InputError: A setting is out of range.
    """

    def __init__(self, threshold: float = 0.968, per: Per = "batch", of: Of = "all") -> None:
        super().__init__()
        check_shares("quality weight", threshold=threshold)
        check_choice("quality weight", "per", per, get_args(Per))
        check_choice("quality weight", "of", of, get_args(Of))
        self.threshold = threshold
        self.per = per
        self.of = of

    def forward(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None = None) -> Trusted:
        """Labels and weights of a batch, see ``Trust``. Without a valid pixel all weights are 0.

        Raises:
            InputError: Shapes, types or (on the CPU) values do not fit.
        """
        check_predictions(confidence, prediction, valid, IGNORED)
        every = torch.ones_like(prediction, dtype=torch.bool)
        usable = every if valid is None else valid
        counted = every if self.of == "all" else usable
        sure = (confidence >= self.threshold) & counted
        over = (0, 1, 2) if self.per == "batch" else (1, 2)
        # Counts are exact; float64 keeps their quotient the same on every device.
        pixels = counted.sum(over, keepdim=True).clamp(min=1)
        share = (to_double(sure.sum(over, keepdim=True)) / pixels).float()
        return Trusted(label_where(usable, prediction), torch.where(usable, share, 0.0))


class PixelConfidence(nn.Module):
    """Each pixel is judged by its own confidence.

    Args:
        threshold: A pixel below this confidence keeps no label, 0 to 1; 0 keeps all.
        soft: Kept pixels weigh their confidence instead of 1.

    Raises:
        InputError: ``threshold`` is out of range.
    """

    def __init__(self, threshold: float = 0.9, soft: bool = False) -> None:
        super().__init__()
        check_shares("pixel confidence", threshold=threshold)
        self.threshold = threshold
        self.soft = soft

    def forward(self, confidence: Tensor, prediction: Tensor, valid: Tensor | None = None) -> Trusted:
        """Labels and weights of a batch, see ``Trust``.

        Raises:
            InputError: Shapes, types or (on the CPU) values do not fit.
        """
        check_predictions(confidence, prediction, valid, IGNORED)
        kept = confidence >= self.threshold
        if valid is not None:
            kept = kept & valid
        weights = torch.where(kept, confidence.float(), 0.0) if self.soft else kept.float()
        return Trusted(label_where(kept, prediction), weights)
