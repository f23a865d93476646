"""Stage 3: one round of hard-aware instance adaptive self-training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from hiast.classes import LabelSpace
from hiast.data.adaptation import Domain
from hiast.data.sample import Batch
from hiast.errors import InputError, check_not_negative
from hiast.models import SegmentationNetwork, Teacher
from hiast.objectives import HIASTLoss
from hiast.plain import plain
from hiast.training.module import AdaptationModule


class HIASTModule(AdaptationModule):
    """A student that learns from pseudo-labels, and its teacher, the moving average of its weights.

    Before a round, ``teacher`` is the network that labels it: in round 1 a copy of the student, later the teacher of
    the round before. When the labels are there, ``begin_round`` makes it a copy of the student again.

    Args:
        network: The student, see ``AdaptationModule``.
        classes: The scenario's label space.
        loss: The four terms and their weights.
        ema_decay: Share of the teacher's old weights that is kept at every step.
        source_weight: Weight of a cross-entropy on source images beside the target loss; 0 reads no source images.
        settings: See ``AdaptationModule``; ``freeze_bn`` is ``"affine"`` by default.

    Examples:
        >>> import torch
        >>> from hiast.classes import CITYSCAPES_19
        >>> from hiast.models import DeepLabV2
        >>> network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=8)
        >>> module = HIASTModule(network, CITYSCAPES_19, ema_decay=0.999, max_steps=10)
        >>> module.begin_round()
        >>> module(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape
        torch.Size([1, 19, 64, 64])
    """

    stage: ClassVar[str] = "self_training"
    domains: ClassVar[tuple[Domain, ...]] = ("target",)
    labels_needed: ClassVar[bool] = True

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        *,
        loss: HIASTLoss | None = None,
        ema_decay: float = 0.999,
        source_weight: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(network, classes, **({"freeze_bn": "affine"} | settings))
        check_not_negative(self.stage, ema_decay=ema_decay, source_weight=source_weight)
        if ema_decay > 1:
            raise InputError(f"self_training: ema_decay is {ema_decay}; give a number from 0 to 1.")
        if loss is not None and not isinstance(loss, HIASTLoss):
            raise InputError(
                f"self_training: the loss is a {type(loss).__name__}: let it be a subclass of "
                "hiast.objectives.HIASTLoss, whose from_coarse(...) gives the named terms."
            )
        self.loss = loss or HIASTLoss()
        self.ema_decay: float = plain(ema_decay)
        self.source_weight: float = plain(source_weight)
        self.teacher = Teacher(network, self.ema_decay)
        if source_weight:
            self.domains = ("source", "target")  # type: ignore[misc]

    def begin_round(self) -> None:
        """Make the teacher a copy of the student; once for each round, after its labels are made."""
        self.teacher.reset(self.network)

    def compile_passes(self) -> None:
        """Compile the passes of student and teacher."""
        super().compile_passes()
        self.teacher.compile_coarse(self.compile_mode)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss on target images: the student sees the strong view, the teacher the weak one."""
        target = batch["target"]
        height, width = target["image"].shape[-2:]
        upsampling = self.network.upsampling(height, width)
        teacher_logits = None
        if self.loss.consistency:
            with torch.no_grad():
                teacher_logits = self.teacher.coarse(self.normalize(target["image"]))
        logits = self.training_pass(self.normalize(target["strong"])).logits
        terms: dict[str, Tensor] = dict(
            self.loss.from_coarse(logits, target["label"], teacher_logits, upsampling)
        )
        if self.source_weight:
            source = batch["source"]
            terms["source_cross_entropy"] = self.source_loss(source["image"], source["label"])
            terms["total"] = terms["total"] + self.source_weight * terms["source_cross_entropy"]
        return terms

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """An optimizer step of the student, then the teacher follows."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.teacher.update(self.network)

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values."""
        return super().arguments() | {
            "loss": self.loss.to_dict(),
            "ema_decay": self.ema_decay,
            "source_weight": self.source_weight,
        }

    @classmethod
    def from_arguments(
        cls, network: SegmentationNetwork, classes: LabelSpace, arguments: dict[str, Any]
    ) -> Self:
        """The inverse of ``arguments``."""
        return super().from_arguments(network, classes, arguments | {"loss": HIASTLoss(**arguments["loss"])})
