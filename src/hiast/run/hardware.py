"""Device, precision and processes chosen by what the machine has."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiast.errors import InputError

AUTO = "auto"
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Machine:
    """What matters of a machine.

    Attributes:
        accelerator: ``"cuda"``, ``"mps"`` or ``"cpu"``.
        name: Name of the accelerator, or of the processor.
        devices: Accelerators; 1 without any.
        cores: Processor cores that this process may use.
        bf16: Whether the device computes in bfloat16 by instructions of its own.
        tensor_cores: Whether an accelerator gains from half precision at all.
    """

    accelerator: str
    name: str
    devices: int
    cores: int
    bf16: bool
    tensor_cores: bool

    @classmethod
    def present(cls) -> Machine:
        """The machine that this process runs on."""
        cores = usable_cores()
        if torch.cuda.is_available():
            major, _ = torch.cuda.get_device_capability(0)
            name = torch.cuda.get_device_name(0)
            return cls("cuda", name, torch.cuda.device_count(), cores, major >= 8, major >= 7)
        if torch.backends.mps.is_available():
            return cls("mps", platform.processor() or "Apple", 1, cores, False, True)
        return cls("cpu", processor(), 1, cores, cpu_has_bf16(), False)


@dataclass(frozen=True)
class Hardware:
    """What a run uses.

    Attributes:
        trainer: Arguments of ``pl.Trainer`` without any ``auto``.
        num_workers: Loader workers of a training process.
        threads: Threads of PyTorch that suit the cores; None: PyTorch's own number, or the user's.
        on_cpu: Whether the network runs on the CPU.
        sentence: What was chosen and why, in one line.
    """

    trainer: dict[str, Any]
    num_workers: int
    threads: int | None
    on_cpu: bool
    sentence: str

    def apply(self) -> None:
        """Let PyTorch use ``threads`` threads."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)


def choose(
    trainer: Mapping[str, Any],
    num_workers: int | None,
    make_network: Callable[[], nn.Module],
    machine: Machine | None = None,
    *,
    earlier: str | None = None,
    notes: tuple[str, ...] = (),
) -> Hardware:
    """Fill in what is left open; explicit settings stay as they are.

    Precision: bf16-mixed where the device has bfloat16 instructions, 16-mixed on older accelerators with tensor cores,
    else 32-true. On a CPU bf16 is taken for networks without depthwise convolutions only: with avx512_bf16 a ResNet-101
    ran 3.1 to 3.4 times as fast as in float32, an EfficientNet-Lite0 0.83 times, since depthwise weight gradients are
    slow in bf16 (measured on an AMD EPYC with torch 2.15, one thread).

    Args:
        trainer: Arguments of ``pl.Trainer``; ``accelerator``, ``devices`` and ``precision`` may be ``"auto"``.
        num_workers: Loader workers, or None for a number by the cores.
        make_network: Makes the network, which may be on the meta device; called only where it decides something.
        machine: What there is; None: this machine.
        earlier: Precision that the run began with; an open precision stays so where the device can.
        notes: More of what was chosen, added to the sentence.

    Raises:
        InputError: A precision that changes the weights.
    """
    machine = machine or Machine.present()
    check_precision(trainer.get("precision"))
    arguments = dict(trainer)
    wanted = arguments.get("accelerator", AUTO)
    kind = machine.accelerator if wanted in (AUTO, "gpu") else str(wanted)
    if wanted == AUTO:
        arguments["accelerator"] = {"cuda": "gpu"}.get(kind, kind)
    on_cpu = kind == "cpu"
    if arguments.get("devices") == AUTO:
        arguments["devices"] = 1 if on_cpu else machine.devices
    count = device_count(arguments.get("devices", 1), 1 if on_cpu else machine.devices)
    reason = "as set"
    if arguments.get("precision", AUTO) == AUTO:
        arguments["precision"], reason = _precision(machine, on_cpu, make_network, earlier)
    workers = _workers(machine.cores, on_cpu, count) if num_workers is None else num_workers
    threads = _threads(machine.cores, count, workers) if on_cpu else None
    name = processor() if on_cpu and machine.accelerator != "cpu" else machine.name
    used = (
        f"{count} of {machine.devices} devices"
        if not on_cpu and count < machine.devices
        else _many(count, "device")
    )
    parts = [
        f"{name}: {used}",
        f"precision {arguments['precision']} ({reason})",
        _many(threads or torch.get_num_threads(), "thread"),
        _many(workers, "loader worker"),
        *notes,
    ]
    return Hardware(arguments, workers, threads, on_cpu, f"{', '.join(parts)}.")


