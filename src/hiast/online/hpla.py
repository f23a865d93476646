"""HPLA within a batch: hard classes of one pseudo-labeled image are pasted onto another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hiast.online.hard_classes import RunningConfidence, draw_donors, hard_classes
from hiast.online.mixing import HardClassPaste, Labeled, Mixed


class HPLA(nn.Module):
    """Hard-aware pseudo-label augmentation of online training.

    The classes that the teacher is least sure of are hard. For each target image a hard class and a donor that holds it
    are drawn within the batch, and all pixels of hard classes of the donor are pasted with their pseudo-labels and
    weights. In the rounds donors come from the whole set of target images; see ``hiast.data.HardClassAugmentation``.

    Source: HIAST, hard-aware pseudo-label augmentation, with a moving average of the confidence in place of a round's.

    Args:
        num_classes: C, 1 to 255.
        hardest: Number of hard classes (published: 14 of 19); None: all.
        momentum: Share of the past that the mean confidence of a class keeps in a step, 0 to 1.
        excluded: Classes that are never hard, such as those that the source label space lacks; in a run
            the callback ``SourcePixels`` names these.

    Raises:
        InputError: A setting is out of range.

    Examples:
        >>> import torch
        >>> from hiast.online import Labeled, generator_at
        >>> labels = torch.tensor([[[0, 0, 1]], [[0, 0, 0]]], dtype=torch.uint8)
        >>> confidence = torch.where(labels == 1, 0.6, 1.0)
        >>> pseudo = Labeled(torch.zeros(2, 3, 1, 3, dtype=torch.uint8), labels, torch.ones(2, 1, 3))
        >>> HPLA(2, hardest=1)(pseudo, confidence, generator_at(0)).labels.tolist()
        [[[0, 0, 1]], [[0, 0, 1]]]
    """

    def __init__(
        self, num_classes: int, hardest: int | None = 14, momentum: float = 0.99, excluded: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.num_classes, self.hardest, self.momentum = num_classes, hardest, momentum
        self.excluded = tuple(excluded)
        self.running = RunningConfidence(num_classes, momentum)
        hard_classes(self.running.mean, hardest)  # Checks ``hardest``.

    @torch.no_grad()
    def forward(self, pseudo: Labeled, confidence: Tensor, generator: torch.Generator) -> Mixed:
        """Paste within a batch.

        With several processes all must call this together: the mean confidence is over the images of all.

        Args:
            pseudo: Target images with pseudo-labels uint8 [B,H,W], 255 = ignored.
            confidence: Floating [B,H,W], 0..1, the teacher's probability of each label.
            generator: Decides all draws.

        Returns:
            The images with what was pasted; an image that is its own donor is left as it is.
        """
        self.running.update(confidence, pseudo.labels)
        excluded = torch.zeros(self.num_classes, dtype=torch.bool)
        excluded[list(self.excluded)] = True
        hard, weights = hard_classes(self.running.mean, self.hardest, excluded)
        donor = draw_donors(pseudo.labels, weights, generator)
        trusted = None if pseudo.weights is None else pseudo.weights[donor]
        donors = Labeled(pseudo.images[donor], pseudo.labels[donor], trusted)
        return HardClassPaste()(donors, pseudo, generator, hard)
