"""What the three stages share: network, optimiser, learning rates, validation and the contents of a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.classes import LabelSpace
from hiast.data.adaptation import Domain
from hiast.data.decode import read_image
from hiast.data.sample import Batch, Sample
from hiast.errors import InputError, RunError
from hiast.evaluation.inference import Prediction, predict_probabilities
from hiast.evaluation.metrics import Scores, SegmentationMetrics
from hiast.evaluation.signals import mean_entropy
from hiast.models import SegmentationNetwork, freeze_batch_norm, frozen_running_stats, synchronize_batch_norm
from hiast.models.batch_norm import BatchNormMode
from hiast.models.normalise import normalise
from hiast.training.checkpoint import FORMAT, network_from, read_checkpoint
from hiast.training.optim import OptimiserSettings, set_rates

Statistics = Literal["moving", "target"]


class NonFiniteLossError(RunError):
    """A loss became NaN or infinite; the message says where, which term, and what to try."""


class AdaptationModule(pl.LightningModule, ABC):
    """Base of the stages. A stage says which domains it reads and how a batch becomes losses.

    Args:
        network: Segmentation network: normalised images [B, 3, H, W] -> logits [B, C, H, W], with ``mean``, ``std``,
            ``encoder_parameters()`` and ``head_parameters()``.
        classes: The scenario's label space; its length is C.
        optimiser: How the network learns.
        steps: Optimiser steps of the stage (of one round in self-training), at least 1.
        accumulate: Batches per optimiser step.
        round_number: Which round this is, from 1.
        validation_size: (height, width) to which images are resized for validation and prediction; None keeps
            theirs.
        batch_norm: ``"none"``, ``"affine"`` (published from the warm-up on: weight and bias do not learn, statistics
            still move) or ``"full"`` (statistics stand still too).
        statistics: Which statistics of batch normalisation a network is evaluated, labels and is saved with:
            ``"moving"`` (published), averages that move with every image that the stage trains on; or ``"target"``,
            those of target images, estimated anew for the weights at hand where they are needed, while in training
            each domain is normalised by its own batches.
        seed: Decides every random draw inside the network (dropout), as a function of stage, round and batch.

    Attributes:
        scores: Of the last validation; None before the first.
        inference: Options of ``probabilities`` in validation: ``sizes``, ``flip``, ``window``.
        run_config: Plain values of the run's configuration, carried in checkpoints.
    """

    stage: ClassVar[str]
    domains: ClassVar[tuple[Domain, ...]]

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        *,
        optimiser: OptimiserSettings | None = None,
        steps: int = 1000,
        accumulate: int = 1,
        round_number: int = 1,
        validation_size: tuple[int, int] | None = None,
        batch_norm: BatchNormMode = "none",
        statistics: Statistics = "moving",
        seed: int = 888,
    ) -> None:
        super().__init__()
        if steps < 1 or accumulate < 1:
            raise InputError(
                f"{self.stage}: steps ({steps}) and accumulate ({accumulate}) must be at least 1."
            )
        if statistics not in get_args(Statistics):
            raise InputError(f"{self.stage}: statistics is '{statistics}': choose moving or target.")
        # Convolutions run faster this way, on tensor cores and on CPUs; results stay the same kind of tensors.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classes = classes
        self.optimiser = optimiser or OptimiserSettings()
        self.steps = steps
        self.accumulate = accumulate
        self.round_number = round_number
        self.validation_size = None if validation_size is None else (validation_size[0], validation_size[1])
        self.batch_norm = batch_norm
        self.statistics = statistics
        self.seed = seed
        self.metrics = SegmentationMetrics(classes)
        self.scores: Scores | None = None
        self.run_config: dict[str, Any] = {}
        self.inference: dict[str, Any] = {}
        self._entropies: list[Tensor] = []
        self._batches_before = 0
        self._buffers_before: list[Tensor] = []
        freeze_batch_norm(network, batch_norm)

    # -- progress -----------------------------------------------------------------------------------------------

    @property
    def batches_done(self) -> int:
        """Batches of this round that have gone through an optimiser, over all runs of the program."""
        if self._trainer is None:
            return self._batches_before
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return self._batches_before + int(progress.processed)

    @property
    def steps_done(self) -> int:
        """Optimiser steps of this round that are done."""
        return self.batches_done // self.accumulate

    @property
    def batches(self) -> int:
        """Batches of this round."""
        return self.steps * self.accumulate

    # -- training -----------------------------------------------------------------------------------------------

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms of a batch; ``total`` is what is minimised."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C, H, W] of uint8 images [B, 3, H, W]."""
        return self.network(self.prepare(images))  # type: ignore[no-any-return]

    def prepare(self, images: Tensor) -> Tensor:
        """Normalised float images of uint8 images [B, 3, H, W], as the network wants them."""
        return normalise(images, self.network.mean, self.network.std)  # type: ignore[arg-type]

    def setup(self, stage: str) -> None:
        """Let batch normalisation span all devices (method section 7); torch has that on accelerators only."""
        if stage == "fit" and self.trainer.world_size > 1 and self.trainer.strategy.root_device.type != "cpu":
            synchronize_batch_norm(self.network)

    def on_fit_start(self) -> None:
        """Have Lightning accumulate what the stage's settings say; by hand is another matter, see the warm-up."""
        if self.automatic_optimization:
            self.trainer.accumulate_grad_batches = self.accumulate

    def configure_optimizers(self) -> Any:
        """A fresh optimiser; learning rates are set batch by batch, so that there is no scheduler to restore."""
        return self.optimiser.build(self.network)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set what depends on the position alone: learning rates and the seed of the network's own draws."""
        self.set_learning_rates()
        key = [self.seed, *self.stage.encode(), self.round_number, self.batches_done, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        if self.batches_done % self.accumulate == 0:
            self._buffers_before = [buffer.clone() for buffer in self.network.buffers()]

    def forget_unfinished_step(self) -> None:
        """Undo what a step that did not reach the weights has changed: batch-norm statistics, count of batches."""
        with torch.no_grad():
            for buffer, before in zip(self.network.buffers(), self._buffers_before, strict=True):
                buffer.copy_(before)
        self._batches_before -= self.batches_done % self.accumulate

    def set_learning_rates(self) -> None:
        """Give every optimiser its rate for the coming step."""
        for optimizer in self.trainer.optimizers:
            set_rates(optimizer, self.optimiser.schedule, self.steps_done, self.steps)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Losses of a batch, checked and logged."""
        with self.training_statistics():
            terms = self.losses(batch)
        self.check_and_log(terms)
        return {"loss": terms["total"], **{name: term.detach() for name, term in terms.items()}}

    def training_statistics(self) -> AbstractContextManager[None]:
        """Around a batch's losses: statistics that are estimated on the target must not be moved by training."""
        return frozen_running_stats(self.network) if self.statistics == "target" else nullcontext()

    def check_and_log(self, terms: dict[str, Tensor]) -> None:
        """Stop at a loss that is not finite, in all processes and before it reaches the weights; log the terms.

        Raises:
            NonFiniteLossError: A term is NaN or infinite, here or in another process.
        """
        values = torch.stack([term.detach().float() for term in terms.values()])
        bad = here = not bool(torch.isfinite(values).all())
        if self.trainer.world_size > 1:
            bad = self.trainer.strategy.reduce_boolean_decision(here, all=False)
        if bad:
            pairs = zip(terms, values, strict=True)
            shown = ", ".join(f"{name}={float(v):g}" for name, v in pairs) if here else "see another process"
            kept = (
                "The state before this step is kept in last.ckpt: try a smaller learning rate or "
                "trainer.precision=32-true in a new run that starts with init_from=last.ckpt"
                if self.steps_done
                else "It is the first step: try a smaller learning rate or trainer.precision=32-true in a new run"
            )
            raise NonFiniteLossError(
                f"The loss is not finite in stage {self.stage}, round {self.round_number}, step {self.steps_done}: "
                f"{shown}. {kept}, and look at the images."
            )
        self.log_dict({f"{self.stage}/{name}": term.detach() for name, term in terms.items()}, batch_size=1)

    # -- validation and prediction ------------------------------------------------------------------------------

    def probabilities(self, images: Tensor, output_size: tuple[int, int], **options: Any) -> Tensor:
        """Class probabilities float32 [B, C, *output_size] of uint8 images [B, 3, H, W] (method section 10)."""
        sizes = options.pop("sizes", None) or ([self.validation_size] if self.validation_size else None)
        return predict_probabilities(
            self.network,
            images,
            mean=self.network.mean,  # type: ignore[arg-type]
            std=self.network.std,  # type: ignore[arg-type]
            sizes=sizes,
            output_size=output_size,
            **options,
        )

    def validation_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Count one batch of labelled target images; returns the predicted labels."""
        label = batch["label"]
        probabilities = self.probabilities(
            batch["image"], (label.shape[-2], label.shape[-1]), **self.inference
        )
        prediction = probabilities.argmax(1)
        self.metrics.update(prediction, label)
        self._entropies.append(mean_entropy(probabilities).reshape(1))
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Scores of the whole set, over all processes, and the label-free mean entropy."""
        self.scores = self.metrics.compute()
        self.metrics.reset()
        entropy = torch.cat(self._entropies).sum() if self._entropies else torch.zeros((), device=self.device)
        count = torch.tensor(float(len(self._entropies)), device=self.device)
        self._entropies.clear()
        sums: Any = self.all_gather(torch.stack([entropy, count]))
        total = sums.reshape(-1, 2).sum(0)
        self.log("val/entropy", total[0] / total[1])
        self.log_dict({f"val/{title}": value for title, value in self.scores.means.items()})

    @torch.inference_mode()
    def predict(self, image: NDArray[np.uint8] | str | Path, **options: Any) -> Prediction:
        """Labels and confidence of one image, at its own size.

        Args:
            image: uint8 [H, W, 3] RGB array, or the path of an image file.
            options: ``sizes`` (sequence of (height, width)), ``flip`` (bool) and ``window`` as in
                ``hiast.evaluation.predict_probabilities``.

        Returns:
            ``Prediction(labels uint8 [H, W], confidence float32 [H, W])``.

        Raises:
            InputError: The array has another shape or dtype, or the file cannot be read.
        """
        array = read_image(Path(image)) if isinstance(image, str | Path) else image
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise InputError(f"predict needs a uint8 array [H, W, 3], not {array.dtype} {list(array.shape)}.")
        was_training = self.training
        self.eval()
        images = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None].to(self.device)
        probabilities = self.probabilities(images, (array.shape[0], array.shape[1]), **options)
        self.train(was_training)
        confidence, labels = probabilities[0].max(0)
        return Prediction(labels.to(torch.uint8).cpu().numpy(), confidence.float().cpu().numpy())

    # -- checkpoints --------------------------------------------------------------------------------------------

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values, stored in checkpoints."""
        return {
            "optimiser": self.optimiser.to_dict(),
            "steps": self.steps,
            "accumulate": self.accumulate,
            "round_number": self.round_number,
            "validation_size": None if self.validation_size is None else list(self.validation_size),
            "batch_norm": self.batch_norm,
            "statistics": self.statistics,
            "seed": self.seed,
        }

    @classmethod
    def from_arguments(
        cls, network: SegmentationNetwork, classes: LabelSpace, arguments: dict[str, Any]
    ) -> Self:
        """The inverse of ``arguments``."""
        values = dict(arguments)
        values["optimiser"] = OptimiserSettings(**values["optimiser"])
        return cls(network, classes, **values)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the module, as plain values, and leave Lightning's loop counters out.

        A run goes on from (stage, round, batches_done) alone, in a fresh loop over a loader that starts there.
        """
        checkpoint.pop("loops", None)
        # Lightning counts these from where the program was started last.
        checkpoint.update(epoch=0, global_step=self.steps_done)
        checkpoint["hiast"] = {
            "format": FORMAT,
            "stage": self.stage,
            "round": self.round_number,
            "batches_done": self.batches_done,
            "arguments": self.arguments(),
            "classes": self.classes.to_dict(),
            "network": getattr(self.network, "recipe", None),
            "config": self.run_config,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on behind the last batch of the checkpoint."""
        self._batches_before = int(checkpoint["hiast"]["batches_done"])

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device = "cpu",
        network: SegmentationNetwork | None = None,
    ) -> Self:
        """Rebuild a module from a checkpoint of its own stage; nothing but tensors and plain values is loaded.

        Args:
            checkpoint_path: A ``last.ckpt`` or ``best.ckpt``.
            map_location: Device for the weights.
            network: The network, if it is of a class of your own; otherwise it is rebuilt from the checkpoint.

        Raises:
            InputError: No such file, not a checkpoint of this library, one of another stage, or a network that does
                not fit it.
        """
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        about = checkpoint["hiast"]
        if about["stage"] != cls.stage:
            raise InputError(
                f"{checkpoint_path} is a checkpoint of stage {about['stage']}, not of {cls.stage}: use "
                "hiast.training.load_module, which takes any stage."
            )
        built = network if network is not None else network_from(checkpoint, checkpoint_path)
        try:
            module = cls.from_arguments(built, LabelSpace(**about["classes"]), about["arguments"])
            module.load_state_dict(checkpoint["state_dict"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{checkpoint_path} does not fit {cls.__name__} with its network: {reason}"
            ) from error
        module.on_load_checkpoint(checkpoint)
        module.run_config = about["config"]
        return module.to(map_location).eval()
