"""What a run will need of memory and time on one device, and which settings would need less."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from hiast.inspection.cost import PASSES_OVER_MEMORY, PassCost, Rates
from hiast.inspection.estimate import readable

NOTHING = PassCost(0.0, 0.0)
_TRAINED_FLOPS = 3.0
"""A backward pass counts as two forward passes."""
_PASSIVE_CALLS = 1 / _TRAINED_FLOPS
"""Likewise for the operations that the host issues: a forward pass alone is a third of them."""
_LOOK = 2.0
"""Reading, upsampling and counting take about as long as the network where an image is looked at without training."""
_SLOWER = 2.0
"""Runs took up to so many times the time that operations alone would take."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class StageWork:
    """One stage on one device.

    Attributes:
        name: Name of the stage.
        steps: Optimizer steps over all rounds.
        batch: Images of each view per optimizer step.
        accumulate: Batches that a step is divided into.
        trained: Cost of an image of each view that the network is trained on.
        passive: Cost of each view that goes through a network without training, such as the teacher's.
        weights: Bytes of weights, gradients, optimizer and teacher.
        looked_at: Passes of images that are labeled, validated and measured over the whole stage, on this device.
        look: Cost of one of them.
    """

    name: str
    steps: int
    batch: int
    accumulate: int
    trained: tuple[PassCost, ...]
    passive: tuple[PassCost, ...]
    weights: int
    looked_at: int = 0
    look: PassCost = NOTHING

    def seconds(self, rates: Rates) -> float:
        """Time of the stage, loading of data aside."""
        flops = _TRAINED_FLOPS * sum(cost.flops for cost in self.trained)
        flops += sum(cost.flops for cost in self.passive)
        moved = PASSES_OVER_MEMORY * sum(cost.saved for cost in self.trained)
        passive = _PASSIVE_CALLS * sum(cost.calls for cost in self.passive)
        calls = sum(cost.calls for cost in self.trained) + passive
        # A device works while the host issues what comes next: the slower of the two counts.
        step = max(self.batch * rates.seconds(flops, moved), self.accumulate * calls * rates.call)
        look = max(rates.seconds(self.look.flops, 0.0), _PASSIVE_CALLS * self.look.calls * rates.call)
        return self.steps * step + _LOOK * self.looked_at * look

    def memory(self, accumulate: int | None = None) -> float:
        """Bytes of weights and activations at the start of a backward pass."""
        at_a_time = -(-self.batch // (accumulate or self.accumulate))
        return self.weights + at_a_time * sum(cost.saved for cost in self.trained)

    def fitting(self, free: float) -> int | None:
        """The smallest ``accumulate_grad_batches``, not below that of now, with which the stage fits; None: none."""
        divisors = [n for n in range(self.accumulate, self.batch + 1) if self.batch % n == 0]
        return next((n for n in divisors if self.memory(n) <= free), None)


@dataclass(frozen=True)
class Forecast:
    """What a run will need.

    Attributes:
        stages: What is still to do.
        base: Bytes that the process takes besides, on the device of the network.
        free: Bytes of the device that are free for the process, ``base`` included.
        place: Name of that memory, as in "memory of the GPU".
        rates: Measured rates of the device.
        disk: Bytes that the run will write.
        disk_free: Bytes that are free there.
    """

    stages: tuple[StageWork, ...]
    base: float
    free: float
    place: str
    rates: Rates
    disk: float
    disk_free: float

    @property
    def memory(self) -> float:
        """Bytes at the peak of the largest stage."""
        return self.base + max((stage.memory() for stage in self.stages), default=0.0)

    @property
    def seconds(self) -> float:
        """Time of all stages."""
        return sum(stage.seconds(self.rates) for stage in self.stages)

    def sentence(self) -> str:
        """The forecast in one line."""
        parts = ", ".join(f"{stage.name} {duration(stage.seconds(self.rates))}" for stage in self.stages)
        return (
            f"Estimate: {readable(self.memory)} of the {self.place} ({readable(self.free)} free), "
            f"{readable(self.disk)} of disk ({readable(self.disk_free)} free), {duration(self.seconds)} to "
            f"{duration(_SLOWER * self.seconds)} besides loading of data ({parts})."
        )

    def warning(self) -> str | None:
        """What to change where the run will probably not fit; None: it fits."""
        if self.memory <= self.free:
            return None
        return f"The {self.place} may be too small: {self.remedy()}."

    def remedy(self) -> str:
        """Settings that would fit, as a clause; where all seem to fit, the next smaller ones."""
        room = self.free - self.base
        large = [stage for stage in self.stages if stage.memory() > room]
        if not large:  # The estimate was too low.
            large = [max(self.stages, key=lambda stage: stage.memory())] if self.stages else []
            room = large[0].memory() - 1 if large else room
        fitting = {stage.name: stage.fitting(room) for stage in large}
        known = {name: number for name, number in fitting.items() if number is not None}
        if not large or len(known) < len(large):
            return (
                "images at one time do not fit even singly, so use smaller crops (data.source_crop, data.target_crop), "
                "a smaller backbone, or trainer.precision=bf16-mixed where it is not set"
            )
        words = " ".join(f"{name}.accumulate_grad_batches={number}" for name, number in known.items())
        needed = self.base + max(stage.memory(known[stage.name]) for stage in large)
        return (
            f"{words} divides each step into smaller batches of the same sum, which need about {readable(needed)} "
            f"instead of {readable(self.memory)}"
        )


def duration(seconds: float) -> str:
    """Time for people: "45 seconds", "12 minutes", "3.5 hours", "4 days".

    Examples:
        >>> duration(70), duration(5400)
        ('1.2 minutes', '1.5 hours')
    """
    units = ((60, 1, "second"), (5400, 60, "minute"), (172_800, 3600, "hour"), (float("inf"), 86_400, "day"))
    _, size, unit = next(entry for entry in units if seconds < entry[0])
    count = f"{seconds / size:.2g}"
    return f"{count} {unit}{'' if count == '1' else 's'}"


def free_memory(device: torch.device) -> float:
    """Bytes that a process may still take of the memory of a device.

    On a CPU that is what the system says is available, within the limit of the container; infinite on Windows.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return min(_available(), _left_to_container())


def resident() -> float:
    """Bytes of this process in memory now; 0 where the system does not say."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * float(os.sysconf("SC_PAGE_SIZE")) if path.is_file() else 0.0


def folder_bytes(folder: Path) -> float:
    """Bytes of all files below a folder; files that are links to each other count once."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[status.st_ino] = status.st_size
    return float(sum(found.values()))


def needed(forecast: Forecast, memory: float, disk: float, seconds: float) -> str:
    """What the run has needed, beside what was estimated, in one line."""
    return (
        f"Needed: {readable(memory)} of the {forecast.place} (estimated {readable(forecast.memory)}), "
        f"{readable(disk)} of disk ({readable(forecast.disk)}), {duration(seconds)} ({duration(forecast.seconds)})."
    )


def _available() -> float:
    path = Path("/proc/meminfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    if sys.platform == "win32":
        return float("inf")
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")


def _left_to_container() -> float:
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return float("inf") if limit == "max" else float(int(limit) - int(used))
    except (OSError, ValueError):
        return float("inf")
