"""Stage 1: cross-entropy on labeled source images."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hiast.data.adaptation import Domain
from hiast.data.sample import Batch
from hiast.training.module import AdaptationModule


class SourceOnlyModule(AdaptationModule):
    """Supervised training on the labeled source domain.

    Examples:
        >>> import torch
        >>> from hiast.classes import CITYSCAPES_19
        >>> from hiast.models import DeepLabV2
        >>> network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=8)
        >>> module = SourceOnlyModule(network, CITYSCAPES_19, max_steps=10)
        >>> image, label = torch.zeros(1, 3, 64, 64).byte(), torch.zeros(1, 64, 64).byte()
        >>> sorted(module.losses({"source": {"image": image, "label": label}}))
        ['cross_entropy', 'total']
    """

    stage: ClassVar[str] = "source_only"
    domains: ClassVar[tuple[Domain, ...]] = ("source",)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy over labeled pixels."""
        samples = batch["source"]
        cross_entropy = self.source_loss(samples["image"], samples["label"])
        return {"cross_entropy": cross_entropy, "total": cross_entropy}
