"""Stage ``online``: self-training whose teacher labels every batch, with source images in each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
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
from hiast.errors import InputError
from hiast.models import SegmentationNetwork, Teacher, frozen_running_stats
from hiast.models.network import TrainingPass
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
from hiast.training.online_losses import soft_weights, source_cross_entropy, target_cross_entropy
from hiast.training.online_settings import OnlineSettings, usual_ema_decay
from hiast.training.teacher_labels import TeacherLabels, label_images
from hiast.training.views import StepKey, Views
from hiast.upsampling import Upsampling, View, read_out, sum_dtype

_PARTS = ("trust", "hard_classes", "mixing", "margins", "calibration")
"""Arguments that are ingredients."""


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
        self.settings = OnlineSettings(
            ema_decay=usual_ema_decay(self.max_steps) if ema_decay is None else ema_decay,
            teacher_bn=teacher_bn,
            teacher_mirror=teacher_mirror,
            labels=labels,
            evaluate=evaluate,
            masking_weight=masking_weight,
            class_floor=class_floor,
            floor_share=floor_share,
            source_weight=source_weight,
            source_normalization=source_normalization,
            target_weight=target_weight,
            target_ramp_steps=self.max_steps // 2 if target_ramp_steps is None else target_ramp_steps,
            joint_batch=joint_batch,
        )
        self._check_ingredients(margins, mixing)
        self.ema_decay = self.settings.ema_decay
        self.teacher = Teacher(network, self.ema_decay, average_buffers=teacher_bn == "running")
        self.trust: Trust = self._for_classes(trust) or QualityWeight()
        self.hard_classes: HPLA | None = self._for_classes(hard_classes)
        self.mixing: Mixing = mixing or ClassMix()
        self.views = views or Views()
        self.margins = margins
        self.calibration: ClassCalibration | None = self._for_classes(calibration)
        self.feature_settings = None if feature_distance is None else dict(feature_distance)
        self.feature_distance = (
            None if feature_distance is None else FeatureDistance(network, classes, **feature_distance)
        )
        self.dynamic_settings = None if dynamic_teacher is None else dict(dynamic_teacher)
        self.dynamic_teacher = None if dynamic_teacher is None else DynamicTeacher(**dynamic_teacher)
        # Labeled pixels of each class in the source; class weights and the class-ratio floor need their shares.
        self.register_buffer("source_pixels", torch.zeros(len(classes), dtype=torch.float64))

    def _check_ingredients(self, margins: object, mixing: object) -> None:
        if isinstance(margins, str) and margins != "found":
            raise InputError(
                f"{self.stage}: margins is '{margins}'; choose found, or give hiast.online.Margins."
            )
        if isinstance(mixing, HardClassPaste):
            raise InputError(
                f"{self.stage}: mixing pastes source pixels, and HardClassPaste those of hard classes of the target: "
                "set hard_classes to hiast.online.HPLA instead, and mixing to hiast.online.NoMixing for it alone."
            )

    def _for_classes(self, ingredient: Any) -> Any:
        """An ingredient that may have to be told the number of classes first."""
        return ingredient(num_classes=len(self.classes)) if isinstance(ingredient, partial) else ingredient

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch of source images with labels and target images without."""
        source, target = batch["source"], batch["target"]
        key = StepKey(self.seed, self.round_number, self.batches_done, self.global_rank)
        diversified = self.views.diversified(source["image"], target["image"], key)
        taught = self._taught(target)
        mixed, moved = self._mix(Labeled(diversified, source["label"]), taught, key)
        inputs = (
            self.normalize(self.views.source_view(source["image"], diversified, key)),
            self.normalize(self.views.colored(mixed.images, "mixed", key)),
        )
        upsampling = self.network.upsampling(*source["label"].shape[-2:])
        with FeatureTap(encoder_of(self.network)) if self.feature_distance else nullcontext() as tap:
            of_source, of_mixed = self._student(*inputs)
        ramp = self.settings.ramp(self.steps_done)
        terms = {"source_cross_entropy": self._source_loss(of_source, source["label"], upsampling)}
        terms["mixed"] = self._target_loss(of_mixed, upsampling, mixed, taught.probabilities, moved)
        total = self.settings.source_weight * terms["source_cross_entropy"]
        total = total + ramp * self.settings.target_weight * terms["mixed"]
        if tap is not None:
            terms["feature_distance"] = self._feature_loss(tap, inputs[0], source["label"])
            total = total + terms["feature_distance"]
        if self.settings.class_floor:
            terms["class_floor"] = self._floor(of_mixed.logits, mixed.pasted)
            total = total + ramp * self.settings.class_floor * terms["class_floor"]
        if self.views.masking is not None and self.settings.masking_weight:
            terms["masked"] = self._masked_loss(taught, key)
            total = total + ramp * self.settings.masking_weight * terms["masked"]
        terms["trusted"] = taught.labeled.weights.mean()  # type: ignore[union-attr]
        terms["total"] = total
        return terms

    def _taught(self, target: Sample) -> TeacherLabels:
        """Pseudo-labels of the target images; the dynamic teacher keeps the images to compare networks on them."""
        images = target["image"]
        upsampling = self.network.upsampling(images.shape[2], images.shape[3])
        valid = None
        if self.margins is not None:
            if isinstance(self.margins, str):
                raise InputError(
                    f"{self.stage}: margins=found needs the callback hiast.callbacks.FindMargins."
                )
            place = (target["window"], target["image_size"], target["flipped"])
            valid = self.margins.weights((images.shape[2], images.shape[3]), *place).gt(0)
        normalized = self.normalize(images)
        taught = label_images(self.teacher, images, normalized, upsampling, self.trust, self.settings, valid)
        if self.dynamic_teacher is not None and self.training:
            self.dynamic_teacher.keep(images, self._density(images, self.dynamic_teacher.number))
        return taught

    def _mix(self, source: Labeled, taught: TeacherLabels, key: StepKey) -> tuple[Mixed, Tensor | None]:
        """Mixed images, and bool [B,H,W], their pixels from other target images; None: there are none."""
        onto, moved = taught.labeled, None
        if self.hard_classes is not None:
            pasted = self.hard_classes(onto, taught.confidence, key.generator("donors"))
            onto, moved = pasted.labeled, pasted.pasted
        return self.mixing(source, onto, key.generator("mixing"), classes=None), moved

    def _feature_loss(self, tap: FeatureTap, images: Tensor, labels: Tensor) -> Tensor:
        """Feature distance of the source images, which the network saw as ``images``."""
        assert self.feature_distance is not None
        # Source images are the beginning of the only batch, or the second of two: ``_student``. A network that looks
        # at several scales sees the whole image first.
        passes = tap.passes if self.settings.joint_batch else tap.passes[len(tap.passes) // 2 :]
        features, seen = passes[0][: len(labels)], self.network.encoder_images(images)
        # Cells of the padding are of no class.
        distance: Tensor = self.feature_distance(features, seen, self._padded(labels, IGNORED))
        return distance

    def _source_loss(self, passed: TrainingPass, labels: Tensor, upsampling: Upsampling) -> Tensor:
        weights = None if self.calibration is None else self.calibration(labels)
        total = source_cross_entropy(passed, labels, upsampling, weights, self.settings.source_normalization)
        if self.calibration is not None:
            prediction = read_out([View(passed.logits.detach(), upsampling)]).labels
            self.calibration.update(prediction, labels)
        return total

    @property
    def needs_source_pixels(self) -> bool:
        """Whether the losses need to know how many pixels each class has in the source."""
        return bool(self.calibration or self.settings.class_floor) and not bool(self.source_pixels.any())

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
        if self.settings.joint_batch:
            passed = self.training_pass(torch.cat((source, mixed)))
            return passed.images(0, len(source)), passed.images(len(source), len(source) + len(mixed))
        # The source second: the feature distance reads its features.
        of_mixed = self.training_pass(mixed)
        return self.training_pass(source), of_mixed

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
        if probabilities is None:
            return target_cross_entropy(passed, labels, weights, upsampling)
        # The teacher's distributions are those of the images before anything was pasted.
        strange = mixed.pasted if moved is None else mixed.pasted | moved
        hard, soft = soft_weights(labels, weights, strange)
        return target_cross_entropy(passed, labels, hard, upsampling, (probabilities, soft))

    def _masked_loss(self, taught: TeacherLabels, key: StepKey) -> Tensor:
        """Consistency of masked target images with the labels of the teacher (MIC)."""
        pseudo = taught.labeled
        assert self.views.masking is not None and pseudo.weights is not None
        prepared = self.normalize(self.views.colored(pseudo.images, "masked", key))
        masked, _ = self.views.masking(prepared, key.generator("masking"))
        # No camera takes such images: they must not move the running statistics.
        with frozen_running_stats(self.network):
            passed = self.training_pass(masked)
        nothing = torch.zeros_like(pseudo.labels, dtype=torch.bool)
        unmixed = Mixed(pseudo.images, pseudo.labels, pseudo.weights, nothing)
        upsampling = self.network.upsampling(*pseudo.labels.shape[-2:])
        return self._target_loss(passed, upsampling, unmixed, taught.probabilities)

    def _floor(self, logits: Tensor, pasted: Tensor) -> Tensor:
        """Class-ratio floor of the target pixels of mixed images; ``pasted``: bool [B,H,W], pixels of the source."""
        prior = self.source_pixels / self.source_pixels.sum().clamp(min=1)
        target = self._padded((~pasted).float(), 0).unsqueeze(1)
        weights = functional.adaptive_avg_pool2d(target, (logits.shape[-2], logits.shape[-1])).squeeze(1)
        return class_ratio_floor(logits, prior, self.settings.floor_share, weights=weights)

    def _padded(self, maps: Tensor, value: int) -> Tensor:
        """Maps [B,H,W] with ``value`` around them where the network pads images."""
        height, width = maps.shape[-2:]
        rows, columns = self.network.padded_size(height, width)
        return functional.pad(maps, (0, columns - width, 0, rows - height), value=value)

    @property
    def evaluated(self) -> Literal["student", "teacher"]:
        """Which network is validated, predicts and labels."""
        return self.settings.evaluate

    @property
    def evaluation_network(self) -> nn.Module:
        """The network that is validated, predicts and labels."""
        return self.teacher.network if self.evaluated == "teacher" else self.network

    @contextmanager
    def evaluating(self, network: Literal["student", "teacher"]) -> Iterator[None]:
        """Within this context ``network`` is the one that is evaluated, also in checkpoints that are saved."""
        before = self.settings
        self.settings = replace(before, evaluate=network)
        try:
            yield
        finally:
            self.settings = before

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
            | asdict(self.settings)
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
