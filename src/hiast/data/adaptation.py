"""AdaptationDataModule: labeled source, unlabeled target and validation images of every stage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from hiast.classes import LabelSpace
from hiast.data.augmentation.copy_paste import HardClassAugmentation
from hiast.data.augmentation.strong import ImageAugmentation, NeedsReferences, checked_view
from hiast.data.augmentation.weak import WeakAugmentation
from hiast.data.checks.skip_list import SkipList
from hiast.data.datasets.base import DatasetDataModule, batch_size_per_rank, rank_and_world_size
from hiast.data.datasets.joined import JoinedDataModule, JoinedDataset
from hiast.data.loading.augmented import AugmentedDataset
from hiast.data.loading.loaders import TrainLoader, validation_loader
from hiast.data.loading.pseudo_labeled import PseudoLabeledDataset
from hiast.data.loading.sampler import IndexOrder, PositionBatchSampler, StreamKey
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.data.random_streams import Stream
from hiast.data.sample import Sample
from hiast.errors import InputError

Domain = Literal["source", "target"]

_ORDERS: dict[Domain, Stream] = {"source": Stream.SOURCE_ORDER, "target": Stream.TARGET_ORDER}
_CROPS: dict[Domain, Stream] = {"source": Stream.SOURCE_CROP, "target": Stream.TARGET_CROP}


@dataclass(frozen=True)
class Plan:
    """What the training loaders of a stage or round yield.

    Attributes:
        domains: Which loaders there are.
        batch_size: Images of each domain per step, over all devices.
        steps: Batches of the whole pass.
        round: 0 outside self-training.
        round_directory: Pseudo-labels of the target images; None: target images without labels.
        start_step: Step of the pass to start at.
    """

    domains: tuple[Domain, ...]
    batch_size: int
    steps: int
    round: int = 0
    round_directory: Path | None = None
    start_step: int = 0

    def __post_init__(self) -> None:
        if not self.domains or set(self.domains) - {"source", "target"}:
            raise InputError(f"Domains are 'source' and 'target', not {', '.join(self.domains) or 'none'}.")
        if self.steps < 1 or not 0 <= self.start_step <= self.steps:
            raise InputError(f"A pass of {self.steps} steps cannot start at step {self.start_step}.")


_TRIES = 8
"""Draws of the strong augmentation when it is tried: an operation that is drawn seldom may be the wrong one."""


class AdaptationDataModule(pl.LightningDataModule):
    """Joins a labeled source and an unlabeled target.

    ``with_plan`` gives the datamodule of a stage or round, whose ``train_dataloader`` has a loader per domain. Label
    files of the target's training images are never listed, let alone opened.

    Args:
        source: Datamodule of the source.
        target: Datamodule of the target, of the same classes.
        source_augmentation: Crop and flip of source images.
        target_augmentation: Crop and flip of target images.
        strong: Color augmentation of the strong view, needed in self-training; one that needs references gets
            the source's training images, which are listed only then.
        hard_class_augmentation: Parameters of HPLA; None: without.
        num_workers: Worker processes, over all domains.
        seed: Seed of order and augmentation.

    Raises:
        InputError: Source and target are of different classes.

    Examples:
        >>> from hiast.data import CityscapesDataModule, GTA5DataModule, RandomSizedCrop, WeakAugmentation
        >>> from hiast.scenes import write_cityscapes, write_gta5
        >>> _ = write_gta5("data", 2, (64, 128)), write_cityscapes("data", 2, 1, (64, 128))
        >>> weak = WeakAugmentation(RandomSizedCrop(32, 64, 32, 64))
        >>> data = AdaptationDataModule(
        ...     GTA5DataModule("data"), CityscapesDataModule("data"),
        ...     source_augmentation=weak, target_augmentation=weak, num_workers=0,
        ... )
        >>> data = data.with_plan(["source", "target"], batch_size=2, steps=1)
        >>> batch = next(iter(data.train_dataloader()["source"]))
        >>> batch["image"].shape, batch["label"].shape
        (torch.Size([2, 3, 32, 64]), torch.Size([2, 32, 64]))
    """

    def __init__(
        self,
        source: DatasetDataModule | JoinedDataModule,
        target: DatasetDataModule | JoinedDataModule,
        *,
        source_augmentation: WeakAugmentation,
        target_augmentation: WeakAugmentation,
        strong: ImageAugmentation | NeedsReferences | None = None,
        hard_class_augmentation: HardClassAugmentation | None = None,
        num_workers: int = 4,
        seed: int = 888,
    ) -> None:
        super().__init__()
        # A rank may have no images of its own to evaluate. Lightning's constructor resets this.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        if source.classes.names != target.classes.names:
            raise InputError(
                f"The source has the classes {', '.join(source.classes.names)} and the target "
                f"{', '.join(target.classes.names)}: give both the scenario's classes, and a class_map."
            )
        self.source = source
        self.target = target
        self.augmentation: dict[Domain, WeakAugmentation] = {
            "source": source_augmentation,
            "target": target_augmentation,
        }
        self.strong = strong
        self.hard_class_augmentation = hard_class_augmentation
        self.num_workers = num_workers
        self.seed = seed
        self.plan: Plan | None = None

    def __str__(self) -> str:
        """The source, the target and the plan, if there is one; Lightning's text fails on a loader per domain."""
        source, target = type(self.source).__name__, type(self.target).__name__
        return f"{type(self).__name__}(source={source}, target={target}, plan={self.plan})"

    @property
    def classes(self) -> LabelSpace:
        """The scenario's classes."""
        return self.target.classes

    @property
    def source_classes(self) -> frozenset[int]:
        """Indices of the classes that the source can hold."""
        return self.source.classes_present

    def use_skip_list(self, path: Path | str) -> None:
        """Keep in a file which pairs are left out of the run, and leave out those that it already names.

        So a resumed run has the images it began with, whatever was repaired or broken in between. Without
        ``unreadable`` or ``size_mismatch`` of "skip" nothing is left out and nothing is written.

        Args:
            path: JSON file, see ``SkipList``; the roles are source/train, target/train and target/val, and with
                several sources source/NAME/train.
        """
        skip_list = SkipList(Path(path))
        self.source.use_skip_list(skip_list, "source")
        self.target.use_skip_list(skip_list, "target")

    def prepare_data(self) -> None:
        """Extract frames and find out what is left out; Lightning calls this in one process per machine."""
        self.target.prepare_data()
        if self.plan is not None and (self.source.skips or self.target.skips):
            for domain in self.plan.domains:
                self._images(domain)
            if self.plan.round_directory is not None:
                self._strong_view()
            if self.target.has_val:
                self.target.val_dataset()

    def labeling_images(self) -> SegmentationDataset | JoinedDataset:
        """The target's training images without labels, which a round labels."""
        return self.target.train_dataset(labeled=False)

    def with_plan(
        self,
        domains: Sequence[Domain],
        batch_size: int,
        steps: int,
        round: int = 0,
        round_directory: Path | str | None = None,
        start_step: int = 0,
    ) -> Self:
        """A datamodule of the same images whose training loaders follow a plan; this one is left as it is.

        Args:
            domains: "source", "target" or both.
            batch_size: Images of each domain per step, over all devices.
            steps: Batches of the whole stage or round; the length of the loaders.
            round: Round of self-training, from 1; 0 in other stages.
            round_directory: Pseudo-labels of the round; it need not be complete before the first batch is
                asked for. None: target images come without labels.
            start_step: First step; the batches before are not replayed.

        Raises:
            InputError: The numbers do not make sense, or a part is missing.
        """
        if round_directory is not None and self.strong is None:
            raise InputError("Self-training needs a strong augmentation; give one to the datamodule.")
        directory = None if round_directory is None else Path(round_directory)
        planned = copy.copy(self)
        planned.plan = Plan(tuple(domains), batch_size, steps, round, directory, start_step)
        return planned

    def train_dataloader(self) -> dict[str, TrainLoader]:
        """A loader per domain of the plan, all of one length; no image is read before the first batch.

        Raises:
            InputError: This datamodule has no plan, files are missing, the batch does not divide among the devices, or
                there are fewer validation images than devices.
        """
        plan = self.plan
        if plan is None:
            raise InputError(
                "Training loaders follow a plan: ask with_plan(...) for the datamodule that has them."
            )
        _, devices = rank_and_world_size(self)
        images = len(self.target.val_dataset()) if self.target.has_val else devices
        if (
            images < devices
        ):  # Lightning validates nothing on a device without images, and the others wait for it.
            raise InputError(
                f"The target has {images} validation images, and the run {devices} devices: give at least as many "
                "images, use fewer devices, or leave the validation images out."
            )
        workers = -(-self.num_workers // len(plan.domains))
        return {domain: self._loader(domain, plan, workers) for domain in plan.domains}

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """This rank's share of the target's validation images at full size, one by one; none without any."""
        if not self.target.has_val:
            return []
        dataset = self.target.val_dataset()
        return validation_loader(dataset, len(dataset), *rank_and_world_size(self), self.num_workers)

    def _images(self, domain: Domain) -> SegmentationDataset | JoinedDataset:
        return self.source.train_dataset() if domain == "source" else self.labeling_images()

    def _strong_view(self) -> ImageAugmentation:
        assert self.strong is not None
        if isinstance(self.strong, NeedsReferences):
            return self.strong.bind(self.source.train_dataset())
        return self.strong

    def check_strong_view(self) -> None:
        """Try the strong augmentation on a crop of the first target image, so that no run stops after its first stage.

        Raises:
            InputError: There is none, or it gives something else than an image of the same type and size.
        """
        if self.strong is None:
            raise InputError("Self-training needs a strong augmentation; give one to the datamodule.")
        images, weak = self.labeling_images(), self.augmentation["target"]
        rng = np.random.default_rng(self.seed)
        window, flip = weak.draw(rng, *images.image_size(0))
        image = weak.image(images.read_image_window(0, window), flip)
        strong = self._strong_view()
        before = image.copy()
        for _ in range(_TRIES):
            checked_view(image, strong(rng, image))
            if not np.array_equal(image, before):
                raise InputError(
                    "The strong augmentation changes the image that it is given, which is the weak view: let it return "
                    "a changed copy."
                )

    def _loader(self, domain: Domain, plan: Plan, workers: int) -> TrainLoader:
        rank, world_size = rank_and_world_size(self)
        images = self._images(domain)
        order = self.source.train_order() if domain == "source" else self.target.unlabeled_order()
        draws = PositionBatchSampler(
            order,
            StreamKey(self.seed, plan.round, _ORDERS[domain]),
            batch_size=batch_size_per_rank(plan.batch_size, world_size),
            steps=plan.steps,
            rank=rank,
            world_size=world_size,
            start_step=plan.start_step,
        )
        return TrainLoader(self._dataset(domain, plan, images, order), draws, workers)

    def _dataset(
        self, domain: Domain, plan: Plan, images: SegmentationDataset | JoinedDataset, order: IndexOrder
    ) -> Dataset[Sample]:
        weak = self.augmentation[domain]
        if domain == "source" or plan.round_directory is None:
            return AugmentedDataset(
                images,
                weak,
                labeled=domain == "source",
                placed=domain == "target",
                order=order,
                seed=self.seed,
                round=plan.round,
                stream=_CROPS[domain],
            )
        return PseudoLabeledDataset(
            images,
            plan.round_directory,
            weak=weak,
            strong=self._strong_view(),
            hard_class_augmentation=self.hard_class_augmentation,
            excluded=set(range(len(self.classes))) - self.source_classes,
            seed=self.seed,
            round=plan.round,
        )
