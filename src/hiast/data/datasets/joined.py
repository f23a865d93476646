"""Several datasets as one source or target, each drawn with a weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from hiast.classes import LabelSpace
from hiast.data.checks.skip_list import SkipList
from hiast.data.datasets.base import DatasetDataModule, rank_and_world_size
from hiast.data.geometry import Window
from hiast.data.loading.loaders import validation_loader
from hiast.data.loading.sampler import IndexOrder, Shuffled, Weighted, check_weights
from hiast.data.loading.segmentation import OpenImage, SegmentationDataset
from hiast.data.sample import Sample
from hiast.errors import InputError


class JoinedDataset(Dataset[Sample]):
    """Datasets of the same classes, one after the other; reads as one ``SegmentationDataset``.

    Args:
        datasets: One dataset or more.

    Attributes:
        names: Names of the images, each with its dataset's name and "/" in front.
        classes: The classes of all.
        classes_present: Class indices that the labels of any can hold.

    Raises:
        InputError: Classes or names do not fit together.
    """

    def __init__(self, datasets: Sequence[SegmentationDataset]) -> None:
        _check_classes([dataset.classes for dataset in datasets])
        self.datasets = tuple(datasets)
        self.classes = datasets[0].classes
        self.classes_present = frozenset[int]().union(*(dataset.classes_present for dataset in datasets))
        self.names = tuple(f"{dataset.listing.name}/{name}" for dataset in datasets for name in dataset.names)
        if len(set(self.names)) != len(self.names):
            raise InputError("Datasets that are joined need names of their own; set name.")
        self._starts = np.cumsum([0, *(len(dataset) for dataset in datasets)]).tolist()

    @property
    def labeled(self) -> bool:
        """Whether every image has a label."""
        return all(dataset.labeled for dataset in self.datasets)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The image at full size, with its label where there is one."""
        dataset, inner = self._find(index)
        return {**dataset[inner], "name": self.names[index]}

    def open_image(self, index: int) -> AbstractContextManager[OpenImage]:
        """Open an image once, for its size and for windows of its pixels."""
        dataset, inner = self._find(index)
        return dataset.open_image(inner)

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels."""
        dataset, inner = self._find(index)
        return dataset.image_size(inner)

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """The image, uint8 [H, W, 3], RGB."""
        dataset, inner = self._find(index)
        return dataset.read_image(inner)

    def read_image_window(self, index: int, window: Window) -> NDArray[np.uint8]:
        """A window of the image, uint8 [h, w, 3], RGB."""
        dataset, inner = self._find(index)
        return dataset.read_image_window(inner, window)

    def read_label(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Classes of the scenario, uint8 [H, W], 255 = ignored; ``size`` is that of the image, where it is known."""
        dataset, inner = self._find(index)
        return dataset.read_label(inner, size)

    def _find(self, index: int) -> tuple[SegmentationDataset, int]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} images.")
        source = bisect_right(self._starts, index) - 1
        return self.datasets[source], index - self._starts[source]


def _check_classes(spaces: Sequence[LabelSpace]) -> None:
    if len({space.names for space in spaces}) != 1:
        raise InputError(
            "Datasets that are joined have to be of the same classes; set classes and class_map."
        )


class JoinedDataModule(pl.LightningDataModule):
    """Several datasets as one source, or as one target.

    Args:
        modules: Their datamodules, all of the same classes; or functions that make them (in a configuration:
            ``_partial_: true``), which are given the options.
        weights: How often each is drawn; None: by its number of images.
        num_workers: Worker processes of ``val_dataloader``.
        **options: Such as ``classes``, ``unreadable`` and ``cache``, for the functions.

    Raises:
        InputError: Classes or weights do not fit together, or two datasets have one title.

    Examples:
        >>> from hiast.data import GTA5DataModule, SYNTHIADataModule
        >>> source = JoinedDataModule([GTA5DataModule("data"), SYNTHIADataModule("data")], weights=[3, 1])
        >>> [module.title for module in source.modules]
        ['GTA5', 'SYNTHIA']
    """

    def __init__(
        self,
        modules: Sequence[DatasetDataModule | Callable[..., DatasetDataModule]],
        weights: Sequence[float] | None = None,
        num_workers: int = 4,
        **options: Any,
    ) -> None:
        super().__init__()
        # A rank has no images of its own where there are fewer images than ranks.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.modules = tuple(
            module if isinstance(module, DatasetDataModule) else module(**options) for module in modules
        )
        if not self.modules:
            raise InputError("Joined data needs at least one dataset in modules.")
        if weights is not None:
            check_weights(weights, len(self.modules))
        _check_classes([module.classes for module in self.modules])
        titles = [module.title for module in self.modules]
        for title in titles:
            if titles.count(title) > 1:
                raise InputError(
                    f"Two of the joined datasets are called '{title}': give one another name, as "
                    "hiast.data.FolderDataModule takes it."
                )
        self.weights = weights
        self.num_workers = num_workers
        self._datasets: dict[bool, JoinedDataset] = {}

    def __str__(self) -> str:
        """The datasets; Lightning's text lists the files of all."""
        return f"{type(self).__name__}({', '.join(map(str, self.modules))})"

    @property
    def classes(self) -> LabelSpace:
        """The classes of all."""
        return self.modules[0].classes

    @property
    def classes_present(self) -> frozenset[int]:
        """Class indices that the labels of any can hold."""
        return frozenset[int]().union(*(module.classes_present for module in self.modules))

    @property
    def skips(self) -> bool:
        """Whether pairs of any may be left out."""
        return any(module.skips for module in self.modules)

    def use_skip_list(self, skip_list: SkipList, role: str) -> None:
        """As ``DatasetDataModule.use_skip_list``, for each of them, with its title added to the role."""
        for module in self.modules:
            module.use_skip_list(skip_list, f"{role}/{module.title}")
        self._datasets.clear()

    def prepare_data(self) -> None:
        """As that of each of them."""
        for module in self.modules:
            module.prepare_data()

    def train_dataset(self, labeled: bool = True) -> JoinedDataset:
        """The training images of all, at full size.

        Args:
            labeled: False: no label file is looked for or opened.
        """
        if labeled not in self._datasets:
            parts = [module.train_dataset(labeled) for module in self.modules]
            self._datasets[labeled] = JoinedDataset(parts)
        return self._datasets[labeled]

    @property
    def has_val(self) -> bool:
        """Whether any has labeled images for validation."""
        return any(module.has_val for module in self.modules)

    def val_dataset(self) -> JoinedDataset:
        """The labeled validation images of all that have some, at full size."""
        return JoinedDataset([module.val_dataset() for module in self.modules if module.has_val])

    def train_order(self) -> Weighted:
        """Order in which the images of ``train_dataset()`` are drawn."""
        sizes = [len(dataset) for dataset in self.train_dataset().datasets]
        return Weighted([module.train_order() for module in self.modules], sizes, self.weights or sizes)

    def unlabeled_order(self) -> IndexOrder:
        """Order in which the images of ``train_dataset(labeled=False)`` are drawn."""
        sizes = [len(dataset) for dataset in self.train_dataset(labeled=False).datasets]
        if self.weights is None:
            return Shuffled(sum(sizes))
        return Weighted([Shuffled(size) for size in sizes], sizes, self.weights)

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """This rank's share of the validation images at full size, one by one; none if there is no split."""
        if not self.has_val:
            return []
        dataset = self.val_dataset()
        return validation_loader(dataset, len(dataset), *rank_and_world_size(self), self.num_workers)
