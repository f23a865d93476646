"""From a configuration to a forecast of memory, time and disk, shown before a run and checked against it afterwards."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hiast.callbacks.bn_statistics import MOST_IMAGES
from hiast.cli.build import device_count, stage_names
from hiast.cli.build_needs import discriminator_size, label_size, run_of
from hiast.cli.build_stages import stage_settings
from hiast.cli.faults import memory_fault
from hiast.errors import RunError
from hiast.files import write_json
from hiast.inspection.cost import PassCost, Rates, network_flops, pass_cost, rates
from hiast.inspection.disk import find_disk
from hiast.inspection.estimate import disk_bytes
from hiast.inspection.forecast import Forecast, StageWork, folder_bytes, free_memory, needed, resident
from hiast.memory import peak_memory
from hiast.ranks import is_rank_zero
from hiast.selection.views import VIEWS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.classes import LabelSpace
    from hiast.models import SegmentationNetwork
    from hiast.run import Pipeline, Stage

log = logging.getLogger(__name__)


@dataclass
class Forecaster:
    """Shows what a run will need before its first step, and what it has needed at its end.

    Attributes:
        config: Composed ``train.yaml``, without anything open.
        classes: The scenario's.
        on_cpu: Whether the network runs on the CPU.
        forecast: None until the run is ready, and for a network that cannot be tried without values.
    """

    config: DictConfig
    classes: LabelSpace
    on_cpu: bool
    forecast: Forecast | None = None

    def show(self, pipeline: Pipeline, network: SegmentationNetwork) -> None:
        """Show the forecast; the images of the run are listed by now."""
        if not is_rank_zero():
            return
        data = pipeline.datamodule
        held_out = [len(side.val_dataset()) if side.has_val else 0 for side in (data.target, data.source)]
        self.forecast = self._forecast(pipeline, network, Images(len(data.labeling_images()), *held_out))
        if self.forecast is None:
            return
        log.info(self.forecast.sentence())
        warning = self.forecast.warning()
        if warning is not None:
            log.warning(warning)

    @contextmanager
    def watching(self, folder: Path) -> Iterator[None]:
        """Answer an end of memory with settings that fit; after a run from its beginning, show what it has needed.

        Raises:
            RunError: The memory was too small.
        """
        began, fresh = time.monotonic(), not any(folder.rglob("result_*.json"))
        try:
            yield
        except Exception as error:
            place = memory_fault(error)
            if place is None or self.forecast is None:
                raise
            raise RunError(
                f"The {place} is too small: {self.forecast.remedy()}. Finished work is kept: rerun the same command "
                "with these settings, or in a new run where the stage has begun."
            ) from error
        device = self._device()
        if self.forecast is None or device is None or not fresh:
            return
        disk, seconds = folder_bytes(folder), time.monotonic() - began
        memory = peak_memory(device)
        log.info(needed(self.forecast, memory, disk, seconds))
        pairs = {"memory": (self.forecast.memory, memory), "disk": (self.forecast.disk, disk)}
        pairs["seconds"] = self.forecast.seconds, seconds
        write_json(
            folder / "needs.json",
            {key: {"estimated": round(a), "needed": round(b)} for key, (a, b) in pairs.items()},
        )

    def _device(self) -> torch.device | None:
        """The device of the run; None for one that is not there, which the trainer refuses."""
        if self.on_cpu:
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps") if torch.backends.mps.is_available() else None

    def _forecast(self, pipeline: Pipeline, network: SegmentationNetwork, images: Images) -> Forecast | None:
        half = "16" in str(self.config.trainer.precision)
        done = {
            stage.name: sum(
                pipeline.directory.read_result(stage.name, number) is not None
                for number in range(1, len(stage.rounds) + 1)
            )
            for stage in pipeline.stages
        }
        costs, device = image_costs(self.config, network, half, pipeline.stages), self._device()
        if costs is None or device is None:
            return None
        stages = stage_works(self.config, self.classes, network, costs, images, done)
        if not stages:  # All is finished.
            return None
        run = run_of(self.config, self.classes, pipeline.stages, _parameters(network))
        base = resident() if self.on_cpu else 0.0
        return Forecast(
            stages=tuple(stages),
            base=base,
            free=base + free_memory(device),
            place="memory of the machine" if self.on_cpu else "memory of the GPU",
            rates=self._rates(network, costs["target"], stages, device, half),
            disk=disk_bytes(run, images.target),
            disk_free=find_disk(pipeline.directory.path).free,
        )

    def _rates(
        self,
        network: SegmentationNetwork,
        cost: PassCost,
        stages: list[StageWork],
        device: torch.device,
        half: bool,
    ) -> Rates:
        """Measured rates; on a CPU, where the network is by now, the network itself is measured."""
        found, size = rates(device, half), _size(self.config.crop.target)
        if not self.on_cpu or size is None:
            return found
        batch = max((stage.batch // stage.accumulate for stage in stages), default=1)
        own = network_flops(network, cost, size, batch, half=half)
        return found if own is None else replace(found, flops=own)


@dataclass(frozen=True)
class Images:
    """Numbers of images of a run.

    Attributes:
        target: Those to adapt to.
        validation: Labeled ones of the target.
        source: Labeled ones of the source that are held out.
    """

    target: int
    validation: int
    source: int = 0


def stage_works(
    config: DictConfig,
    classes: LabelSpace,
    network: SegmentationNetwork,
    costs: dict[str, PassCost],
    images: Images,
    done: dict[str, int],
) -> list[StageWork]:
    """The work of each stage on one device.

    Args:
        config: Composed ``train.yaml``.
        classes: The scenario's.
        network: The network.
        costs: What ``image_costs`` found.
        images: Number of images.
        done: Stage -> rounds that are finished.

    Returns:
        One entry for each stage that has steps left.
    """
    works = []
    for name in stage_names(config):
        settings = stage_settings(config, name)
        rounds = settings.get("rounds", 1)
        left = rounds - min(rounds, done.get(name, 0))
        trained, passive = _views(name, settings, costs)
        looks = left * _looks(name, settings, config, images)
        batch = max(1, settings.batch_size // device_count(config))
        parameters = _parameters(network) + (discriminator_size(config, classes) if name == "warmup" else 0)
        works.append(
            StageWork(
                name=name,
                steps=left * settings.max_steps,
                batch=batch,
                accumulate=min(batch, settings.get("accumulate_grad_batches", 1)),
                trained=trained,
                passive=passive,
                # Weights, gradients and two moments; the teacher is one more.
                weights=(20 if name in ("self_training", "online") else 16) * parameters,
                looked_at=-(-looks // device_count(config)),
                look=costs["look"],
            )
        )
    return [work for work in works if work.steps]


def _looks(name: str, settings: Any, config: DictConfig, images: Images) -> int:
    """Passes of images in one round of a stage that are not trained on.

    The round is labeled; validations; target statistics before each of them; and candidates are measured.
    """
    validations = max(1, settings.max_steps // config.validation.every_n_steps)
    statistics = min(images.target, MOST_IMAGES) if settings.module.get("bn_statistics") == "target" else 0
    labeled = images.target if name == "self_training" else 0
    measured = _candidates(name, config) * _measured(config, images)
    # Online, of student and teacher, at each look and before the first step, too.
    estimates = 2 * (validations + config.selection.looks) + 1 if name == "online" else validations
    total: int = validations * images.validation + estimates * statistics + measured + labeled
    return total


def _candidates(name: str, config: DictConfig) -> int:
    """Candidates that one round of a stage adds."""
    selection = config.selection
    # Teacher and student at each look and at the end.
    added: int = 2 * (selection.looks + 1) if name == "online" else 1
    if name == stage_names(config)[0]:
        added += len(selection.target_statistics) + (config.init_from is not None)
    return added


def _measured(config: DictConfig, images: Images) -> int:
    """Passes of images that measure one candidate.

    Target images as they are, in each view and by the teacher; source images as they are and in colors of the target;
    validation images.
    """
    count: int = config.selection.images
    if not count:
        return 0
    source: int = min(images.source, config.selection.source_images)
    passes: int = min(images.target, count) * (2 + len(VIEWS)) + 2 * source + min(images.validation, count)
    return passes


def _parameters(network: SegmentationNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def image_costs(
    config: DictConfig, network: SegmentationNetwork, half: bool, stages: Sequence[Stage]
) -> dict[str, PassCost] | None:
    """Cost of an image of each domain, and of one that is labeled or validated ("look").

    Args:
        config: Composed ``train.yaml``.
        network: The network.
        half: Whether it runs in mixed precision.
        stages: The stages of the run.

    Returns:
        None where the network or the crops cannot be counted.
    """
    costs, pixels = {}, 1
    found: dict[tuple[int, int], PassCost | None] = {}
    for domain in ("source", "target"):
        size = _size(config.crop[domain])
        if size is None:
            return None
        if size not in found:
            found[size] = pass_cost(network, size, half=half)
        cost = found[size]
        if cost is None:
            return None
        costs[domain], pixels = cost, size[0] * size[1]
    look = label_size(stages) or config.validation.size
    # Operations grow with the pixels, which spares another pass through the network.
    share = 1.0 if look is None else look[0] * look[1] / pixels
    return costs | {"look": PassCost(share * costs["target"].flops, 0.0, costs["target"].calls)}


def _size(crop: Any) -> tuple[int, int] | None:
    height, width = crop.get("height"), crop.get("width")
    return None if height is None or width is None else (int(height), int(width))


def _views(
    name: str, settings: Any, costs: dict[str, PassCost]
) -> tuple[tuple[PassCost, ...], tuple[PassCost, ...]]:
    """Views of a step that the network is trained on, and those that only go through it."""
    source, target, module = costs["source"], costs["target"], settings.module
    if name == "source_only":
        return (source,), ()
    if name == "warmup":
        return (source, target), ()
    if name == "self_training":
        return (target, source) if module.get("source_weight") else (target,), (target,)
    masked = module.get("views") is not None and module.views.get("masking") is not None
    return (source, target, target) if masked else (source, target), (target,)
