"""One datamodule per dataset: a thin shell over its listing, enough to train and validate on it alone."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from hiast.classes import LabelSpace
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.checks.screening import check_choices
from hiast.data.checks.skip_list import SkipList
from hiast.data.io.archives import Archives
from hiast.data.io.cache import Cache
from hiast.data.io.images import MAX_PIXELS
from hiast.data.io.listing import Listing, SizeMismatch, Split, Unreadable
from hiast.data.io.pairing import MissingLabelsError
from hiast.data.loading.augmented import AugmentedDataset
from hiast.data.loading.class_counts import count_class_pixels
from hiast.data.loading.loaders import TrainLoader, validation_loader
from hiast.data.loading.rare_classes import RareClassOrder, RareClassSampling
from hiast.data.loading.sampler import IndexOrder, PositionBatchSampler, Shuffled, StreamKey
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.data.random_streams import Stream
from hiast.data.sample import Sample
from hiast.errors import InputError

log = logging.getLogger(__name__)

_SIZES = 100
"""Most images whose sizes are read to know how large those of a dataset are, evenly spaced."""


def rank_and_world_size(module: pl.LightningDataModule) -> tuple[int, int]:
    """(rank, world size) of the module's trainer; (0, 1) without one."""
    trainer: Any = module.trainer
    return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)


def batch_size_per_rank(total: int, world_size: int) -> int:
    """Batch size of one rank.

    Raises:
        InputError: The total does not divide among the ranks.
    """
    if total < 1 or total % world_size:
        raise InputError(
            f"A batch size of {total} does not divide among {world_size} devices: change either."
        )
    return total // world_size


