"""Pseudo-labeled samples: crop-then-paste equals paste-then-crop; draws are seeded by position alone."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from written_rounds import write_round

from hiast.classes import CITYSCAPES_19
from hiast.data.augmentation.copy_paste import HardClassAugmentation, hard_class_paste
from hiast.data.augmentation.strong import StrongAugmentation
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.datasets import cityscapes
from hiast.data.geometry import Window, resize_labels
from hiast.data.loading.pseudo_labeled import PseudoLabeledDataset
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.data.sample import Draw
from hiast.errors import InputError
from hiast.pseudo_labels.round_reader import RoundReader

SIZES = [(60, 120), (60, 120), (47, 131), (80, 100), (60, 120)]
WEAK = WeakAugmentation(RandomSizedCrop(32, 64, 15, 60))


class Pictures:
    """Images of several sizes in memory; notes what is read."""

    def __init__(self, sizes: list[tuple[int, int]] = SIZES) -> None:
        self.names = tuple(f"city/{index}" for index in range(len(sizes)))
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        self.read: list[tuple[int, Window | None]] = []
        self.opened: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    @contextmanager
    def open_image(self, index: int) -> Iterator[SimpleNamespace]:
        self.opened.append(index)

        def read(window: Window | None = None) -> np.ndarray:
            self.read.append((index, window))
            return self.images[index] if window is None else window.of(self.images[index])

        yield SimpleNamespace(size=self.images[index].shape[:2], read=read)


def drawn_round(directory: Path, names: tuple[str, ...], size: tuple[int, int], classes: int = 19) -> Path:
    rng = np.random.default_rng(1)
    labels = {}
    for name in names:
        coarse = rng.integers(0, classes + 3, (6, 12), dtype=np.uint8)
        labels[name] = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)
        labels[name][labels[name] >= classes] = 255
    return write_round(directory, labels, rng.uniform(0.3, 0.95, classes))


@pytest.fixture(scope="module")
def round_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_round(tmp_path_factory.mktemp("round") / "1", Pictures().names, (45, 90))


def pseudo_labeled(directory: Path, images=None, **changes) -> PseudoLabeledDataset:
    options = {
        "weak": WEAK,
        "strong": StrongAugmentation(),
        "hard_class_augmentation": HardClassAugmentation(count=8),
        "seed": 5,
        "round": 2,
    }
    return PseudoLabeledDataset(images or Pictures(), directory, **(options | changes))


def whole_images(
    directory: Path, images: Pictures, draw: Draw, donors: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Paste whole images at full size, then flip and crop."""
    reader = RoundReader(directory)

    def rng(stream: int) -> np.random.Generator:
        return np.random.default_rng([5, 2, draw.position, stream])

    def labels(index: int) -> np.ndarray:
        return resize_labels(reader.label(images.names[index]), *images.images[index].shape[:2])

    hard = HardClassAugmentation(count=8).hard_classes(
        reader.class_mean_confidence, reader.image_pixels, images.names
    )
    image, label = images.images[draw.index], labels(draw.index)
    generator = rng(1)
    for _ in range(donors):
        _, donor = hard.draw(generator)
        image, label, _ = hard_class_paste(
            image, label, images.images[donor], labels(donor), hard.hard_classes
        )
    return WEAK(rng(2), image, label)


@pytest.mark.parametrize("donors", [1, 3])
def test_crop_then_paste_equals_paste_then_crop(round_directory: Path, donors: int):
    images = Pictures()
    dataset = pseudo_labeled(
        round_directory, images, hard_class_augmentation=HardClassAugmentation(count=8, donors=donors)
    )
    seen = set()
    for position in range(60):
        draw = Draw(position % len(images), position)
        sample = dataset[draw]
        image, label = whole_images(round_directory, images, draw, donors)
        np.testing.assert_array_equal(sample["image"].permute(1, 2, 0).numpy(), image)
        np.testing.assert_array_equal(sample["label"].numpy(), label)
        strong = StrongAugmentation()(np.random.default_rng([5, 2, position, 3]), image)
        np.testing.assert_array_equal(sample["strong"].permute(1, 2, 0).numpy(), strong)
        seen.update(index for index, window in images.read if window is None)
    assert seen, "no donor of another size was drawn"


def test_samples_are_uint8_tensors_of_the_crop(round_directory: Path):
    sample = pseudo_labeled(round_directory)[Draw(3, 17)]
    assert sample["name"] == "city/3"
    for key, shape in (("image", (3, 32, 64)), ("strong", (3, 32, 64)), ("label", (32, 64))):
        assert sample[key].dtype == torch.uint8
        assert tuple(sample[key].shape) == shape


