"""EnsV: agreement of each candidate with the average of all, from small quantized predictions on disk."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.selection.agreement import PairScores, pair_matrix, pair_scores

Quantized = NDArray[np.uint8]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ABOUT = "network.json"


def quantize(probabilities: Tensor, shrink: int) -> Quantized:
    """Small predictions of one image, in a byte per class and pixel.

    Args:
        probabilities: float [C, H, W].
        shrink: Each pixel of the result is the mean over about ``shrink`` x ``shrink`` pixels.

    Returns:
        uint8 [C, ceil(H / shrink), ceil(W / shrink)], 255 = 1. A probability that is not finite counts as 0, so that
        such a pixel has no say in an ensemble.
    """
    height, width = (-(-side // shrink) for side in probabilities.shape[-2:])
    single = torch.nan_to_num(probabilities.detach().float(), nan=0.0, posinf=0.0, neginf=0.0)
    small = functional.adaptive_avg_pool2d(single[None], (height, width))[0]
    return small.mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


class PredictionStore:
    """Predictions of candidates on a fixed sample of target images, one file per candidate and image.

    Files are written whole and keep until their candidate's network changes, so that a run that resumes reads what is
    there. ``FOLDER/CANDIDATE/000012.npz`` holds uint8 [C, h, w] of image 12; with 19 classes and an image of
    512 x 1024, that is 622 kB before compression at a quarter of the size.

    Args:
        folder: Folder of the files.
        num_classes: C.
        shrink: How much smaller than the predictions the stored ones are; 1 for coarse logits.
    """

    def __init__(self, folder: Path | str, num_classes: int, shrink: int = 4) -> None:
        self.folder = Path(folder)
        self.num_classes = num_classes
        self.shrink = shrink

    def begin(self, candidate: str, network: str) -> None:
        """Prepare the folder of a candidate; predictions of another network under the same name are removed.

        Call it in one process before any process writes.

        Args:
            candidate: Its name.
            network: Identifies its weights, such as their hash.

        Raises:
            InputError: The name does not serve as the name of a folder.
        """
        folder = self._folder(candidate)
        about = {"network": network, "num_classes": self.num_classes, "shrink": self.shrink}
        path = folder / _ABOUT
        if path.is_file() and path.read_bytes() == _to_json(about):
            return
        # What says whose predictions these are goes first, so that no half-removed set passes for a whole one.
        path.unlink(missing_ok=True)
        for file in folder.glob("*.npz"):
            file.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _to_json(about))

    def has(self, candidate: str, index: int) -> bool:
        """Whether the prediction of an image is there."""
        return self._file(candidate, index).is_file()

    def indices(self, candidate: str) -> list[int]:
        """Indices of the images whose predictions are there, ascending."""
        return sorted(int(path.stem) for path in self._folder(candidate).glob("*.npz"))

    def write(self, candidate: str, index: int, probabilities: Tensor) -> None:
        """Store the prediction of one image, unless it is there.

        Args:
            candidate: Its name; ``begin`` was called.
            index: Index of the image in the set.
            probabilities: float [C, H, W].

        Raises:
            ValueError: There are more or fewer classes.
        """
        if probabilities.ndim != 3 or probabilities.shape[0] != self.num_classes:
            raise ValueError(
                f"The store holds predictions [{self.num_classes}, H, W], not {list(probabilities.shape)}."
            )
        if not self.has(candidate, index):
            small = quantize(probabilities, self.shrink)
            write_atomically(
                self._file(candidate, index), lambda file: np.savez_compressed(file, probabilities=small)
            )

    def read(self, candidate: str, index: int) -> Quantized:
        """Prediction uint8 [C, h, w] of one image.

        Raises:
            InputError: The file is missing or damaged.
        """
        path = self._file(candidate, index)
        try:
            with np.load(path, allow_pickle=False) as archive:
                values: Quantized = archive["probabilities"]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"{path} is missing or damaged: remove the folder {path.parent} and run again, so that its "
                "predictions are made anew."
            ) from error
        if values.dtype != np.uint8 or values.ndim != 3 or len(values) != self.num_classes:
            raise InputError(
                f"{path} holds {values.dtype} {list(values.shape)} instead of uint8 [{self.num_classes}, h, w]: "
                f"remove the folder {path.parent} and run again."
            )
        return values

    def _folder(self, candidate: str) -> Path:
        if not _NAME.fullmatch(candidate):
            raise InputError(
                f"'{candidate}' is not a valid name of a candidate: use letters, digits, '_', '-' and '.' only."
            )
        return self.folder / candidate

    def _file(self, candidate: str, index: int) -> Path:
        return self._folder(candidate) / f"{index:06d}.npz"


def ensemble_agreement(
    store: PredictionStore, candidates: Sequence[str], weights: Mapping[str, int] | None = None
) -> dict[str, PairScores]:
    """Agreement of each candidate with the average of the predictions of all (EnsV).

    ``e = argmax_k sum_i w_i p_i,k``, and the score of candidate i is the share of pixels where ``argmax_k p_i,k = e``
    (published), or the mIoU between both. The predictions of one image at a time are in memory. Sums are in whole
    numbers, so the order of the candidates makes no difference; equal sums go to the class with the lower index.

    The ensemble sides with the majority: many looks at one run outvote a single other candidate, hence the weights.

    Source: Hu et al., "Towards Reliable Model Selection for Unsupervised Domain Adaptation: An Empirical Study and A
    Certified Baseline", NeurIPS 2024 Datasets and Benchmarks; code LHXXHB/EnsV.

    Args:
        store: Holds predictions of the same images for all candidates.
        candidates: Their names.
        weights: Name -> weight of its vote, a whole number; 1 for names that are not there.

    Returns:
        Name -> agreement, in the order of ``candidates``; first prediction = ensemble.

    Raises:
        InputError: The candidates do not have predictions of the same images and sizes, or a file is damaged.
    """
    matrices = {name: np.zeros((store.num_classes, store.num_classes), np.int64) for name in candidates}
    votes = weights or {}
    for index in _common_indices(store, candidates):
        predictions = {name: store.read(name, index) for name in candidates}
        _check_sizes(predictions, index)
        total = np.zeros(next(iter(predictions.values())).shape, np.int64)
        for name, prediction in predictions.items():
            total += prediction.astype(np.int64) * votes.get(name, 1)
        ensemble = total.argmax(0)
        for name, prediction in predictions.items():
            matrices[name] += pair_matrix(ensemble, prediction.argmax(0), store.num_classes)
    return {name: pair_scores(matrix) for name, matrix in matrices.items()}


def compare(store: PredictionStore, first: str, second: str) -> PairScores:
    """Agreement of two candidates on the stored images, for example of a round and the one before.

    Raises:
        InputError: They do not have predictions of the same images and sizes, or a file is damaged.
    """
    matrix = np.zeros((store.num_classes, store.num_classes), np.int64)
    for index in _common_indices(store, [first, second]):
        predictions = {"a": store.read(first, index), "b": store.read(second, index)}
        _check_sizes(predictions, index)
        matrix += pair_matrix(predictions["a"].argmax(0), predictions["b"].argmax(0), store.num_classes)
    return pair_scores(matrix)


def _common_indices(store: PredictionStore, candidates: Sequence[str]) -> list[int]:
    indices = {name: store.indices(name) for name in candidates}
    for name, found in indices.items():
        if found != indices[candidates[0]]:
            raise InputError(
                f"{store.folder} holds predictions of {len(found)} images for {name} and of "
                f"{len(indices[candidates[0]])} for {candidates[0]}, or of others: remove the folders of both and "
                "run again, so that they are made anew."
            )
    return indices[candidates[0]] if candidates else []


def _check_sizes(predictions: Mapping[str, Quantized], index: int) -> None:
    sizes = {name: prediction.shape for name, prediction in predictions.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(
            f"The stored predictions of image {index} differ in size between candidates ({sizes}): remove the folder "
            "of predictions and run again with one validation size."
        )


def _to_json(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()