class DatasetDataModule(pl.LightningDataModule):
    """Base of the datamodules of one dataset: labeled training with weak augmentation, and validation.

    Args:
        data_root: Folder that the datasets lie in.
        classes: The scenario's classes; None: the dataset's own.
        class_map: The dataset's class name -> the scenario's, or None to ignore it.
        augmentation: Weak augmentation when trained on alone; None: crops to 512x1024.
        batch_size: Images per step over all devices, where the dataset is trained on alone.
        num_workers: Worker processes of a loader.
        seed: Seed of order, crops and ``val_fraction``.
        train_list: Text file that names the training images to use, one per line.
        val_list: List file of the validation images. In a dataset of one split these images leave the training set.
        val_fraction: Share that is kept for validation, in a dataset of one split.
        unreadable: "stop" or "skip", see ``SegmentationDataset``.
        size_mismatch: "error", "resize" or "skip"; None: as is usual for the dataset.
        rare_class_sampling: Settings of ``RareClassSampling`` for training images; None: all are drawn alike.
        statistics: Folder to keep the counts in that rare class sampling needs; None: count in every run (a run
            of the command line keeps them in its cache folder).
        cache: Read training images from what ``hiast-data-prepare`` has written; None: from their files.
        max_pixels: Larger images and labels are refused.
        max_images: Use only the first images of each split, to try things out; None: all.
        list_folders: Where relative paths of ``train_list`` and ``val_list`` are looked for after the current folder
            and ``data_root``, such as the folder of the dataset's YAML file.

    Attributes:
        title: Name of the dataset, for messages and lists.
        reads_only: Whether the class does nothing but read files, so that it may be built from the configuration in
            a checkpoint of unknown origin.
        validates: Whether validation images are used, where there are some; not those of labeled target images that are
            trained on beside the source.

    Raises:
        InputError: A setting is none of the choices.

    Examples:
        >>> from hiast.data import GTA5DataModule
        >>> from hiast.scenes import write_gta5
        >>> _ = write_gta5("data", 4, (64, 128))
        >>> data = GTA5DataModule("data", batch_size=2, val_fraction=0.25)
        >>> len(data.train_dataset(labeled=True)), len(data.val_dataset())
        (3, 1)
    """

    title = "dataset"
    reads_only = False
    own_classes: LabelSpace
    one_split = False
    archives: Archives | None = None

    def __init__(
        self,
        data_root: Path | str = "data",
        classes: LabelSpace | None = None,
        class_map: Mapping[str, str | None] | None = None,
        *,
        augmentation: WeakAugmentation | None = None,
        batch_size: int = 8,
        num_workers: int = 4,
        seed: int = 888,
        train_list: Path | str | None = None,
        val_list: Path | str | None = None,
        val_fraction: float = 0.0,
        unreadable: Unreadable = "stop",
        size_mismatch: SizeMismatch | None = None,
        rare_class_sampling: RareClassSampling | Mapping[str, Any] | None = None,
        statistics: Path | str | None = None,
        cache: Cache | None = None,
        max_pixels: int = MAX_PIXELS,
        max_images: int | None = None,
        list_folders: Sequence[Path | str] = (),
    ) -> None:
        super().__init__()
        # A rank has no images of its own where there are fewer images than ranks. Lightning's constructor resets this.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        check_choices(unreadable, size_mismatch)
        self.data_root = Path(data_root).expanduser()
        self.classes = classes or self.own_classes
        self.class_map = None if class_map is None else dict(class_map)
        self.augmentation = augmentation or WeakAugmentation(RandomSizedCrop())
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.train_list = train_list
        self.val_list = val_list
        self.val_fraction = val_fraction
        self.unreadable: Unreadable = unreadable
        self.size_mismatch: SizeMismatch | None = size_mismatch
        settings = rare_class_sampling
        self.rare_class_sampling = (
            RareClassSampling(**settings) if isinstance(settings, Mapping) else settings
        )
        self.statistics = None if statistics is None else Path(statistics).expanduser()
        self.cache = cache
        self.max_pixels = max_pixels
        if max_images is not None and max_images < 1:
            raise InputError(f"max_images is {max_images}: give a number of images, or null for all.")
        self.max_images = max_images
        self.list_folders = (self.data_root, *map(Path, list_folders))
        self.validates = True
        self._skip_list: tuple[SkipList, str] | None = None
        self._datasets: dict[tuple[Split, bool], SegmentationDataset] = {}

    @abstractmethod
    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split as the dataset comes; of one split: all of them."""

    @property
    def own_classes_present(self) -> frozenset[str]:
        """Names of the dataset's own classes that its labels can hold."""
        return frozenset(self.own_classes.names)

    @property
    def classes_present(self) -> frozenset[int]:
        """Class indices of the scenario that the labels can hold; no file is needed to know."""
        mapped = {(self.class_map or {}).get(name, name) for name in self.own_classes_present}
        return frozenset(i for i, name in enumerate(self.classes.names) if name in mapped)

    @property
    def has_val(self) -> bool:
        """Whether there are images for validation."""
        split = not self.one_split or self.val_list is not None or self.val_fraction > 0
        return self.validates and split

    @property
    def skips(self) -> bool:
        """Whether files are checked when a dataset is opened, and pairs may be left out."""
        return "skip" in (self.unreadable, self.size_mismatch)

    def use_skip_list(self, skip_list: SkipList, role: str) -> None:
        """Leave out what a list says, and add to it what is found to be left out of datasets that it lacks.

        Args:
            skip_list: The run's.
            role: Role of the dataset in the run, such as "source".
        """
        self._skip_list = (skip_list, role)
        self._datasets.clear()

    def __str__(self) -> str:
        """Title and folder; Lightning's text lists the files, and fails on loaders of this library."""
        return f"{type(self).__name__}(title={self.title}, data_root={self.data_root})"

    def train_dataset(self, labeled: bool = True) -> SegmentationDataset:
        """Training images at full size.

        Args:
            labeled: False: no label file is looked for or opened.

        Raises:
            InputError: Files are missing, or the labels' ids do not fit.
        """
        return self._dataset("train", labeled)

    def val_dataset(self) -> SegmentationDataset:
        """Validation images and labels at full size.

        Raises:
            InputError: There is no validation split, files are missing, or the labels' ids do not fit.
        """
        return self._dataset("val", True)

    def train_order(self) -> IndexOrder:
        """Order in which the images of ``train_dataset()`` are drawn."""
        dataset = self.train_dataset()
        if self.rare_class_sampling is None:
            return Shuffled(len(dataset))
        counts = count_class_pixels(dataset, self.statistics)
        # The median, since one image may differ from all others.
        looked_at = range(0, len(dataset), -(-len(dataset) // _SIZES))
        pixels = int(np.median([math.prod(dataset.image_size(index)) for index in looked_at]))
        plan, least = self.rare_class_sampling.plan(counts, pixels, dataset.classes.names)
        if plan.warning:
            log.warning("%s: %s", self.title, plan.warning)
        return RareClassOrder(plan, self.rare_class_sampling, least)

    def unlabeled_order(self) -> IndexOrder:
        """Order in which the images of ``train_dataset(labeled=False)`` are drawn."""
        return Shuffled(len(self.train_dataset(labeled=False)))

    def train_dataloader(self) -> TrainLoader:
        """Batches of weakly augmented images with labels; one epoch is as many whole batches as there are."""
        rank, world_size = rank_and_world_size(self)
        dataset, order = self.train_dataset(), self.train_order()
        draws = PositionBatchSampler(
            order,
            StreamKey(self.seed, 0, Stream.SINGLE_ORDER),
            batch_size=batch_size_per_rank(self.batch_size, world_size),
            steps=max(1, len(dataset) // self.batch_size),
            rank=rank,
            world_size=world_size,
        )
        augmented = AugmentedDataset(
            dataset,
            self.augmentation,
            labeled=True,
            seed=self.seed,
            stream=Stream.SINGLE_CROP,
            order=order,
        )
        return TrainLoader(augmented, draws, self.num_workers)

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """This rank's share of the validation images at full size, one by one; none if there is no split."""
        if not self.has_val:
            return []
        dataset = self.val_dataset()
        return validation_loader(dataset, len(dataset), *rank_and_world_size(self), self.num_workers)

    def _dataset(self, split: Split, labeled: bool) -> SegmentationDataset:
        if (split, labeled) not in self._datasets:
            dataset = self._screened(self.files(split, labeled=labeled), split)
            if labeled:
                dataset.check_ids()
            if self.cache is not None and split == "train":
                dataset.reader = self.cache.reader(dataset.listing, self.max_pixels)
            self._datasets[split, labeled] = dataset
        return self._datasets[split, labeled]

    def _screened(self, listing: Listing, split: Split) -> SegmentationDataset:
        """The dataset less what is skipped: what the run's list says, else what a check finds."""
        skip_list, role = self._skip_list or (None, "")
        known = skip_list.read(f"{role}/{split}") if skip_list and self.skips else None
        dataset = SegmentationDataset(
            listing,
            self.classes,
            self.class_map,
            unreadable=self.unreadable,
            size_mismatch=self.size_mismatch,
            max_pixels=self.max_pixels,
            skipped=known,
        )
        if skip_list and self.skips and known is None:
            skip_list.add(f"{role}/{split}", dataset.skipped)
        return dataset

    def files(self, split: Split, *, labeled: bool, incomplete: bool = False) -> Listing:
        """The files of a split that are used: after lists of names and the division into training and validation.

        Args:
            split: "train" or "val".
            labeled: False: no label file is looked for.
            incomplete: Images whose label is missing stay, without label.

        Raises:
            InputError: There is no such split, files are missing, or a list does not fit.
        """
        if not labeled:
            return self._first(self._choose(self.listing(split, labeled=False), split))
        try:
            return self._first(self._choose(self.listing(split, labeled=True), split))
        except MissingLabelsError as error:
            bare = self.listing(split, labeled=False)
            decode = error.decode or bare.decode
            found = replace(bare, pairs=error.pairs, orphans=error.orphans, decode=decode)
            listing = self._choose(found, split)
            if not (incomplete or listing.labeled):
                raise
            return self._first(listing)

    def _first(self, listing: Listing) -> Listing:
        return (
            listing if self.max_images is None else replace(listing, pairs=listing.pairs[: self.max_images])
        )

    def _divide(self, listing: Listing, split: Split) -> Listing:
        """One side of the division of a dataset of one split by ``val_fraction``."""
        return listing.hold_out(self.val_fraction, self.seed, split)

    def _choose(self, listing: Listing, split: Split) -> Listing:
        if self.one_split and self.val_list is not None:
            held = listing.keep(self.val_list, self.list_folders)
            listing = held if split == "val" else listing.without({pair.name for pair in held.pairs})
        elif self.one_split and self.val_fraction:
            listing = self._divide(listing, split)
        elif self.one_split and split == "val":
            raise InputError(f"{listing.name} has no validation split: set val_fraction or val_list.")
        elif self.val_list is not None and split == "val":
            listing = listing.keep(self.val_list, self.list_folders)
        return (
            listing.keep(self.train_list, self.list_folders)
            if split == "train" and self.train_list
            else listing
        )
