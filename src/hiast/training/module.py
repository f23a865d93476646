"""What all stages share: network, optimizer, learning rates, and one training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from torch import Tensor

from hiast.classes import IGNORED, LabelSpace
from hiast.compile_modes import CompileMode
from hiast.data.adaptation import Domain, Plan
from hiast.data.sample import Batch
from hiast.errors import InputError
from hiast.models import SegmentationNetwork, freeze_batch_norm, frozen_running_stats, synchronize_batch_norm
from hiast.models.batch_norm import BatchNormMode
from hiast.models.network import TrainingPass
from hiast.objectives.fused.cross_entropy import coarse_cross_entropy
from hiast.plain import plain
from hiast.training.contents import StoredModule
from hiast.training.finite import FiniteCheck
from hiast.training.optim import OptimizerSettings, set_lrs
from hiast.training.samples import check_sample
from hiast.training.scales import Cut, loss_over_scales
from hiast.upsampling import PortableState, Upsampling

Statistics = Literal["running", "target"]


class AdaptationModule(PortableState, StoredModule, ABC):
    """Base of the stages. A stage says which domains it reads and how a batch becomes losses.

    Args:
        network: Segmentation network: normalized images [B, 3, H, W] -> logits [B, C, H, W]. One of your own is a
            subclass of ``hiast.models.SegmentationNetwork`` with ``num_classes``, ``mean``, ``std``, ``forward``,
            ``encoder_parameters()`` and ``head_parameters()``.
        classes: The label space of the scenario; its length is C.
        optimizer: Optimizer and learning rates.
        max_steps: Optimizer steps of the stage (of one round in self-training), at least 1.
        accumulate_grad_batches: Batches per optimizer step.
        round_number: Round of the stage, counted from 1.
        validation_size: See ``PredictionModule``.
        freeze_bn: ``"none"``, ``"affine"`` (published from the warm-up on: weight and bias are not trained, running
            statistics still move) or ``"full"`` (running statistics are fixed too).
        bn_statistics: Statistics of batch normalization that a network is evaluated, labels and is saved with.
            ``"running"`` (published): averages that move with every image that the stage trains on. ``"target"``:
            statistics of target images, estimated from the current weights before each validation and labeling, while
            training normalizes each domain by its own batches.
        seed: Seed of the random draws inside the network (dropout), a function of stage, round and batch.

    Attributes:
        finite_check_interval: Batches between two checks of the losses on an accelerator, where reading a value makes
            the host wait. On the CPU every batch is checked.
        compile_mode: Mode of ``torch.compile`` for the passes of student and teacher in training; None: not compiled.
            Validation and labeling, whose images may have any size, are never compiled.

    Raises:
        InputError: A setting is out of range, or the network has another number of classes.
    """

    domains: ClassVar[tuple[Domain, ...]]
    labels_needed: ClassVar[bool] = False
    """Whether target images are read with the pseudo-labels of a round."""
    still: ClassVar[tuple[str, ...]] = ("teacher.", "feature_distance.", "normalize.")
    """Beginnings of the names of buffers that losses do not change."""

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        *,
        optimizer: OptimizerSettings | None = None,
        max_steps: int = 1000,
        accumulate_grad_batches: int = 1,
        round_number: int = 1,
        validation_size: tuple[int, int] | None = None,
        freeze_bn: BatchNormMode = "none",
        bn_statistics: Statistics = "running",
        seed: int = 888,
    ) -> None:
        super().__init__(network, classes, validation_size)
        if max_steps < 1 or accumulate_grad_batches < 1:
            raise InputError(
                f"{self.stage}: max_steps ({max_steps}) and accumulate_grad_batches ({accumulate_grad_batches}) "
                "must be at least 1."
            )
        if bn_statistics not in get_args(Statistics):
            raise InputError(f"{self.stage}: bn_statistics is '{bn_statistics}'; choose running or target.")
        self.optimizer = optimizer or OptimizerSettings()
        self.max_steps: int = plain(max_steps)
        self.accumulate_grad_batches: int = plain(accumulate_grad_batches)
        self.round_number: int = plain(round_number)
        self.freeze_bn = freeze_bn
        self.bn_statistics = bn_statistics
        self.seed: int = plain(seed)
        self.finite_check_interval = 50
        self.compile_mode: CompileMode | None = None
        self._compiled: Callable[[Tensor], TrainingPass] | None = None
        self.finite = FiniteCheck()
        self._buffers_before: list[Tensor] = []
        freeze_batch_norm(network, freeze_bn)

    def with_batch_size(self, batch_size: int) -> Self:
        """The module with the learning rate that its settings give for a batch size over all devices."""
        self.optimizer = self.optimizer.scaled(batch_size)
        return self

    @property
    def steps_done(self) -> int:
        """Optimizer steps of this round that are done."""
        return self.batches_done // self.accumulate_grad_batches

    @property
    def batches(self) -> int:
        """Batches of this round."""
        return self.max_steps * self.accumulate_grad_batches

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms of a batch; ``total`` is what is minimized."""

    def training_pass(self, images: Tensor) -> TrainingPass:
        """What the network gives for normalized images [B, 3, H, W] in a training step."""
        return (self._compiled or self.network.training_pass)(images)

    def source_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the labeled pixels of uint8 images [B, 3, H, W] with labels uint8 [B, H, W]."""
        passed = self.training_pass(self.normalize(images))
        upsampling = self.network.upsampling(labels.shape[-2], labels.shape[-1])

        def loss(logits: Tensor, upsampling: Upsampling, cut: Cut) -> Tensor:
            value: Tensor = coarse_cross_entropy(logits, cut(labels, IGNORED), upsampling)
            return value

        return loss_over_scales(passed, upsampling, loss)

    def compile_passes(self) -> None:
        """Compile the passes of a training step in ``compile_mode``; the first steps then take minutes."""
        self._compiled = torch.compile(self.network.training_pass, mode=self.compile_mode)

    def setup(self, stage: str) -> None:
        """Synchronize batch normalization over all devices, which torch has on accelerators only, and compile."""
        if stage == "fit" and self.trainer.world_size > 1 and self.trainer.strategy.root_device.type != "cpu":
            synchronize_batch_norm(self.network)
        if stage == "fit":
            on_cpu = self.trainer.strategy.root_device.type == "cpu"
            self.finite.reset(interval=1 if on_cpu else self.finite_check_interval)
            if self.compile_mode is not None:
                self.compile_passes()

    def on_fit_start(self) -> None:
        """Check that there is something left to train, and make Lightning accumulate as the settings say.

        The warm-up, which steps its optimizers itself, does not accumulate by Lightning.

        Raises:
            InputError: All steps are done, the trainer accumulates otherwise, or the weights are not float32.
        """
        super().on_fit_start()
        dtype = next((parameter.dtype for parameter in self.network.parameters()), torch.float32)
        if dtype != torch.float32:
            name = str(dtype).removeprefix("torch.")
            raise InputError(
                f"{self.stage}: the weights are {name}, and training needs those of float32: use precision=bf16-mixed, "
                "16-mixed or 32-true of the trainer."
            )
        if self.batches_done >= self.batches:
            raise InputError(
                f"{self.stage}: all {self.max_steps} steps of this module are done. To train its network further, give "
                f"it to a new module: {type(self).__name__}(module.network, module.classes, max_steps=...)."
            )
        if self.automatic_optimization:
            for asked in self._asked_accumulations():
                if asked not in (1, self.accumulate_grad_batches):
                    raise InputError(
                        f"{self.stage}: the trainer accumulates {asked} batches and the module "
                        f"{self.accumulate_grad_batches}; set accumulate_grad_batches of the module, which counts its "
                        "steps by it."
                    )
            self.trainer.accumulate_grad_batches = self.accumulate_grad_batches
        # A module that was loaded, or whose network was, is in eval mode.
        self.train()

    def _asked_accumulations(self) -> list[int]:
        """Batches per optimizer step that the trainer and its callbacks ask for."""
        callbacks = (c for c in self.trainer.callbacks if isinstance(c, GradientAccumulationScheduler))  # type: ignore[attr-defined]
        scheduled = [number for callback in callbacks for number in callback.scheduling.values()]
        return [self.trainer.accumulate_grad_batches, *scheduled]

    def on_train_start(self) -> None:
        """Check that the data start where the module does.

        Raises:
            InputError: They start elsewhere.
        """
        plan = self._plan
        if plan is not None and plan.start_step != self.batches_done:
            raise InputError(
                f"{self.stage}: the module has done {self.batches_done} batches and the data start at step "
                f"{plan.start_step}: use with_plan(..., start_step={self.batches_done})."
            )

    @property
    def _plan(self) -> Plan | None:
        """The plan of the trainer's datamodule; None where batches come from elsewhere."""
        plan = getattr(getattr(self.trainer, "datamodule", None), "plan", None)
        return plan if isinstance(plan, Plan) else None

    def on_train_epoch_start(self) -> None:
        """Refuse to see the images of a plan again.

        Raises:
            InputError: A second epoch would repeat them.
        """
        plan = self._plan
        if plan is not None and self.trainer.current_epoch:
            raise InputError(
                f"{self.stage}: the data end after {plan.steps} batches, and a second epoch would repeat them: use "
                f"with_plan(..., steps={self.batches}) and one epoch."
            )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """End training when all steps are done, however many batches or epochs follow."""
        last = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.batches_done >= self.batches and (not last or self.trainer.max_epochs != 1):
            self.trainer.should_stop = True

    def configure_optimizers(self) -> Any:
        """A new optimizer. Learning rates are set at every batch, so there is no scheduler to restore."""
        return self.optimizer.build(self.network, fused=self.fused)

    @property
    def fused(self) -> bool:
        """Whether the optimizer may run fused: not where gradients are clipped under a gradient scaler."""
        if self._trainer is None:
            return True
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        return not (scaled and self.trainer.gradient_clip_val)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set what depends on the position alone: learning rates and the seed of the draws of the network."""
        self._check_batch(batch)
        self.set_learning_rates()
        if self.compile_mode is not None:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        key = [self.seed, *self.stage.encode(), self.round_number, self.batches_done, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        if self.finite.interval == 1 and self.batches_done % self.accumulate_grad_batches == 0:
            self._buffers_before = [buffer.clone() for buffer in self._moving_buffers()]

    def _check_batch(self, batch: Batch) -> None:
        """Raise on a batch that lacks what the stage reads, or holds it in another type or shape.

        Raises:
            InputError: Says which part and how it is made.
        """
        parts: Any = batch
        for domain in self.domains:
            if not isinstance(parts, Mapping) or domain not in parts:
                raise InputError(
                    f"{self.stage}: batches need the parts {' and '.join(self.domains)}, and this one has no {domain}: "
                    "use AdaptationDataModule.with_plan(domains=module.domains, ...)."
                )
        if (
            "target" in self.domains
            and self.labels_needed
            and not {"strong", "label"} <= parts["target"].keys()
        ):
            raise InputError(
                f"{self.stage}: target images need pseudo-labels: use with_plan(..., round_directory=...), the folder "
                "that hiast-label or hiast.callbacks.LabelRound has written."
            )
        for domain in self.domains:
            pseudo = domain == "target" and self.labels_needed
            check_sample(
                f"{self.stage}: the {domain} batches",
                parts[domain],
                ["image", "strong"] if pseudo else ["image"],
                labeled=pseudo or domain == "source",
            )

    def discard_unfinished_step(self) -> bool:
        """Undo what a step that did not reach the weights has changed: statistics, thresholds and the batch count.

        Returns:
            Whether that is possible. It is not where losses are checked every few steps only, so that a bad step may
            have reached the weights.
        """
        if self.finite.interval > 1:
            return False
        with torch.no_grad():
            for buffer, before in zip(self._moving_buffers(), self._buffers_before, strict=True):
                buffer.copy_(before)
        self._batches_before -= self.batches_done % self.accumulate_grad_batches
        return True

    def _moving_buffers(self) -> list[Tensor]:
        """What losses may change besides gradients: statistics of batch normalization, state of online ingredients."""
        return [buffer for name, buffer in self.named_buffers() if not name.startswith(self.still)]

    def set_learning_rates(self) -> None:
        """Set the learning rate of the coming step in every optimizer."""
        for optimizer in self.trainer.optimizers:
            set_lrs(optimizer, self.optimizer.schedule, self.steps_done, self.max_steps)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Losses of a batch, checked and logged."""
        with self.training_statistics():
            terms = self.losses(batch)
        self.check_and_log(terms)
        return {"loss": terms["total"], **{name: term.detach() for name, term in terms.items()}}

    def training_statistics(self) -> AbstractContextManager[None]:
        """Context of the losses: training must not move statistics that are estimated on the target."""
        return frozen_running_stats(self.network) if self.bn_statistics == "target" else nullcontext()

    def check_and_log(self, terms: dict[str, Tensor]) -> None:
        """Log the terms, and raise on one that is not finite.

        On the CPU every batch is checked before it reaches the weights. On an accelerator it is checked every
        ``finite_check_interval`` batches and before a checkpoint is saved.

        Raises:
            NonFiniteLossError: A term is NaN or infinite, here or in another process.
        """
        self.finite.update(terms, self.steps_done)
        if self.finite.due():
            self.raise_if_not_finite()
        self.log_dict({f"{self.stage}/{name}": term.detach() for name, term in terms.items()}, batch_size=1)

    def raise_if_not_finite(self) -> None:
        """Read the check of the losses; all processes must call this together.

        Raises:
            NonFiniteLossError: A term of a batch since the last call was NaN or infinite.
        """
        self.finite.raise_if_bad(self.trainer, self.stage, self.round_number, self.steps_done)

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values, stored in checkpoints."""
        return super().arguments() | {
            "optimizer": self.optimizer.to_dict(),
            "max_steps": self.max_steps,
            "accumulate_grad_batches": self.accumulate_grad_batches,
            "round_number": self.round_number,
            "freeze_bn": self.freeze_bn,
            "bn_statistics": self.bn_statistics,
            "seed": self.seed,
        }

    @classmethod
    def from_arguments(
        cls, network: SegmentationNetwork, classes: LabelSpace, arguments: dict[str, Any]
    ) -> Self:
        """The inverse of ``arguments``."""
        settings = OptimizerSettings(**arguments["optimizer"])
        return super().from_arguments(network, classes, arguments | {"optimizer": settings})