def check_precision(precision: Any) -> None:
    """Refuse precisions in which the weights are not float32.

    Images are normalized in float32 and labels are read out in it, and checkpoints hold float32.

    Raises:
        InputError: Names those that there are.
    """
    name = str(precision)
    if name in ("16-true", "bf16-true", "64-true", "64") or name.startswith("transformer-engine"):
        raise InputError(
            f"trainer.precision cannot be {name}: the weights stay in float32; choose 32-true, bf16-mixed or 16-mixed."
        )


def device_count(devices: Any, present: int = 1) -> int:
    """Number of devices that Lightning's argument ``devices`` stands for: a number, a list, -1, "auto" or "0,1"."""
    if isinstance(devices, list | tuple):
        return max(1, len(devices))
    text = str(devices)
    if "," in text:
        return max(1, len([word for word in text.split(",") if word.strip()]))
    return int(text) if text.isdigit() and int(text) > 0 else present


def has_depthwise(network: nn.Module) -> bool:
    """Whether a network has convolutions with one filter per channel."""
    return any(
        isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.groups == layer.in_channels
        for layer in network.modules()
    )


def usable_cores() -> int:
    """Processor cores that this process may use, by its affinity and by the limit of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _container_cores(Path("/sys/fs/cgroup")) or cores))


def processor() -> str:
    """Name of the processor."""
    return _cpu_field("model name") or platform.processor() or "CPU"


def cpu_has_bf16() -> bool:
    """Whether the processor has bfloat16 instructions."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(_cpu_field("flags").split()))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _precision(
    machine: Machine, on_cpu: bool, make_network: Callable[[], nn.Module], earlier: str | None
) -> tuple[str, str]:
    if earlier is not None and _can(machine, on_cpu, earlier):
        return earlier, "as the run began"
    if on_cpu:
        if machine.accelerator != "cpu" or not machine.bf16:
            return "32-true", "the processor has no bfloat16 instructions"
        if has_depthwise(make_network()):
            return "32-true", "depthwise convolutions are slower in bfloat16 on a CPU"
        return "bf16-mixed", "the processor has bfloat16 instructions"
    if machine.bf16:
        return "bf16-mixed", "the device has bfloat16 instructions"
    if machine.tensor_cores and machine.accelerator == "cuda":
        return "16-mixed", "the device has half precision, but not bfloat16"
    return "32-true", "half precision gains nothing on this device"


def _can(machine: Machine, on_cpu: bool, precision: str) -> bool:
    """Whether a device computes in a precision without emulating it."""
    if precision == "32-true":
        return True
    if precision == "bf16-mixed":
        return machine.bf16 and (machine.accelerator == "cpu") == on_cpu
    return precision == "16-mixed" and not on_cpu and machine.accelerator == "cuda" and machine.tensor_cores


def _workers(cores: int, on_cpu: bool, devices: int) -> int:
    """Loader workers of one process. On a CPU the loader shares the cores with the network."""
    if on_cpu:
        return 0 if cores <= 2 else min(2, cores // 4)
    return max(1, min(8, cores // devices))


def _threads(cores: int, processes: int, workers: int) -> int | None:
    """Threads of one process on a CPU; None where the user has set them, or Lightning divides them."""
    if processes > 1 or any(name in os.environ for name in _THREAD_SETTINGS):
        return None
    threads = max(1, cores - workers)
    return None if threads >= torch.get_num_threads() else threads


def _container_cores(folder: Path) -> int | None:
    """Cores that the control group of a container may use; None: no limit is known."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _cpu_field(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
