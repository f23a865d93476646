"""What a round did to target images, for the report: predictions before and after, pseudo-labels, hard classes."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from hiast.callbacks.rounds import LabelRound
from hiast.callbacks.sample_images import to_batch
from hiast.callbacks.warn_on_error import warn_on_error
from hiast.classes import IGNORED
from hiast.data import AdaptationDataModule
from hiast.data.geometry import resize_image, resize_labels
from hiast.data.loading.loaders import TrainLoader
from hiast.data.loading.pseudo_labeled import PseudoLabeledDataset
from hiast.data.sample import Draw
from hiast.errors import InputError
from hiast.evaluation.pictures import fitted, jpeg, label_png, resized
from hiast.files import write_json
from hiast.pages import data_uri
from hiast.report.files import FORMAT, examples_path, hard_classes_path, read_record
from hiast.selection.samples import evenly_spaced
from hiast.training import AdaptationModule, OnlineModule
from hiast.training.prediction import evaluating

COUNTED = 10_000
"""Crops of a round whose donors are counted, from the first on."""

TRAINING_SAMPLES = 2
"""Training samples of a round that are shown."""


class RoundRecord(pl.Callback):
    """Writes ``STAGE/examples_N.json`` and, with pasted hard classes, ``STAGE/hard_classes_N.json``.

    The images are spread evenly over the target's training images and are the same in all rounds. Target labels are
    not read. All processes predict; rank zero writes.

    Args:
        directory: The run directory.
        count: Number of images; 0: none.
        labels: The pseudo-labels of the round; None in other stages.
    """

    def __init__(self, directory: Path, count: int = 4, labels: LabelRound | None = None) -> None:
        self.directory = directory
        self.count = count
        self.labels = labels

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the start of a round that begins."""
        if not isinstance(pl_module, AdaptationModule) or pl_module.batches_done:
            return
        with warn_on_error("The examples of the report"):
            images = self._images(trainer, pl_module)
            predictions = [_predicted(pl_module, image) for _, image in images]
            if trainer.is_global_zero:
                loader = _pseudo_labeled(trainer)
                if loader is not None:
                    self._write_hard_classes(loader, pl_module)
                if self.count:
                    self._write_start(pl_module, images, predictions, loader)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the end of a round before its last checkpoint is saved."""
        self._end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the end of a round without validation."""
        self._end(trainer, pl_module)

    def _end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.count or not isinstance(module, AdaptationModule) or trainer.sanity_checking:
            return
        if module.batches_done < module.batches:
            return
        with warn_on_error("The examples of the report"):
            images = self._images(trainer, module)
            predictions = [_predicted(module, image) for _, image in images]
            trusted = [_trusted(module, image) for _, image in images]
            if trainer.is_global_zero:
                self._write_end(module, [name for name, _ in images], predictions, trusted)

    def _images(self, trainer: pl.Trainer, module: AdaptationModule) -> list[tuple[str, NDArray[np.uint8]]]:
        """Names and pixels of the images, at the size at which the network sees them."""
        if not self.count:
            return []
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        dataset = data.labeling_images()
        found = []
        for index in evenly_spaced(len(dataset), self.count):
            try:
                image = dataset.read_image(index)
            except (
                InputError
            ):  # The files may change while a run is running; what trains on them will say so.
                continue
            if module.validation_size:
                image = resize_image(image, *module.validation_size)
            found.append((dataset.names[index], image))
        return found

    def _write_start(
        self,
        module: AdaptationModule,
        images: list[tuple[str, NDArray[np.uint8]]],
        predictions: list[NDArray[np.uint8]],
        loader: TrainLoader | None,
    ) -> None:
        examples = []
        for (name, image), prediction in zip(images, predictions, strict=True):
            example = {
                "name": name,
                "image": data_uri(jpeg(_small(image)), "jpeg"),
                "before": _label_uri(prediction, module),
            }
            examples.append(example | self._pseudo_label(name, module))
        samples = [] if loader is None else _training_samples(loader, module)
        path = examples_path(self.directory, module.stage, module.round_number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT, "examples": examples, "training": samples})

    def _pseudo_label(self, name: str, module: AdaptationModule) -> dict[str, Any]:
        if self.labels is None:
            return {}
        reader = self.labels.reader()
        if not reader.has(name):
            return {}
        label = reader.label(name)
        return {"label": _label_uri(label, module), "kept": _kept(label)}

    def _write_end(
        self,
        module: AdaptationModule,
        names: list[str],
        predictions: list[NDArray[np.uint8]],
        trusted: list[NDArray[np.uint8] | None],
    ) -> None:
        path = examples_path(self.directory, module.stage, module.round_number)
        record = read_record(path)
        if record is None:
            return
        examples = {example["name"]: example for example in record["examples"]}
        for name, prediction, label in zip(names, predictions, trusted, strict=True):
            if name in examples:
                examples[name]["after"] = _label_uri(prediction, module)
                if label is not None:
                    examples[name] |= {"label": _label_uri(label, module), "kept": _kept(label)}
        write_json(path, record)

    def _write_hard_classes(self, loader: TrainLoader, module: AdaptationModule) -> None:
        dataset: Any = loader.dataset
        assert isinstance(dataset, PseudoLabeledDataset)
        hard = dataset.hard_classes()
        if hard is None:
            return
        draws: Counter[int] = Counter()
        donors: dict[int, Counter[int]] = {}
        crops = min(COUNTED, len(loader) * loader.sampler.batch_size * loader.sampler.world_size)
        for position in range(crops):
            for index, donor in dataset.donors(position):
                draws[index] += 1
                donors.setdefault(index, Counter())[donor] += 1
        names, confidence = dataset.dataset.names, dataset.class_mean_confidence()
        classes = [
            {
                "class": module.classes.names[index],
                "mean_confidence": float(confidence[index]),
                "probability": float(hard.probabilities[index]),
                "images": len(hard.donors(index)),
                "draws": draws[index],
                "most_used": [[names[donor], count] for donor, count in _most(donors.get(index, Counter()))],
            }
            for index in hard.hard_classes
        ]
        path = hard_classes_path(self.directory, module.stage, module.round_number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT, "crops": crops, "classes": classes})


