"""Scores of predictions that need no label: entropy, InfoMax, soft neighborhood density, class histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric

from hiast.selection.agreement import most_probable
from hiast.selection.samples import pixel_positions
from hiast.upsampling import PortableState, to_double

SND_PIXELS = 100
"""Random pixels per image for the soft neighborhood density, as DT-ST draws them."""
SND_TEMPERATURE = 0.05
"""Temperature of the soft neighborhood density (Saito et al., ICCV 2021)."""


class TargetSummary(NamedTuple):
    """What the predictions of a set of images look like. All shares are in 0..1; NaN if there was no image.

    Attributes:
        entropy: Mean over pixels of ``-sum_k p_k log p_k / log C``, in 0..1.
        infomax: ``(H(mean p) - mean H(p)) / log C``, in 0..1.
        snd: Mean over images of the soft neighborhood density, in nats.
        pixels: int64 [C], pixels predicted as each class.
        predicted: float64 [C], the same as shares.
        mean_probabilities: float64 [C], mean probability of each class.
        images: Number of images.
    """

    entropy: float
    infomax: float
    snd: float
    pixels: NDArray[np.int64]
    predicted: NDArray[np.float64]
    mean_probabilities: NDArray[np.float64]
    images: int


def infomax(mean_probabilities: NDArray[np.float64], mean_entropy: float) -> float:
    """InfoMax, normalized: ``(H(mean p) - mean H(p)) / log C``; higher is better.

    It is the mutual information of pixel and class. A constant prediction has 0 whether it is certain or not,
    which is why InfoMax sees a collapse that entropy rewards.

    Source: Shi and Sha, ICML 2012; the criterion "IM" in the comparisons of MixVal (NeurIPS 2023) and EnsV
    (NeurIPS 2024).

    Args:
        mean_probabilities: float64 [C], the mean over all pixels.
        mean_entropy: Mean entropy of pixels divided by ``log C``, in 0..1.

    Returns:
        A number in 0..1.

    Examples:
        >>> infomax(np.array([0.5, 0.5]), 0.0)
        1.0
        >>> infomax(np.array([1.0, 0.0]), 0.0)
        0.0
    """
    positive = mean_probabilities[mean_probabilities > 0]
    diversity = -float((positive * np.log(positive)).sum()) / math.log(len(mean_probabilities))
    # Rounding can lead out of the range by a few units of the last place.
    value = diversity - mean_entropy
    return value if math.isnan(value) else min(max(0.0, value), 1.0)


def soft_neighborhood_density(vectors: Tensor, temperature: float = SND_TEMPERATURE) -> Tensor:
    """Soft neighborhood density of sets of vectors; high = dense neighborhoods.

    With unit vectors ``v_i``, ``S_ij = v_i . v_j / T`` and ``S_ii = -1 / T``, it is the mean over rows ``i`` of the
    entropy of ``softmax_j(S_ij)``, in nats: from about 0 (each vector has one neighbor) to ``log(N - 1)``.

    **A constant prediction reaches the maximum**, so this score must never decide alone.

    Source: Saito et al., "Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood
    Density", ICCV 2021, section 3. For segmentation DT-ST (Zhao et al., CVPR 2023) takes 100 random pixels; its code
    leaves ``S_ii`` as it is.

    Args:
        vectors: float [..., N, C], class probabilities of N pixels.
        temperature: T, positive.

    Returns:
        float32 [...]; 0 if N is 1.
    """
    unit = functional.normalize(vectors.float(), dim=-1)
    similarity = unit @ unit.transpose(-1, -2) / temperature
    same = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    weights = similarity.masked_fill(same, -1 / temperature).softmax(-1)
    density: Tensor = torch.special.entr(weights).sum(-1).mean(-1)
    return density


def drawn_vectors(probabilities: Tensor, seed: int, indices: Sequence[int], pixels: int) -> Tensor:
    """Class probabilities of random pixels of each image.

    Args:
        probabilities: float [B, C, H, W].
        seed: Seed of the draws.
        indices: B indices of the images; seed and index decide which pixels are drawn.
        pixels: Pixels per image; an image with fewer gives all of them.

    Returns:
        float32 [B, min(pixels, H * W), C].
    """
    flat = probabilities.flatten(2)
    drawn = np.stack([pixel_positions(flat.shape[2], pixels, seed, index) for index in indices])
    positions = torch.from_numpy(drawn).to(flat.device, non_blocking=True)
    return flat.gather(2, positions[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2).float()


class TargetScores(PortableState, Metric):
    """Accumulates the label-free scores of a stream of batches in constant memory, on the device until asked.

    Every process may see its own share of the images: sums are added over processes when the result is computed. The
    result does not depend on how images are put into batches, but for the rounding of sums.

    Args:
        num_classes: C, at least 2.
        seed: Decides which pixels the soft neighborhood density looks at.
        pixels: Pixels per image for it.
        temperature: Its temperature.

    Examples:
        >>> scores = TargetScores(num_classes=2)
        >>> certain = torch.zeros(1, 2, 4, 4)
        >>> certain[:, 0, :, :2] = 1
        >>> certain[:, 1, :, 2:] = 1
        >>> scores.update(certain, indices=[0])
        >>> summary = scores.compute()
        >>> summary.entropy, summary.infomax
        (0.0, 1.0)
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    entropy_sum: Tensor
    snd_sum: Tensor
    probability_sum: Tensor
    pixels: Tensor
    images: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        seed: int = 0,
        pixels: int = SND_PIXELS,
        temperature: float = SND_TEMPERATURE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes < 2:
            raise ValueError(f"Scores need at least 2 classes, not {num_classes}.")
        self.num_classes = num_classes
        self.seed = seed
        self.snd_pixels = pixels
        self.temperature = temperature
        self.add_state("entropy_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("snd_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("probability_sum", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, probabilities: Tensor, indices: Sequence[int]) -> None:
        """Count some images.

        Args:
            probabilities: float [B, C, H, W] that sum to 1 over C; the softmax of coarse logits does as well as that
                of logits at full size.
            indices: B indices of the images in the set, which decide the random pixels.

        Raises:
            ValueError: The shape does not fit.
        """
        shape = probabilities.shape
        if len(shape) != 4 or shape[1] != self.num_classes or shape[0] != len(indices):
            raise ValueError(
                f"Scores of {len(indices)} images need probabilities [{len(indices)}, {self.num_classes}, H, W], "
                f"not {list(shape)}."
            )
        single = probabilities.float()
        # Sums within an image in single precision, sums over images in double precision.
        self.entropy_sum += to_double(torch.special.entr(single).sum((1, 2, 3))).sum()
        self.probability_sum += to_double(single.sum((2, 3))).sum(0)
        predicted = most_probable(single).flatten().long()
        # Not bincount, which waits for the device.
        self.pixels.scatter_add_(0, predicted, torch.ones_like(predicted))
        vectors = drawn_vectors(single, self.seed, indices, self.snd_pixels)
        self.snd_sum += to_double(soft_neighborhood_density(vectors, self.temperature)).sum()
        self.images += len(indices)

    def compute(self) -> TargetSummary:
        """Scores of all images of all processes."""
        pixels = self.pixels.cpu().numpy()
        total, images = int(pixels.sum()), int(self.images)
        if not total:
            empty = np.full(self.num_classes, np.nan)
            return TargetSummary(math.nan, math.nan, math.nan, pixels, empty, empty.copy(), 0)
        entropy = float(self.entropy_sum) / total / math.log(self.num_classes)
        mean = self.probability_sum.cpu().numpy() / total
        return TargetSummary(
            entropy=entropy,
            infomax=infomax(mean, entropy),
            snd=float(self.snd_sum) / images,
            pixels=pixels,
            predicted=pixels / total,
            mean_probabilities=mean,
            images=images,
        )
