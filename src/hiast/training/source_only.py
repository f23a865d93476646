"""Stage 1: cross-entropy on labeled source images (method section 1)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hiast.data.adaptation import Domain
from hiast.data.sample import Batch
from hiast.training.module import AdaptationModule


class SourceOnlyModule(AdaptationModule):
    """Supervised training on the labeled source domain."""

    stage: ClassVar[str] = "source_only"
    domains: ClassVar[tuple[Domain, ...]] = ("source",)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy over labeled pixels."""
        samples = batch["source"]
        cross_entropy = self.source_loss(samples["image"], samples["label"])
        return {"cross_entropy": cross_entropy, "total": cross_entropy}
