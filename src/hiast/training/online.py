"""Stage ``online``: self-training whose teacher labels every batch, with source images in each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hiast.classes import IGNORED, LabelSpace
from hiast.data.adaptation import Domain
from hiast.data.sample import Batch, Sample
from hiast.errors import InputError, check_not_negative
from hiast.models import SegmentationNetwork, Teacher, batch_statistics, frozen_running_stats
from hiast.models.network import TrainingPass
from hiast.objectives.fused.cross_entropy import coarse_cross_entropy
from hiast.online import (
    HPLA,
    ClassCalibration,
    ClassMix,
    HardClassPaste,
    Labeled,
    Margins,
    Mixed,
    Mixing,
    QualityWeight,
    Trust,
    class_ratio_floor,
    ema_decay_at,
)
from hiast.online.processes import process_count, sum_over_processes
from hiast.selection import DynamicTeacher, batch_density
from hiast.training.features import FeatureDistance, FeatureTap, encoder_of
from hiast.training.ingredients import from_plain, to_plain
from hiast.training.module import AdaptationModule
from hiast.training.pseudo_targets import soft_cross_entropy, soft_weights
from hiast.training.scales import Cut, loss_over_scales
from hiast.training.views import StepKey, Views
from hiast.upsampling import Upsampling, View, read_out, sum_dtype

_PARTS = ("trust", "hard_classes", "mixing", "margins", "calibration")
"""Arguments that are ingredients."""
_CHOICES = {
    "teacher_bn": ("running", "batch"),
    "labels": ("hard", "soft"),
    "evaluate": ("student", "teacher"),
    "source_normalization": ("labeled", "all"),
}


class OnlineModule(AdaptationModule):
    """Online self-training: an EMA teacher labels the weak view of the target images in every step.

    total = source_weight * CE(source) + ramp * (target_weight * CE(mixed) + masking_weight * CE(masked))
    + feature distance + class_floor * class-ratio floor. CE of mixed and masked images goes to the labels of the
    teacher, weighted by ``trust``. Sources: DACS (Tranheden et al. 2021), DAFormer (Hoyer et al. 2022), MIC (Hoyer et
    al. 2023), VFM-UDA (Englert et al. 2024). ``conf/method`` holds the settings of each.

    Args:
        network: The student, see ``AdaptationModule``.
        classes: The label space of the scenario.
        ema_decay: EMA decay of the teacher, reached by the ramp min(1 - 1/(t + 1), ema_decay). None: 1 - 3 / max_steps,
            at most 0.999, so that the teacher averages over about a third of a short stage.
        teacher_bn: ``"running"``: the teacher is in eval mode and averages the running statistics of the student.
            ``"batch"``: it normalizes by the statistics of the target batch (DAFormer).
        teacher_mirror: The teacher also sees the mirrored image, and both predictions are averaged (VFM-UDA).
        labels: ``"hard"``: the class of the largest probability. ``"soft"``: the probabilities of the teacher.
        evaluate: Which network is validated, labels and is the result: ``"student"`` (published) or ``"teacher"``.
        trust: Labels and weights of the prediction of the teacher. A ``functools.partial``, here and for
            ``hard_classes`` and ``calibration``, is called with ``num_classes``.
        hard_classes: ``hiast.online.HPLA``: pastes pseudo-labeled pixels of hard classes of one target image onto
            another, before ``mixing`` pastes source pixels (``hiast.online.NoMixing``: none); None: not done.
        mixing: Pastes source pixels onto target images.
        views: Color augmentation, style transfer and masks.
        masking_weight: Weight of the masked consistency; it needs ``views.masking``.
        margins: Borders of the whole target image that give no pseudo-labels. ``"found"``: they are looked for when
            training starts, by the callback ``hiast.callbacks.FindMargins``.
        feature_distance: Settings of ``FeatureDistance`` (``weight``, ``things``, ``share``); None: not used.
        calibration: Class weights of source pixels, see ``ClassCalibration``; None: all classes weigh alike.
        dynamic_teacher: Settings of ``hiast.selection.DynamicTeacher`` (``first``, ``every``, ``most``, ``share``); the
            teacher is then updated only after the student's predictions on recent batches have become denser. An empty
            mapping takes its defaults; None: the teacher is updated after every step.
        class_floor: Weight of ``class_ratio_floor`` on the target pixels of mixed images; 0: not used.
        floor_share: Share of the class frequencies of the source that the floor asks for, 0..1.
        source_weight: Weight of the source cross-entropy.
        source_normalization: The source cross-entropy is divided by the ``"labeled"`` pixels, or by ``"all"``
            (DAFormer, MIC), so that batches with few labels weigh less.
        target_weight: Weight of the loss of mixed images.
        target_ramp_steps: Optimizer steps over which the target losses grow linearly to their weights, since labels
            of an early teacher are the worst (the ramp-up of Laine and Aila, ICLR 2017, there along a Gaussian
            curve). None: half of ``max_steps``. 0: they have their weights from the start.
        joint_batch: Source and mixed images go through the network as one batch, so that batch normalization sees
            both at once; otherwise as two.
        settings: See ``AdaptationModule``.

    Raises:
        InputError: A setting is out of range.

    Examples:
        >>> import torch
        >>> from hiast.classes import CITYSCAPES_19
        >>> from hiast.models import DeepLabV2
        >>> network = DeepLabV2(num_classes=19, layers=(1, 1, 1, 1), width=8)
        >>> module = OnlineModule(network, CITYSCAPES_19, ema_decay=None, max_steps=300)
        >>> module.ema_decay
        0.99
    """

    stage: ClassVar[str] = "online"
    domains: ClassVar[tuple[Domain, ...]] = ("source", "target")
    source_pixels: Tensor

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        *,
        ema_decay: float | None = 0.999,
        teacher_bn: Literal["running", "batch"] = "running",
        teacher_mirror: bool = False,
        labels: Literal["hard", "soft"] = "hard",
        evaluate: Literal["student", "teacher"] = "student",
        trust: Trust | partial[Trust] | None = None,
        hard_classes: HPLA | partial[HPLA] | None = None,
        mixing: Mixing | None = None,
        views: Views | None = None,
        masking_weight: float = 1.0,
        margins: Margins | Literal["found"] | None = None,
        calibration: ClassCalibration | partial[ClassCalibration] | None = None,
        feature_distance: Mapping[str, Any] | None = None,
        dynamic_teacher: Mapping[str, Any] | None = None,
        class_floor: float = 0.0,
        floor_share: float = 0.5,
        source_weight: float = 1.0,
        source_normalization: Literal["labeled", "all"] = "labeled",
        target_weight: float = 1.0,
        target_ramp_steps: int | None = 0,
        joint_batch: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(network, classes, **settings)
        if ema_decay is None:
            ema_decay = min(0.999, max(0.0, 1.0 - 3.0 / self.max_steps))
        if target_ramp_steps is None:
            target_ramp_steps = self.max_steps // 2
        numbers = {
            "ema_decay": ema_decay,
            "masking_weight": masking_weight,
            "class_floor": class_floor,
            "floor_share": floor_share,
            "source_weight": source_weight,
            "target_weight": target_weight,
            "target_ramp_steps": target_ramp_steps,
        }
        check_not_negative(self.stage, **numbers)
        choices = {
            "teacher_bn": teacher_bn,
            "labels": labels,
            "evaluate": evaluate,
            "source_normalization": source_normalization,
        }
        for name, value in choices.items():
            if value not in _CHOICES[name]:
                raise InputError(f"{self.stage}: {name} is '{value}'; choose {' or '.join(_CHOICES[name])}.")
        if isinstance(margins, str) and margins != "found":
            raise InputError(
                f"{self.stage}: margins is '{margins}'; choose found, or give hiast.online.Margins."
            )
        if max(ema_decay, floor_share) > 1:
            raise InputError(f"{self.stage}: ema_decay and floor_share must lie between 0 and 1.")
        self.plain: dict[str, Any] = (
            numbers | choices | {"teacher_mirror": teacher_mirror, "joint_batch": joint_batch}
        )
        self.ema_decay, self.teacher_bn, self.teacher_mirror = ema_decay, teacher_bn, teacher_mirror
        self.soft = labels == "soft"
        self.evaluated: Literal["student", "teacher"] = evaluate
        self.teacher = Teacher(network, ema_decay, average_buffers=teacher_bn == "running")
        if isinstance(trust, partial):
            trust = trust(num_classes=len(classes))
        self.trust: Trust = trust or QualityWeight()
        if isinstance(hard_classes, partial):
            hard_classes = hard_classes(num_classes=len(classes))
        self.hard_classes = hard_classes
        if isinstance(mixing, HardClassPaste):
            raise InputError(
                f"{self.stage}: mixing pastes source pixels, and HardClassPaste those of hard classes of the target: "
                "set hard_classes to hiast.online.HPLA instead, and mixing to hiast.online.NoMixing for it alone."
            )
        self.mixing: Mixing = mixing or ClassMix()
        self.views = views or Views()
        self.margins = margins
        self.calibration = (
            calibration(num_classes=len(classes)) if isinstance(calibration, partial) else calibration
        )
        self.masking_weight, self.class_floor, self.floor_share = masking_weight, class_floor, floor_share
        self.source_weight, self.target_weight = source_weight, target_weight
        self.source_normalization: Literal["labeled", "all"] = source_normalization
        self.target_ramp_steps, self.joint_batch = target_ramp_steps, joint_batch
        self.feature_settings = None if feature_distance is None else dict(feature_distance)
        self.feature_distance = (
            None
            if self.feature_settings is None
            else FeatureDistance(network, classes, **self.feature_settings)
        )
        self.dynamic_settings = None if dynamic_teacher is None else dict(dynamic_teacher)
        self.dynamic_teacher = None if dynamic_teacher is None else DynamicTeacher(**dynamic_teacher)
        # Labeled pixels of each class in the source; class weights and the class-ratio floor need their shares.
        self.register_buffer("source_pixels", torch.zeros(len(classes), dtype=torch.float64))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch of source images with labels and target images without."""
        source, target = batch["source"], batch["target"]
        key = StepKey(self.seed, self.round_number, self.batches_done, self.global_rank)
        diversified = self.views.diversified(source["image"], target["image"], key)
        pseudo, probabilities, confidence = self._pseudo_labels(target)
        if self.dynamic_teacher is not None and self.training:
            self.dynamic_teacher.keep(
                target["image"], self._density(target["image"], self.dynamic_teacher.number)
            )
        onto, moved = pseudo, None
        if self.hard_classes is not None:
            pasted = self.hard_classes(pseudo, confidence, key.generator("donors"))
            onto, moved = pasted.labeled, pasted.pasted
        mixed = self.mixing(
            Labeled(diversified, source["label"]), onto, key.generator("mixing"), classes=None
        )
        inputs = (
            self.normalize(self.views.source_view(source["image"], diversified, key)),
            self.normalize(self.views.colored(mixed.images, "mixed", key)),
        )
        upsampling = self.network.upsampling(*source["label"].shape[-2:])
        with FeatureTap(encoder_of(self.network)) if self.feature_distance else nullcontext() as tap:
            of_source, of_mixed = self._student(*inputs)
        ramp = self._ramp()
        terms = {"source_cross_entropy": self._source_loss(of_source, source["label"], upsampling)}
        terms["mixed"] = self._target_loss(of_mixed, upsampling, mixed, probabilities, moved)
        total = (
            self.source_weight * terms["source_cross_entropy"] + ramp * self.target_weight * terms["mixed"]
        )
        if self.feature_distance is not None and tap is not None:
            # Source images are the beginning of the only batch, or the second of two: ``_student``. A network that
            # looks at several scales sees the whole image first.
            passes = tap.passes if self.joint_batch else tap.passes[len(tap.passes) // 2 :]
            features, seen = passes[0][: len(source["label"])], self.network.encoder_images(inputs[0])
            # Cells of the padding are of no class.
            label = self._padded(source["label"], IGNORED)
            terms["feature_distance"] = self.feature_distance(features, seen, label)
            total = total + terms["feature_distance"]
        if self.class_floor:
            terms["class_floor"] = self._floor(of_mixed.logits, mixed.pasted)
            total = total + ramp * self.class_floor * terms["class_floor"]
        if self.views.masking is not None and self.masking_weight:
            terms["masked"] = self._masked_loss(target["image"], pseudo, probabilities, key)
            total = total + ramp * self.masking_weight * terms["masked"]
        terms["trusted"] = pseudo.weights.mean()  # type: ignore[union-attr]
        terms["total"] = total
        return terms

    def _source_loss(self, passed: TrainingPass, labels: Tensor, upsampling: Upsampling) -> Tensor:
        weights = None if self.calibration is None else self.calibration(labels)

        def loss(logits: Tensor, upsampling: Upsampling, cut: Cut) -> Tensor:
            value: Tensor = coarse_cross_entropy(
                logits,
                cut(labels, IGNORED),
                upsampling,
                weights=None if weights is None else cut(weights, 0),
                normalization=self.source_normalization,
            )
            return value

        total = loss_over_scales(passed, upsampling, loss)
        if self.calibration is not None:
            prediction = read_out([View(passed.logits.detach(), upsampling)]).labels
            self.calibration.update(prediction, labels)
        return total

    @property
    def needs_source_pixels(self) -> bool:
        """Whether the losses need to know how many pixels each class has in the source."""
        return bool(self.calibration or self.class_floor) and not bool(self.source_pixels.any())

    def set_source_pixels(self, pixels: Tensor) -> None:
        """Give the labeled pixels [C] of each class in the source."""
        self.source_pixels.copy_(pixels)
        if self.calibration is not None:
            self.calibration.start(self.source_pixels)

    def compile_passes(self) -> None:
        """Compile the passes of student and teacher; not the student's where its features are read by a hook."""
        if self.feature_distance is None:
            super().compile_passes()
        self.teacher.compile_coarse(self.compile_mode)

    def _student(self, source: Tensor, mixed: Tensor) -> tuple[TrainingPass, TrainingPass]:
        """What the student gives for source and mixed images."""
        if self.joint_batch:
            passed = self.training_pass(torch.cat((source, mixed)))
            return passed.images(0, len(source)), passed.images(len(source), len(source) + len(mixed))
        # The source second: the feature distance reads its features.
        of_mixed = self.training_pass(mixed)
        return self.training_pass(source), of_mixed

    @torch.no_grad()
    def _pseudo_labels(self, target: Sample) -> tuple[Labeled, Tensor | None, Tensor]:
        """Target images with weighted labels of the teacher; probabilities [B,C,H,W] for soft labels; confidence."""
        images = self.normalize(target["image"])
        size = (images.shape[2], images.shape[3])
        upsampling = self.network.upsampling(*size)
        views = [View(self._teach(images), upsampling)]
        if self.teacher_mirror:
            views.append(View(self._teach(images.flip(3)), upsampling, mirrored=True))
        found = read_out(views)
        valid = None
        if self.margins is not None:
            if isinstance(self.margins, str):
                raise InputError(
                    f"{self.stage}: margins=found needs the callback hiast.callbacks.FindMargins."
                )
            place = (target["window"], target["image_size"], target["flipped"])
            valid = self.margins.weights(size, *place).gt(0)
        confidence = found.confidence.float()
        trusted = self.trust(confidence, found.labels, valid=valid)
        probabilities = None
        if self.soft:
            maps = [view.upsampling(view.logits.float()).softmax(1) for view in views]
            probabilities = sum(
                (each.flip(3) if view.mirrored else each for each, view in zip(maps, views, strict=True)),
                torch.zeros((), device=self.device),
            ) / len(views)
        return Labeled(target["image"], trusted.labels, trusted.weights), probabilities, confidence

    def _teach(self, images: Tensor) -> Tensor:
        """Coarse logits of the teacher."""
        if self.teacher_bn == "running":
            return self.teacher.coarse(images)
        with batch_statistics(self.teacher.network):
            return self.teacher.coarse(images)

    def _target_loss(
        self,
        passed: TrainingPass,
        upsampling: Upsampling,
        mixed: Mixed,
        probabilities: Tensor | None,
        moved: Tensor | None = None,
    ) -> Tensor:
        """Loss of target images; ``moved``: bool [B,H,W], pixels that come from another target image."""
        labels, weights = mixed.labels, mixed.weights
        if self.calibration is not None:
            # Pasted source pixels weigh as they do in the source; pseudo-labels do not steer and are not weighted.
            weights = torch.where(mixed.pasted, weights * self.calibration(labels), weights)
        soft: Tensor | None = None
        if probabilities is not None:
            # The teacher's distributions are those of the images before anything was pasted.
            weights, soft = soft_weights(
                labels, weights, mixed.pasted if moved is None else mixed.pasted | moved
            )

        def loss(logits: Tensor, upsampling: Upsampling, cut: Cut) -> Tensor:
            hard: Tensor = coarse_cross_entropy(
                logits, cut(labels, IGNORED), upsampling, weights=cut(weights, 0), normalization="all"
            )
            if soft is None or probabilities is None:
                return hard
            return hard + soft_cross_entropy(upsampling(logits), cut(probabilities, 0), cut(soft, 0))

        return loss_over_scales(passed, upsampling, loss)

    def _masked_loss(
        self, images: Tensor, pseudo: Labeled, probabilities: Tensor | None, key: StepKey
    ) -> Tensor:
        """Consistency of masked target images with the labels of the teacher (MIC)."""
        assert self.views.masking is not None and pseudo.weights is not None
        prepared = self.normalize(self.views.colored(images, "masked", key))
        masked, _ = self.views.masking(prepared, key.generator("masking"))
        # No camera takes such images: they must not move the running statistics.
        with frozen_running_stats(self.network):
            passed = self.training_pass(masked)
        nothing = torch.zeros_like(pseudo.labels, dtype=torch.bool)
        unmixed = Mixed(images, pseudo.labels, pseudo.weights, nothing)
        upsampling = self.network.upsampling(images.shape[2], images.shape[3])
        return self._target_loss(passed, upsampling, unmixed, probabilities)

    def _floor(self, logits: Tensor, pasted: Tensor) -> Tensor:
        """Class-ratio floor of the target pixels of mixed images; ``pasted``: bool [B,H,W], pixels of the source."""
        prior = self.source_pixels / self.source_pixels.sum().clamp(min=1)
        target = self._padded((~pasted).float(), 0).unsqueeze(1)
        weights = functional.adaptive_avg_pool2d(target, (logits.shape[-2], logits.shape[-1])).squeeze(1)
        return class_ratio_floor(logits, prior, self.floor_share, weights=weights)

    def _padded(self, maps: Tensor, value: int) -> Tensor:
        """Maps [B,H,W] with ``value`` around them where the network pads images."""
        height, width = maps.shape[-2:]
        rows, columns = self.network.padded_size(height, width)
        return functional.pad(maps, (0, columns - width, 0, rows - height), value=value)

    @property
    def evaluation_network(self) -> nn.Module:
        """The network that is validated, predicts and labels."""
        return self.teacher.network if self.evaluated == "teacher" else self.network

    @contextmanager
    def evaluating(self, network: Literal["student", "teacher"]) -> Iterator[None]:
        """Within this context ``network`` is the one that is evaluated, also in checkpoints that are saved."""
        before, self.evaluated = self.evaluated, network
        self.plain["evaluate"] = network
        try:
            yield
        finally:
            self.evaluated = self.plain["evaluate"] = before

    def _ramp(self) -> float:
        """Factor of the target losses, 0..1, a function of the step."""
        if not self.target_ramp_steps:
            return 1.0
        return min(1.0, self.steps_done / self.target_ramp_steps)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """An optimizer step of the student, then an EMA step of the teacher, unless the dynamic teacher has to wait."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.dynamic_teacher is not None and not self.dynamic_teacher.due(self._density):
            return
        self.teacher.ema_decay = ema_decay_at(self.steps_done, self.ema_decay)
        self.teacher.update(self.network)

    @torch.no_grad()
    def _density(self, images: Tensor, number: int) -> float:
        """Soft neighborhood density of the student on target images, the mean over the processes."""
        # The batches that a checkpoint kept were read to the CPU. This is called within a step and behind it.
        images = images.to(self.device)
        with frozen_running_stats(self.network), self.trainer.precision_plugin.forward_context():
            probabilities = self.network.coarse(self.normalize(images)).float().softmax(1)
        density = torch.tensor(
            batch_density(probabilities, number, self.seed), dtype=sum_dtype(self.device), device=self.device
        )
        total = sum_over_processes(density)
        return float(total) / process_count()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also keep the batches that the dynamic teacher compares with."""
        super().on_save_checkpoint(checkpoint)
        if self.dynamic_teacher is not None:
            checkpoint["dynamic_teacher"] = self.dynamic_teacher.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also take up the batches that the dynamic teacher compares with, and the share of plain images."""
        super().on_load_checkpoint(checkpoint)
        if self.views.plain == "found":
            self.views = replace(self.views, plain=checkpoint["hiast"]["arguments"]["views"]["plain"])
        if self.dynamic_teacher is not None and "dynamic_teacher" in checkpoint:
            state = checkpoint["dynamic_teacher"]
            if process_count() > 1:  # The batches are those of rank zero, and each process compares its own.
                state = state | {"scores": [], "images": []}
            self.dynamic_teacher.load_state_dict(state)

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments as plain values."""
        parts = {name: to_plain(getattr(self, name)) for name in _PARTS}
        views = {name: to_plain(getattr(self.views, name)) for name in Views.__dataclass_fields__}
        return (
            super().arguments()
            | self.plain
            | parts
            | {
                "views": views,
                "feature_distance": self.feature_settings,
                "dynamic_teacher": self.dynamic_settings,
            }
        )

    @classmethod
    def from_arguments(
        cls, network: SegmentationNetwork, classes: LabelSpace, arguments: dict[str, Any]
    ) -> Self:
        """The inverse of ``arguments``."""
        # Checkpoints of before HPLA lack it.
        parts = {name: from_plain(arguments.get(name)) for name in _PARTS}
        views = Views(**{name: from_plain(value) for name, value in arguments["views"].items()})
        return super().from_arguments(network, classes, arguments | parts | {"views": views})