def _pseudo_labeled(trainer: pl.Trainer) -> TrainLoader | None:
    """The loader of target images with the pseudo-labels of a round, if this fit has one."""
    loaders: Any = trainer.train_dataloader
    loader = loaders.get("target") if isinstance(loaders, dict) else None
    found = isinstance(loader, TrainLoader) and isinstance(loader.dataset, PseudoLabeledDataset)
    return loader if found else None


def _training_samples(loader: TrainLoader, module: AdaptationModule) -> list[dict[str, Any]]:
    """The first samples of the round, as the student gets them."""
    draws = loader.sampler
    samples = []
    for position in range(min(TRAINING_SAMPLES, draws.batch_size)):
        sample: Any = loader.dataset[Draw(draws.order.index(draws.key, position), position)]
        label = sample["label"].numpy()
        weak, strong = (_small(sample[name].permute(1, 2, 0).numpy()) for name in ("image", "strong"))
        samples.append(
            {
                "name": sample["name"],
                "image": data_uri(jpeg(weak), "jpeg"),
                "strong": data_uri(jpeg(strong), "jpeg"),
                "label": _label_uri(label, module),
                "kept": _kept(label),
            }
        )
    return samples


def _predicted(module: AdaptationModule, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes uint8 [H, W] that the evaluated network predicts."""
    with torch.no_grad(), evaluating(module):
        found = module.read_out(to_batch(image, module), (image.shape[0], image.shape[1]))
    return found.labels[0].to(torch.uint8).cpu().numpy()


def _trusted(module: AdaptationModule, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The pseudo-label that online self-training would give now; None in other stages."""
    if not isinstance(module, OnlineModule):
        return None
    size = (image.shape[0], image.shape[1])
    with torch.no_grad(), evaluating(module), module.evaluating("teacher"):
        found = module.read_out(to_batch(image, module), size)
        # A copy: thresholds that move with every batch must not move by an example.
        trusted = copy.deepcopy(module.trust)(found.confidence.float(), found.labels)
    label = torch.where(trusted.weights > 0, trusted.labels.long(), IGNORED)
    return label[0].to(torch.uint8).cpu().numpy()


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return resized(np.ascontiguousarray(image), *fitted(*image.shape[:2]), smooth=True)


def _label_uri(label: NDArray[np.uint8], module: AdaptationModule) -> str:
    return data_uri(label_png(resize_labels(label, *fitted(*label.shape)), module.classes), "png")


def _kept(label: NDArray[np.uint8]) -> float:
    return float((label != IGNORED).mean())


def _most(donors: Counter[int]) -> list[tuple[int, int]]:
    """The three donors that were drawn most often; of equal counts the first image."""
    return sorted(donors.items(), key=lambda item: (-item[1], item[0]))[:3]
