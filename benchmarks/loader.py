"""Images per second and core of the self-training loader, against a straightforward pipeline.

    python benchmarks/loader.py [--samples 60] [--height 1024] [--width 2048] [--folder DIR]

Drawn scenes of Cityscapes' size are written as PNG with about its 2.4 MB, with a round of pseudo-labels. Then the
same requests are served in turn by

- a straightforward pipeline: PIL decodes image and donor, whole images are pasted, then flipped and cropped;
- the library's files, without a cache;
- the library's cache, raw (the default), as lossless tiles of Zstandard and as near-lossless JPEG tiles.

Before anything is timed, the tensors of all but the near-lossless one are compared with the straightforward ones. The
strong view is the same code everywhere. Time is the processor's, of one process with one thread, files being in
memory; the output is Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from PIL import Image

from hiast.classes import CITYSCAPES_19
from hiast.data.augmentation.copy_paste import HardClassAugmentation
from hiast.data.augmentation.strong import StrongAugmentation
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.geometry import Window
from hiast.data.io.cache import CachedReader, cached_path, prepare
from hiast.data.io.cached_image import JPEG_TILES, ZSTD_TILES, Tiles
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Pair
from hiast.data.loading import pseudo_labeled
from hiast.data.loading.pseudo_labeled import PseudoLabeledDataset
from hiast.data.loading.segmentation import FileReader, SegmentationDataset
from hiast.data.sample import Draw, Sample
from hiast.pseudo_labels.journal import GroupRecord, LabelRecord
from hiast.pseudo_labels.round_files import write_label
from hiast.pseudo_labels.round_writer import RoundWriter
from hiast.scenes import CAMERA, draw_scene

CLASSES = len(CITYSCAPES_19)
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
STEPS = ("image", "donor image", "labels", "paste", "crop, resize, flip", "strong view", "tensors", "rest")
TARGET_BYTES = 2_400_000


class Stopwatch:
    """Processor time by step; a step inside another one is taken off the outer."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what happens inside for a step."""
        start = time.process_time()
        self._inner.append(0.0)
        yield
        spent = time.process_time() - start
        self.seconds[name] += spent - self._inner.pop()
        self._inner[-1] += spent

    def wrap(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, counted for a step."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.step(name):
                return function(*arguments, **options)

        return timed


class TimedReader:
    """A reader whose first image of a sample counts as the image and whose second as the donor's."""

    def __init__(self, reader: Any, watch: Stopwatch) -> None:
        self.reader, self.watch, self.reads = reader, watch, 0

    def image_size(self, pair: Pair) -> tuple[int, int]:
        """Height and width."""
        with self.watch.step("image"):
            return self.reader.image_size(pair)

    @contextmanager
    def open(self, pair: Pair) -> Iterator[TimedImage]:
        """The image, open."""
        self.reads += 1
        step = "image" if self.reads % 2 else "donor image"
        with ExitStack() as stack:
            with self.watch.step(step):
                image = stack.enter_context(self.reader.open(pair))
            yield TimedImage(image, self.watch, step)


@dataclass(frozen=True)
class TimedImage:
    """An open image whose reading is timed."""

    image: Any
    watch: Stopwatch
    step: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.size

    def read(self, window: Window | None = None) -> Any:
        """The image or a window of it."""
        with self.watch.step(self.step):
            return self.image.read(window)


class Straightforward:
    """Whole images by PIL and numpy; the draws of a PseudoLabeledDataset."""

    def __init__(self, dataset: PseudoLabeledDataset, watch: Stopwatch) -> None:
        self.dataset, self.watch = dataset, watch
        self.pairs = dataset.dataset.listing.pairs
        self.labels = {
            pair.name: dataset.round_directory / "labels" / f"{pair.name}.png" for pair in self.pairs
        }
        self.hard = dataset.hard_classes()

    def read(self, index: int, step: str) -> tuple[np.ndarray, np.ndarray]:
        """A whole image and its labels at its size."""
        with self.watch.step(step):
            image = np.array(Image.open(self.pairs[index].image).convert("RGB"))
        with self.watch.step("labels"):
            stored = np.array(Image.open(self.labels[self.pairs[index].name]))
            size = image.shape[1], image.shape[0]
            return image, cv2.resize(stored, size, interpolation=cv2.INTER_NEAREST)

    def __getitem__(self, draw: Draw) -> Sample:
        generators = [np.random.default_rng([888, 1, draw.position, stream]) for stream in (1, 2, 3)]
        image, label = self.read(draw.index, "image")
        _, donor = self.hard.draw(generators[0])
        donor_image, donor_label = self.read(donor, "donor image")
        with self.watch.step("paste"):
            mask = np.isin(donor_label, self.hard.hard_classes)
            image = np.where(mask[..., None], donor_image, image)
            label = np.where(mask, donor_label, label)
        with self.watch.step("crop, resize, flip"):
            (top, left, height, width), flip = self.dataset.weak.draw(generators[1], *label.shape)
            crop = self.dataset.weak.crop
            part = np.s_[top : top + height, left : left + width]
            image = cv2.resize(image[part], (crop.width, crop.height), interpolation=cv2.INTER_LINEAR)
            label = cv2.resize(label[part], (crop.width, crop.height), interpolation=cv2.INTER_NEAREST)
            if flip:
                image, label = image[:, ::-1].copy(), label[:, ::-1].copy()
        with self.watch.step("strong view"):
            strong = self.dataset.strong(generators[2], image)
        with self.watch.step("tensors"):
            return {
                "image": torch.from_numpy(image).permute(2, 0, 1).contiguous(),
                "strong": torch.from_numpy(strong).permute(2, 0, 1).contiguous(),
                "label": torch.from_numpy(label),
                "name": self.pairs[draw.index].name,
            }


@dataclass
class Contestant:
    """A pipeline with its clock."""

    title: str
    samples: Any
    watch: Stopwatch
    bytes_per_image: float
    seconds: float = 0.0
    normalizing: float = 0.0

    def serve(self, draw: Draw) -> Sample:
        """One sample, timed, then normalized, timed apart."""
        start = time.process_time()
        sample = self.samples[draw]
        served = time.process_time()
        for key in ("image", "strong"):
            sample[key].float().div_(255).sub_(MEAN).div_(DEVIATION)
        self.seconds += served - start
        self.normalizing += time.process_time() - served
        return sample


def camera_picture(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A drawn scene with as much grain as gives a PNG of Cityscapes' size; image and labels."""
    image, labels = draw_scene(seed, size, CAMERA)
    image = cv2.GaussianBlur(image, (0, 0), 1.2).astype(np.float32)
    grain = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.7)
    low, high = 0.0, 12.0
    for _ in range(6):
        strength = (low + high) / 2
        noisy = np.clip(image + strength * grain, 0, 255).astype(np.uint8)
        length = len(cv2.imencode(".png", noisy)[1]) * 1024 * 2048 / (size[0] * size[1])
        low, high = (strength, high) if length < TARGET_BYTES else (low, strength)
    return noisy, labels


def write_data(folder: Path, count: int, size: tuple[int, int]) -> Listing:
    """Images, and a round with the drawn labels at labeling size; every fifth pixel row is not trusted."""
    label_size = size[0] * 3 // 4, size[1] * 3 // 4
    pairs = tuple(Pair(f"city/{i:03d}", folder / "data" / f"city_{i:03d}.png", None) for i in range(count))
    (folder / "data").mkdir(parents=True)
    records = []
    names = [pair.name for pair in pairs]
    identity = {"names": names, "label_size": label_size, "num_classes": CLASSES}
    with RoundWriter(folder / "round", identity) as writer:
        for index, pair in enumerate(pairs):
            image, labels = camera_picture(index, size)
            Image.fromarray(image).save(pair.image)
            labels = cv2.resize(labels, label_size[::-1], interpolation=cv2.INTER_NEAREST)
            labels[::5] = 255
            pixels = np.bincount(labels[labels != 255], minlength=CLASSES)
            digest = write_label(folder / "round", pair.name, labels)
            records.append(LabelRecord(pair.name, digest, label_size, tuple(pixels.tolist()), ()))
        # The rarer a class, the lower its confidence.
        kept = np.sum([record.pixels for record in records], 0)
        confidence = np.linspace(0.95, 0.4, CLASSES)[np.argsort(np.argsort(-kept))]
        labels = (replace(record, sums=tuple(confidence * record.pixels)) for record in records)
        writer.journal.append(GroupRecord((0.9,) * CLASSES, tuple(labels)))
        writer.finish()
    return Listing("benchmark", pairs, {index: index for index in range(CLASSES)}, CITYSCAPES_19, read_ids)


def dataset_of(folder: Path, listing: Listing, reader: Any, watch: Stopwatch) -> PseudoLabeledDataset:
    """The library's dataset with the published augmentation, its steps counted."""
    dataset = PseudoLabeledDataset(
        SegmentationDataset(listing, reader=TimedReader(reader, watch)),
        folder / "round",
        weak=WeakAugmentation(RandomSizedCrop(512, 1024, 341, 1000)),
        strong=watch.wrap(StrongAugmentation(), "strong view"),
        hard_class_augmentation=HardClassAugmentation(),
        seed=888,
        round=1,
    )
    dataset.hard_classes()
    return dataset


class TimedSteps:
    """Counts the library's functions for steps while a sample is made."""

    def __init__(self, dataset: PseudoLabeledDataset, watch: Stopwatch) -> None:
        self.dataset, self.watch = dataset, watch
        self.names = {
            "copy_where": "paste",
            "class_mask": "paste",
            "to_planes": "tensors",
        }
        dataset._label_window = watch.wrap(dataset._label_window, "labels")

    def __getitem__(self, draw: Draw) -> Sample:
        originals = {name: getattr(pseudo_labeled, name) for name in self.names}
        image, label = WeakAugmentation.image, WeakAugmentation.label
        self.dataset.dataset.reader.reads = 0
        for name, step in self.names.items():
            setattr(pseudo_labeled, name, self.watch.wrap(originals[name], step))
        WeakAugmentation.image = self.watch.wrap(image, "crop, resize, flip")
        WeakAugmentation.label = self.watch.wrap(label, "crop, resize, flip")
        try:
            with self.watch.step("rest"):
                return self.dataset[draw]
        finally:
            WeakAugmentation.image, WeakAugmentation.label = image, label
            for name, original in originals.items():
                setattr(pseudo_labeled, name, original)


def contestants(folder: Path, listing: Listing) -> list[Contestant]:
    """All pipelines on the same files."""
    png = float(np.mean([pair.image.stat().st_size for pair in listing.pairs]))
    watch = Stopwatch()
    plain = dataset_of(folder, listing, FileReader(read_ids), watch)
    field = [Contestant("straightforward", Straightforward(plain, watch), watch, png)]
    watch = Stopwatch()
    files = dataset_of(folder, listing, FileReader(read_ids), watch)
    field.append(Contestant("no cache", TimedSteps(files, watch), watch, png))
    ways: dict[str, Tiles | None] = {"raw cache": None, "zstd tiles": ZSTD_TILES, "JPEG tiles": JPEG_TILES}
    for title, tiles in ways.items():
        directory, watch = folder / title.replace(" ", "_"), Stopwatch()
        list(prepare(listing, folder / "data", directory, tiles=tiles))
        sizes = [cached_path(directory, folder / "data", p.image).stat().st_size for p in listing.pairs]
        reader = CachedReader(listing, folder / "data", directory)
        cached = dataset_of(folder, listing, reader, watch)
        field.append(Contestant(title, TimedSteps(cached, watch), watch, float(np.mean(sizes))))
    return field


def check(field: list[Contestant], draws: list[Draw]) -> dict[str, int]:
    """Largest difference of each pipeline's weak views from the straightforward ones; labels must be equal.

    Raises:
        SystemExit: A lossless pipeline gives other tensors.
    """
    largest = dict.fromkeys((one.title for one in field), 0)
    for draw in draws:
        expected = field[0].samples[draw]
        for one in field[1:]:
            sample = one.samples[draw]
            difference = int((sample["image"].int() - expected["image"].int()).abs().max())
            largest[one.title] = max(largest[one.title], difference)
            same = all(torch.equal(sample[key], expected[key]) for key in ("image", "strong"))
            if not torch.equal(sample["label"], expected["label"]) or not (same or one.title == "JPEG tiles"):
                raise SystemExit(
                    f"{one.title} gives other tensors than the straightforward pipeline for {draw}."
                )
    return largest


def table(field: list[Contestant], samples: int, largest: dict[str, int]) -> Iterator[str]:
    """Markdown lines."""
    base = field[0]
    yield "| | " + " | ".join(one.title for one in field) + " |"
    yield "|---|" + "---:|" * len(field)
    rows: dict[str, Callable[[Contestant], str]] = {
        "**images/s, uint8**": lambda one: f"**{samples / one.seconds:.1f}**",
        "times the straightforward": lambda one: f"{base.seconds / one.seconds:.1f}",
        "images/s, normalized here": lambda one: f"{samples / (one.seconds + one.normalizing):.1f}",
        "times the straightforward, normalized": lambda one: (
            f"{(base.seconds + base.normalizing) / (one.seconds + one.normalizing):.1f}"
        ),
    }
    for step in STEPS:
        rows[f"ms: {step}"] = lambda one, step=step: f"{one.watch.seconds[step] / samples * 1e3:.1f}"
    rows["ms: normalize image and strong"] = lambda one: f"{one.normalizing / samples * 1e3:.1f}"
    rows["MB on disk per image"] = lambda one: f"{one.bytes_per_image / 1e6:.2f}"
    rows["largest difference of a value"] = lambda one: str(largest[one.title])
    for title, cell in rows.items():
        yield f"| {title} | " + " | ".join(cell(one) for one in field) + " |"


def main() -> None:
    """Write the files, compare the tensors, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--folder", type=Path, help="where files are written; default: a temporary folder")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        listing = write_data(folder, options.images, (options.height, options.width))
        time.sleep(2.5)  # Files that were written just now are hashed at each read.
        field = contestants(folder, listing)
        draws = [Draw(position % options.images, position) for position in range(options.samples)]
        largest = check(field, draws[:12])
        for one in field:
            one.watch.seconds.clear()
        for draw in draws:
            for one in field:
                one.serve(draw)
        print("\n".join(table(field, len(draws), largest)))


if __name__ == "__main__":
    main()
