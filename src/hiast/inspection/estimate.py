"""What a run will take of disk and memory, estimated before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hiast.data.io.cache import SHARES
from hiast.inspection.findings import Checked

Place = Literal["disk", "cache", "memory", "device"]

_LABEL_BYTES = 0.05
"""Per pixel of a stored pseudo-label; measured on drawn scenes."""
_WORKER_BYTES = 230_000_000
"""A loader process without images, its share of what it has in common with others included; measured as Pss."""
_MAIN_BYTES = 1_000_000_000
"""The main process without a network worth mentioning: interpreter and libraries; measured as Pss."""


@dataclass(frozen=True)
class Run:
    """The settings that determine memory and disk usage.

    Attributes:
        parameters: Number of parameters of the network.
        discriminator: Parameters of the warm-up's discriminator; 0 without one.
        classes: Number of classes.
        stages: Names of the stages.
        rounds: Number of rounds of self-training.
        label_size: (height, width) of pseudo-labels; None: that of the images.
        crop: (height, width) of a training image.
        batch_size: Largest of all stages, on one device.
        workers: Loader processes.
        cache: Format of the cache, or None.
    """

    parameters: int
    discriminator: int
    classes: int
    stages: tuple[str, ...]
    rounds: int
    label_size: tuple[int, int] | None
    crop: tuple[int, int]
    batch_size: int
    workers: int
    cache: str | None


@dataclass(frozen=True)
class Need:
    """One item: where, what for, and how many bytes."""

    place: Place
    what: str
    bytes: int


def estimate(run: Run, parts: Sequence[Checked]) -> list[Need]:
    """Needs of a run on these files.

    Checkpoints hold the weights and Adam's two moments in 32 bits, in self-training the teacher too; each stage keeps
    the best and the last of each round, and a new one lies beside the old one while it is written. On the device:
    weights, gradients, moments, teacher, and four maps of full-size logits; what the network itself remembers for its
    gradients comes on top.
    """
    needs = [_checkpoints(run), *_labels(run, parts), *_cache(run, parts)]
    height, width = run.crop
    largest = max((h * w for _, summary in parts for h, w in summary.sizes), default=0)
    batch = 2 * run.batch_size * height * width * 7
    worker = _WORKER_BYTES + 2 * 3 * largest + batch
    needs.append(
        Need("memory", "the main process; on a CPU the network and its activations come on top", _MAIN_BYTES)
    )
    needs.append(Need("memory", f"{run.workers} loader processes", run.workers * worker))
    logits = 4 * run.batch_size * run.classes * height * width * 4
    needs.append(Need("device", "weights, gradients, optimizer, teacher", 20 * run.parameters))
    needs.append(Need("device", f"full-size maps of {run.batch_size} crops; activations come on top", logits))
    return needs


def disk_bytes(run: Run, images: int) -> float:
    """Bytes that a run writes into its directory.

    Args:
        run: What decides about its needs; ``label_size`` of None counts as the size of a crop.
        images: Target images that each round labels.
    """
    height, width = run.label_size or run.crop
    labels = run.rounds * images * height * width * _LABEL_BYTES if "self_training" in run.stages else 0.0
    return _checkpoints(run).bytes + labels


def readable(count: float) -> str:
    """Bytes for people: "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _checkpoints(run: Run) -> Need:
    sizes = {
        "source_only": 12 * run.parameters,
        "warmup": 12 * (run.parameters + run.discriminator),
        "self_training": 16 * run.parameters,
        "online": 16 * run.parameters,
    }
    rounds = {"self_training": run.rounds}
    kept = sum((rounds.get(stage, 1) + 1) * sizes[stage] for stage in run.stages)
    in_writing = max((sizes[stage] for stage in run.stages), default=0)
    return Need("disk", f"checkpoints of {len(run.stages)} stages", kept + in_writing)


def _labels(run: Run, parts: Sequence[Checked]) -> list[Need]:
    pixels = 0
    for part, summary in parts:
        if (part.domain, part.split) == ("target", "train"):
            for (height, width), count in summary.sizes.items():
                label = run.label_size or (height, width)
                pixels += count * label[0] * label[1]
    if "self_training" not in run.stages or not pixels:
        return []
    return [Need("disk", f"pseudo-labels of {run.rounds} rounds", round(run.rounds * pixels * _LABEL_BYTES))]


def _cache(run: Run, parts: Sequence[Checked]) -> list[Need]:
    if run.cache is None:
        return []
    pixels = sum(
        height * width * count
        for part, summary in parts
        if part.split == "train"
        for (height, width), count in summary.sizes.items()
    )
    return [Need("cache", f"cache ({run.cache})", round(3 * pixels * SHARES[run.cache]))]
