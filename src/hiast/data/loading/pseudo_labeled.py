"""The unlabeled target images together with the pseudo-labels of one round."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hiast.counted import counted
from hiast.data.augmentation.copy_paste import HardClassAugmentation, HardClasses, class_mask, copy_where
from hiast.data.augmentation.strong import ImageAugmentation, checked_view
from hiast.data.augmentation.weak import WeakAugmentation
from hiast.data.geometry import Window, nearest_indices, resize_image, take_grid
from hiast.data.loading.segmentation import OpenImage, to_planes
from hiast.data.random_streams import Stream
from hiast.data.sample import Draw, Sample
from hiast.errors import InputError
from hiast.pseudo_labels.round_reader import RoundReader


class Images(Protocol):
    """The part of a dataset that is read here."""

    @property
    def names(self) -> Sequence[str]:
        """Unique names of the images."""
        ...

    def __len__(self) -> int: ...

    def open_image(self, index: int) -> AbstractContextManager[OpenImage]:
        """Open an image once, for its size and for windows of its pixels."""
        ...


@dataclass(frozen=True)
class _Round:
    """What is opened of a round: its label maps and, with HPLA, its hard classes."""

    reader: RoundReader
    hard: HardClasses | None


class PseudoLabeledDataset(Dataset[Sample]):
    """Target images with pseudo-labels: HPLA, then the weak view, then its strong copy.

    A sample's random draws are functions of (seed, round, position) and of nothing else. They are made before
    any pixel is read, so only the crop's window of image and donor is read and pasted; the result is the one
    that pasting whole images and cropping gives, bit for bit.

    Args:
        dataset: The target images; their labels, if there are any, are never read.
        round_directory: Directory of a finished labeling round; it is opened at the first access in each
            process.
        weak: Crop and flip.
        strong: Color augmentation of the weak view.
        hard_class_augmentation: Parameters of HPLA; None switches it off.
        excluded: Classes that HPLA leaves alone: those that the source label space lacks.
        seed: Seed of the run.
        round: Number of the round, from 1.

    Examples:
        >>> import torch
        >>> from hiast.data import CityscapesDataModule, RandomSizedCrop, StrongAugmentation
        >>> from hiast.pseudo_labels import Argmax, generate_round
        >>> from hiast.scenes import write_cityscapes
        >>> _ = write_cityscapes("data", 2, 1, (64, 128))
        >>> target = CityscapesDataModule("data").train_dataset(labeled=False)
        >>> _ = generate_round(
        ...     directory="round", names=target.names, read_image=target.read_image, policy=Argmax(19), size=(64, 128),
        ...     predict=lambda images: (torch.ones(len(images), 64, 128), torch.zeros(len(images), 64, 128).long()),
        ... )
        >>> weak = WeakAugmentation(RandomSizedCrop(32, 64, 32, 64))
        >>> sample = PseudoLabeledDataset(target, "round", weak=weak, strong=StrongAugmentation())[0]
        >>> sorted(sample)
        ['image', 'label', 'name', 'strong']
    """

    def __init__(
        self,
        dataset: Images,
        round_directory: Path | str,
        *,
        weak: WeakAugmentation,
        strong: ImageAugmentation,
        hard_class_augmentation: HardClassAugmentation | None = None,
        excluded: Collection[int] = (),
        seed: int = 0,
        round: int = 1,
    ) -> None:
        self.dataset = dataset
        self.round_directory = Path(round_directory)
        self.weak = weak
        self.strong = strong
        self.hard_class_augmentation = hard_class_augmentation
        self.excluded = frozenset(excluded)
        self.seed = seed
        self.round = round
        self._opened: _Round | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        # Each worker opens the round for itself: no file handle and no table travels between processes.
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The sample of one request.

        Args:
            draw: Index and position; a bare index stands at the position of the same number.

        Returns:
            image (weak view) and strong, uint8 [3, h, w]; label uint8 [h, w]; name.

        Raises:
            InputError: The round does not hold labels for the dataset's images, or a file cannot be read.
        """
        index, position = draw if isinstance(draw, tuple) else (draw, draw)
        with self.dataset.open_image(index) as opened:
            size = opened.size
            window, flip = self.weak.draw(self._generator(position, Stream.PSEUDO_LABELED_CROP), *size)
            image = opened.read(window)
        label = self._label_window(index, size, size, window)
        hard = self._open().hard
        if hard is not None:
            for _, donor in self.donors(position):
                image, label = self._paste(image, label, donor, size, window, hard.hard_classes)
        image, label = self.weak.image(image, flip), self.weak.label(label, flip)
        strong = checked_view(image, self.strong(self._generator(position, Stream.STRONG_VIEW), image))
        return {
            "image": to_planes(image),
            "strong": to_planes(strong),
            "label": torch.from_numpy(label),
            "name": self.dataset.names[index],
        }

    def hard_classes(self) -> HardClasses | None:
        """The round's hard classes and donors; None without HPLA."""
        return self._open().hard

    def donors(self, position: int) -> list[tuple[int, int]]:
        """Drawn class and donor image of each paste at a position; none without HPLA or hard classes."""
        hard, parameters = self._open().hard, self.hard_class_augmentation
        if hard is None or parameters is None:
            return []
        rng = self._generator(position, Stream.PASTE_DONORS)
        drawn = [hard.draw(rng) for _ in range(parameters.donors)]
        return [each for each in drawn if each is not None]

    def class_mean_confidence(self) -> NDArray[np.float64]:
        """Mean confidence float64 [C] of the kept pixels of each class of the round; NaN for a class without any."""
        return self._open().reader.class_mean_confidence

    def _generator(self, position: int, stream: Stream) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.round, position, stream])

    def _paste(
        self,
        image: NDArray[np.uint8],
        label: NDArray[np.uint8],
        donor: int,
        size: tuple[int, int],
        window: Window,
        hard_classes: Sequence[int],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        with self.dataset.open_image(donor) as opened:
            donor_label = self._label_window(donor, opened.size, size, window)
            mask = class_mask(donor_label, hard_classes)
            if cv2.countNonZero(mask) == 0:
                return (
                    image,
                    label,
                )  # Nothing is copied into this window: the donor's pixels need not be read.
            # Bilinear weights depend on the whole image's size, so a donor of another size is resized whole.
            fits = opened.size == size
            donor_image = opened.read(window) if fits else window.of(resize_image(opened.read(), *size))
            return copy_where(mask, donor_image, image), copy_where(mask, donor_label, label)

    def _label_window(
        self, index: int, own: tuple[int, int], size: tuple[int, int], window: Window
    ) -> NDArray[np.uint8]:
        """The window of an image's labels, read back at its ``own`` size and then brought to ``size``."""
        labels = self._open().reader.label(self.dataset.names[index])
        rows, columns = (
            nearest_indices(stored, there)[nearest_indices(there, here)[start : start + length]]
            for stored, there, here, start, length in zip(
                labels.shape, own, size, window[:2], window[2:], strict=True
            )
        )
        return take_grid(labels, rows, columns)

    def _open(self) -> _Round:
        if self._opened is None:
            reader = RoundReader(self.round_directory)
            rows = {name: row for row, name in enumerate(reader.names)}
            missing = [name for name in self.dataset.names if name not in rows]
            if missing:
                raise InputError(
                    f"The round in {self.round_directory} was made from other images: it has no label for "
                    f"{counted(len(missing), 'image')} such as '{missing[0]}'. Take them away, or start another "
                    "run."
                )
            hard = None
            if self.hard_class_augmentation is not None:
                pixels = reader.image_pixels[[rows[name] for name in self.dataset.names]]
                hard = self.hard_class_augmentation.hard_classes(
                    reader.class_mean_confidence, pixels, self.dataset.names, self.excluded
                )
            self._opened = _Round(reader, hard)
        return self._opened
