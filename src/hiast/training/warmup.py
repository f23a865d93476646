"""Stage 2: aligning the target's outputs with the source's before self-training."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from hiast.classes import IGNORED, LabelSpace
from hiast.data.adaptation import Domain
from hiast.data.sample import Batch
from hiast.errors import InputError, check_not_negative
from hiast.models import Discriminator, SegmentationNetwork
from hiast.objectives import adversarial_loss, discriminator_input, normalized_entropy, source_cross_entropy
from hiast.objectives.adversarial import INPUTS, LOSSES
from hiast.plain import plain
from hiast.training.module import AdaptationModule
from hiast.training.scales import Cut, loss_over_scales
from hiast.upsampling import Upsampling

SOURCE, TARGET = 0, 1
"""The discriminator's labels of the two domains."""


class WarmupModule(AdaptationModule):
    """Source cross-entropy, with an adversarial and an entropy term on target images.

    The network step minimizes source cross-entropy + adversarial_weight * loss(D(target), source)
    + entropy_weight * mean normalized entropy; the discriminator step then separates the detached outputs.
    Both optimizers are stepped by hand, since Lightning's automatic way knows one.

    Args:
        network: See ``AdaptationModule``.
        classes: The scenario's label space.
        discriminator_input: ``"softmax"`` (as AdaptSegNet), ``"entropy"`` (as AdvEnt), or None for no discriminator.
        discriminator_loss: ``"mse"`` (published) or ``"bce"``, on the discriminator's raw outputs.
        adversarial_weight: Weight of the network's adversarial term.
        entropy_weight: Weight of entropy minimization (MinEnt) on target images.
        discriminator_lr: Learning rate of the discriminator (Adam 0.9, 0.999, no decay), on the same schedule.
        settings: See ``AdaptationModule``; ``freeze_bn`` is ``"affine"`` by default.

    Attributes:
        clipping: ``gradient_clip_val`` and ``gradient_clip_algorithm`` of the trainer, which cannot clip by itself
            where optimizers are stepped by hand.

    Examples:
        >>> import torch
        >>> from hiast.classes import CITYSCAPES_19
        >>> from hiast.models import DeepLabV2
        >>> network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=8)
        >>> module = WarmupModule(network, CITYSCAPES_19, adversarial_weight=0.05, max_steps=10)
        >>> module.stage, module.domains
        ('warmup', ('source', 'target'))
    """

    stage: ClassVar[str] = "warmup"
    domains: ClassVar[tuple[Domain, ...]] = ("source", "target")

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        *,
        discriminator_input: str | None = "softmax",
        discriminator_loss: str = "mse",
        adversarial_weight: float = 0.05,
        entropy_weight: float = 0.0,
        discriminator_lr: float = 2e-5,
        **settings: Any,
    ) -> None:
        super().__init__(network, classes, **({"freeze_bn": "affine"} | settings))
        if discriminator_input not in (None, *INPUTS) or discriminator_loss not in LOSSES:
            raise InputError(
                f"warmup: discriminator_input is {discriminator_input}, discriminator_loss is {discriminator_loss}: "
                f"choose among {', '.join(INPUTS)} or null, and {', '.join(LOSSES)}."
            )
        check_not_negative(
            self.stage,
            adversarial_weight=adversarial_weight,
            entropy_weight=entropy_weight,
            discriminator_lr=discriminator_lr,
        )
        if discriminator_input is None and not entropy_weight:
            raise InputError(
                "warmup has neither a discriminator nor an entropy weight: choose warmup=none to leave it out."
            )
        self.automatic_optimization = False
        self.clipping: dict[str, Any] = {}
        self.discriminator_input = discriminator_input
        self.discriminator_loss = discriminator_loss
        self.adversarial_weight: float = plain(adversarial_weight)
        self.entropy_weight: float = plain(entropy_weight)
        self.discriminator_lr: float = plain(discriminator_lr)
        self.discriminator = None if discriminator_input is None else Discriminator(len(classes))

    def configure_optimizers(self) -> Any:
        """The network's optimizer and, where there is one, the discriminator's."""
        optimizers = [self.optimizer.build(self.network, fused=not self.clipping)]
        if self.discriminator is not None:
            lr = self.discriminator_lr
            group = {"params": self.discriminator.parameters(), "initial_lr": lr, "backbone_lr": lr}
            optimizers.append(torch.optim.Adam([group], lr=lr, betas=(0.9, 0.999)))
        return optimizers

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One batch through the network step and the discriminator step."""
        found: Any = self.optimizers()
        optimizers: list[LightningOptimizer] = found if isinstance(found, list) else [found]
        if self.batches_done % self.accumulate_grad_batches == 0:
            for optimizer in optimizers:
                optimizer.zero_grad()
        terms, source_logits, target_logits = self._network_step(batch)
        if self.discriminator is not None:
            terms["discriminator"] = self._discriminator_step(source_logits.detach(), target_logits.detach())
        self.check_and_log(terms)
        if (self.batches_done + 1) % self.accumulate_grad_batches == 0:
            self._step(optimizers)
        return {name: term.detach() for name, term in terms.items()}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Terms of the network step."""
        return self._terms(batch)[0]

    def _terms(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        source, target = batch["source"], batch["target"]
        upsampling = self.network.upsampling(*source["label"].shape[-2:])
        passed = self.training_pass(self.normalize(source["image"]))
        source_logits = upsampling(passed.logits)
        target_logits = self._logits(target["image"])

        def source_loss(logits: Tensor, upsampling: Upsampling, cut: Cut) -> Tensor:
            full = source_logits if logits is passed.logits else upsampling(logits)
            return source_cross_entropy(full, cut(source["label"], IGNORED))

        terms = {"source_cross_entropy": loss_over_scales(passed, upsampling, source_loss)}
        total = terms["source_cross_entropy"]
        if self.discriminator is not None:
            terms["adversarial"] = self._judged(target_logits, SOURCE)
            total = total + self.adversarial_weight * terms["adversarial"]
        if self.entropy_weight:
            terms["target_entropy"] = normalized_entropy(target_logits)
            total = total + self.entropy_weight * terms["target_entropy"]
        terms["total"] = total
        return terms, source_logits, target_logits

    def _logits(self, images: Tensor) -> Tensor:
        """Logits at image size, through the pass that ``compile_mode`` compiles."""
        logits = self.training_pass(self.normalize(images)).logits
        return self.network.upsampling(images.shape[2], images.shape[3])(logits)

    def _network_step(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        # The discriminator judges here but does not learn; its gradients would be spent on the wrong labels.
        self._discriminator_learns(False)
        with self.training_statistics():
            terms, source_logits, target_logits = self._terms(batch)
        self.manual_backward(terms["total"] / self.accumulate_grad_batches)
        self._discriminator_learns(True)
        return terms, source_logits, target_logits

    def _discriminator_step(self, source_logits: Tensor, target_logits: Tensor) -> Tensor:
        loss = (self._judged(source_logits, SOURCE) + self._judged(target_logits, TARGET)) / 2
        self.manual_backward(loss / self.accumulate_grad_batches)
        return loss

    def _judged(self, logits: Tensor, label: int) -> Tensor:
        """Loss of the discriminator's opinion of ``logits`` against a domain label."""
        assert self.discriminator is not None
        outputs = self.discriminator(discriminator_input(logits, self.discriminator_input or "softmax"))
        return adversarial_loss(outputs, label, self.discriminator_loss)

    def _step(self, optimizers: list[LightningOptimizer]) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        for optimizer in optimizers:
            if self.clipping:
                if scaler is not None:
                    scaler.unscale_(optimizer.optimizer)
                self.clip_gradients(optimizer.optimizer, **self.clipping)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer.optimizer)
        # Lightning renews the scale after every optimizer: the second would be unscaled by another number than its
        # gradients were scaled with.
        if scaler is not None:
            scaler.update()

    def _discriminator_learns(self, learns: bool) -> None:
        if self.discriminator is not None:
            self.discriminator.requires_grad_(learns)

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values."""
        return super().arguments() | {
            "discriminator_input": self.discriminator_input,
            "discriminator_loss": self.discriminator_loss,
            "adversarial_weight": self.adversarial_weight,
            "entropy_weight": self.entropy_weight,
            "discriminator_lr": self.discriminator_lr,
        }