def test_only_windows_are_read_where_sizes_agree(tmp_path: Path):
    images = Pictures([(60, 120)] * 4)
    dataset = pseudo_labeled(drawn_round(tmp_path / "1", images.names, (45, 90)), images)
    for position in range(10):
        images.read.clear()
        images.opened.clear()
        dataset[Draw(0, position)]
        assert images.opened[0] == 0 and len(images.opened) == 2, "the image once, and its donor once"
        windows = {window for _, window in images.read}
        assert len(windows) == 1
        assert None not in windows


def test_draws_depend_on_seed_round_and_position_only(round_directory: Path):
    first = pseudo_labeled(round_directory)
    other = pickle.loads(pickle.dumps(pseudo_labeled(round_directory)))
    draws = [Draw(index % 5, 100 + index) for index in range(12)]
    samples = {draw: first[draw] for draw in draws}
    for draw in reversed(draws):
        for key in ("image", "strong", "label"):
            assert torch.equal(other[draw][key], samples[draw][key])
    for changes in ({"seed": 6}, {"round": 3}):
        changed = pseudo_labeled(round_directory, **changes)
        assert any(not torch.equal(changed[draw]["image"], samples[draw]["image"]) for draw in draws)
    views = {first[Draw(0, position)]["image"].numpy().tobytes() for position in range(12)}
    assert len(views) == 12, "each epoch has its own crops"


def test_switching_hpla_off_leaves_crops_and_colors_as_they_were(round_directory: Path):
    images = Pictures()
    plain = pseudo_labeled(round_directory, images, hard_class_augmentation=None)
    assert plain.hard_classes() is None
    for position in range(8):
        image = images.images[position % 5]
        weak, _ = WEAK(np.random.default_rng([5, 2, position, 2]), image, image[..., 0])
        sample = plain[Draw(position % 5, position)]
        np.testing.assert_array_equal(sample["image"].permute(1, 2, 0).numpy(), weak)


def test_excluded_classes_are_not_pasted(round_directory: Path):
    hard = pseudo_labeled(round_directory, excluded={9, 14, 16}).hard_classes()
    assert not {9, 14, 16} & set(hard.hard_classes)
    assert len(hard.hard_classes) == 8


def test_the_round_is_opened_at_the_first_access_and_not_pickled(tmp_path: Path):
    dataset = pseudo_labeled(tmp_path / "later")
    assert len(dataset) == 5
    drawn_round(tmp_path / "later", Pictures().names, (45, 90))
    dataset[Draw(0, 0)]
    assert len(pickle.dumps(dataset)) < 5 * len(pickle.dumps(Pictures()))
    assert pickle.loads(pickle.dumps(dataset))._opened is None


def test_a_round_of_other_images_is_refused(tmp_path: Path):
    drawn_round(tmp_path / "1", ("else/0",), (45, 90))
    with pytest.raises(InputError, match="city/0"):
        pseudo_labeled(tmp_path / "1")[0]


def test_a_subset_of_the_rounds_images_draws_its_donors_among_itself(round_directory: Path):
    images = Pictures(SIZES[:2])
    dataset = pseudo_labeled(round_directory, images)
    for position in range(20):
        dataset[Draw(0, position)]
    assert {index for index, _ in images.read} <= {0, 1}


def collate(samples: list) -> list:
    return samples


def test_drawn_cityscapes_gives_the_same_samples_for_any_number_of_workers(drawn_data: Path, tmp_path: Path):
    target = SegmentationDataset(cityscapes.list_cityscapes(drawn_data, "train"), CITYSCAPES_19)
    directory = drawn_round(tmp_path / "1", target.names, (72, 144))
    dataset = pseudo_labeled(directory, target)
    draws = [Draw(position % len(target), position) for position in range(8)]
    batches = []
    for workers in (0, 2):
        loader = DataLoader(dataset, sampler=draws, batch_size=2, num_workers=workers, collate_fn=collate)
        batches.append([sample for batch in loader for sample in batch])
    for one, two in zip(*batches, strict=True):
        assert one["name"] == two["name"]
        for key in ("image", "strong", "label"):
            assert torch.equal(one[key], two[key])


def test_a_strong_view_of_another_size_or_type_is_refused(round_directory: Path):
    for strong in (lambda rng, image: image[:8], lambda rng, image: image.astype(np.float32)):
        with pytest.raises(InputError, match="strong augmentation gives"):
            pseudo_labeled(round_directory, strong=strong)[Draw(0, 0)]
