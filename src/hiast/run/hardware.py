"""Device, precision and processes chosen by what the machine has."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

AUTO = "auto"


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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if torch.cuda.is_available():
            major, _ = torch.cuda.get_device_capability(0)
            name = torch.cuda.get_device_name(0)
            return cls("cuda", name, torch.cuda.device_count(), cores, major >= 8, major >= 7)
        if torch.backends.mps.is_available():
            return cls("mps", platform.processor() or "Apple", 1, cores, False, True)
        return cls("cpu", _processor(), 1, cores, _cpu_has_bf16(), False)


@dataclass(frozen=True)
class Hardware:
    """What a run uses.

    Attributes:
        trainer: Arguments of ``pl.Trainer`` without any ``auto``.
        num_workers: Loader workers of a training process.
        sentence: What was chosen and why, in one line.
    """

    trainer: dict[str, Any]
    num_workers: int
    sentence: str


def choose(
    trainer: Mapping[str, Any], num_workers: int | None, network: nn.Module, machine: Machine | None = None
) -> Hardware:
    """Fill in what is left open; explicit settings stay as they are.

    Precision: bf16-mixed where the device has bfloat16 instructions, 16-mixed on older accelerators with tensor cores,
    else 32-true. On a CPU bf16 is taken for networks without depthwise convolutions only: with avx512_bf16 a ResNet-101
    ran 3.1 to 3.4 times as fast as in float32, an EfficientNet-Lite0 0.83 times, since depthwise weight gradients are
    slow in bf16 (measured on an AMD EPYC with torch 2.15, one thread).

    Args:
        trainer: Arguments of ``pl.Trainer``; ``accelerator``, ``devices`` and ``precision`` may be ``"auto"``.
        num_workers: Loader workers, or None for a number by the cores.
        network: The network, which may be on the meta device.
        machine: What there is; None: this machine.
    """
    machine = machine or Machine.present()
    arguments = dict(trainer)
    wanted = arguments.get("accelerator", AUTO)
    kind = machine.accelerator if wanted in (AUTO, "gpu") else str(wanted)
    if wanted == AUTO:
        arguments["accelerator"] = {"cuda": "gpu"}.get(kind, kind)
    on_cpu = kind == "cpu"
    if arguments.get("devices") == AUTO:
        arguments["devices"] = 1 if on_cpu else machine.devices
    reason = "as set"
    if arguments.get("precision", AUTO) == AUTO:
        arguments["precision"], reason = _precision(machine, on_cpu, network)
    workers = _workers(machine.cores, on_cpu, arguments["devices"]) if num_workers is None else num_workers
    devices = arguments["devices"]
    name = _processor() if on_cpu and machine.accelerator != "cpu" else machine.name
    sentence = (
        f"{name}: {devices} device{'' if devices == 1 else 's'}, precision {arguments['precision']} ({reason}), "
        f"{torch.get_num_threads()} threads, {workers} loader worker{'' if workers == 1 else 's'}."
    )
    return Hardware(arguments, workers, sentence)


def has_depthwise(network: nn.Module) -> bool:
    """Whether a network has convolutions with one filter per channel."""
    return any(
        isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.groups == layer.in_channels
        for layer in network.modules()
    )


def _precision(machine: Machine, on_cpu: bool, network: nn.Module) -> tuple[str, str]:
    if on_cpu:
        if machine.accelerator != "cpu" or not machine.bf16:
            return "32-true", "the processor has no bfloat16 instructions"
        if has_depthwise(network):
            return "32-true", "depthwise convolutions are slower in bfloat16 on a CPU"
        return "bf16-mixed", "the processor has bfloat16 instructions"
    if machine.bf16:
        return "bf16-mixed", "the device has bfloat16 instructions"
    if machine.tensor_cores and machine.accelerator == "cuda":
        return "16-mixed", "the device has half precision, but not bfloat16"
    return "32-true", "half precision gains nothing on this device"


def _workers(cores: int, on_cpu: bool, devices: Any) -> int:
    """Loader workers of one process. On a CPU the loader shares the cores with the network."""
    if on_cpu:
        return 0 if cores <= 2 else min(2, cores // 4)
    count = len(devices) if isinstance(devices, list) else int(devices)
    return max(1, min(8, cores // max(1, count)))


def _processor() -> str:
    return _cpu_field("model name") or platform.processor() or "CPU"


def _cpu_has_bf16() -> bool:
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(_cpu_field("flags").split()))


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
