"""Statistics of batch normalization for the target domain."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiast.callbacks.hashing import RUNNING, weights_hash
from hiast.callbacks.schedule import ValidationSchedule, is_look
from hiast.data import AdaptationDataModule
from hiast.data.datasets.joined import JoinedDataset
from hiast.data.geometry import resize_image
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.models import reestimate_bn_stats
from hiast.pseudo_labels.collectives import (
    Communicator,
    DistributedProcesses,
    SingleProcess,
    all_gather_checked,
)
from hiast.training import AdaptationModule, OnlineModule

BATCH = 4
"""Images that go through the network together."""
MOST_IMAGES = 512
"""Largest number of images that are read, evenly spaced over the set; more of them hardly change a mean."""
_READERS = 4
"""Threads that read images."""
_AHEAD = 4
"""Batches that are read ahead."""
_KEPT = 8
"""Networks whose statistics are kept: a round needs those of two."""


class StatisticsStore:
    """Statistics that have been estimated in this process, by the weights and images that they follow from.

    In self-training the same weights come up several times: the student at the end of a round labels at the start of
    the next, and the first teacher is a copy of the student.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, Tensor]] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def keep(self, key: str, network: nn.Module) -> None:
        """Keep the running statistics of a network; the oldest entries are dropped."""
        self._kept[key] = {name: buffer.detach().clone() for name, buffer in _running(network)}
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def restore(self, key: str, network: nn.Module) -> None:
        """Copy what was kept into the network."""
        kept = self._kept[key]
        for name, buffer in _running(network):
            buffer.copy_(kept[name])


class TargetStatistics(pl.Callback):
    """Re-estimates the statistics on target images before networks are measured and at the end of a round.

    Only modules with ``bn_statistics="target"`` are touched. The statistics follow from the weights and the images
    alone, so an interruption of the run does not change them. In online training this is done before the first step,
    too, since the teacher labels it, and for the teacher as for the student, unless it normalizes by its batches. (In
    rounds the teacher copies the statistics of the student.)

    Args:
        schedule: Tells which steps are followed by a validation.
        store: Statistics that are known already; None: none are.
        looks: Candidates within online training, see ``is_look``.
    """

    def __init__(
        self, schedule: ValidationSchedule, store: StatisticsStore | None = None, looks: int = 0
    ) -> None:
        self.schedule = schedule
        self.store = StatisticsStore() if store is None else store
        self.looks = looks

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Estimate those of the networks that online training starts from."""
        if isinstance(pl_module, OnlineModule) and not pl_module.batches_done:
            self._estimate(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Re-estimate, unless another training step follows, which normalizes by its own batch."""
        assert isinstance(pl_module, AdaptationModule)
        if (
            pl_module.batches_done == pl_module.batches
            or self.schedule.follows(trainer, pl_module)
            or is_look(pl_module, self.looks)
        ):
            self._estimate(trainer, pl_module)

    def _estimate(self, trainer: pl.Trainer, module: AdaptationModule) -> None:
        if module.bn_statistics != "target":
            return
        networks: list[nn.Module] = [module.network]
        if isinstance(module, OnlineModule) and module.settings.teacher_bn == "running":
            networks.append(module.teacher.network)
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        images, processes = data.labeling_images(), processes_of(trainer)
        for network in networks:
            with trainer.precision_plugin.forward_context():
                estimate_on(network, module, images, store=self.store, communicator=processes)


def processes_of(trainer: pl.Trainer) -> Communicator:
    """The processes of a trainer."""
    return DistributedProcesses() if trainer.world_size > 1 else SingleProcess()


def estimate_on(
    network: nn.Module,
    module: AdaptationModule,
    images: SegmentationDataset | JoinedDataset,
    *,
    store: StatisticsStore | None = None,
    communicator: Communicator | None = None,
) -> None:
    """Estimate the statistics of ``network`` on images as ``module`` sees them in validation.

    Args:
        network: Network of the module; its running statistics are replaced.
        module: Tells how images are resized and normalized.
        images: Target images.
        store: Consulted first, and given the result.
        communicator: The processes of the run; each reads its share of the images. None: this process alone.

    Raises:
        InputError: An image cannot be read.
        RunError: Another process could not read an image.
    """
    store, communicator = store or StatisticsStore(), communicator or SingleProcess()
    key = f"{weights_hash(network, running=False)} {module.validation_size} {hash(tuple(images.names))}"
    # A process that started later than the others may know less.
    if all(all_gather_checked(communicator, lambda: key in store)):
        store.restore(key, network)
        return
    reestimate_bn_stats(network, _batches(module, images, communicator))
    store.keep(key, network)


def _running(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [item for item in network.named_buffers() if item[0].rpartition(".")[2] in RUNNING]


def _batches(
    module: AdaptationModule, images: SegmentationDataset | JoinedDataset, communicator: Communicator
) -> Iterator[Tensor]:
    """Normalized batches, the same in every process. Each process reads every world_size-th of them."""
    chosen = range(0, len(images), -(-len(images) // MOST_IMAGES))
    # Images that keep their own sizes may not fit into one batch.
    together = BATCH if module.validation_size else 1
    batches = [chosen[first : first + together] for first in range(0, len(chosen), together)]
    own = batches[communicator.rank :: communicator.world_size]
    with ThreadPoolExecutor(_READERS, "statistics") as pool:
        reading = _read_ahead(pool, module, images, own)
        for first in range(0, len(batches), communicator.world_size):
            turn = all_gather_checked(communicator, lambda: [image.result() for image in next(reading, ())])
            for batch in turn[: len(batches) - first]:
                stacked = torch.stack([torch.tensor(image).permute(2, 0, 1) for image in batch])
                yield module.normalize(stacked.to(module.device))


def _read_ahead(
    pool: ThreadPoolExecutor,
    module: AdaptationModule,
    images: SegmentationDataset | JoinedDataset,
    batches: Sequence[Sequence[int]],
) -> Iterator[list[Future[NDArray[np.uint8]]]]:
    """The images of each batch, some batches ahead of the one that is taken."""

    def read(index: int) -> NDArray[np.uint8]:
        image = images.read_image(index)
        return resize_image(image, *module.validation_size) if module.validation_size else image

    waiting: deque[list[Future[NDArray[np.uint8]]]] = deque()
    for batch in batches:
        waiting.append([pool.submit(read, index) for index in batch])
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting
