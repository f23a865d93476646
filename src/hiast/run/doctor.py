"""What a machine has and lacks for hiast: packages, devices, memory, disks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from packaging.requirements import Requirement

from hiast.inspection.disk import find_disk
from hiast.inspection.estimate import readable
from hiast.inspection.forecast import free_memory
from hiast.run.hardware import Machine

Verdict = Literal["ok", "note", "warning", "error"]

FEATURES = {
    "offline": "encoders with weights that need no download (the demo)",
    "video": "videos as input and as target",
    "heif": "HEIC images of phones",
    "wandb": "logger=wandb",
    "tensorboard": "logger=tensorboard",
    "mlflow": "logger=mlflow",
    "onnx": "hiast-export format=onnx",
    "openvino": "hiast-export format=openvino",
}
"""Extra of the package -> what it is needed for."""
_WRITTEN = 64 * 2**20
"""Bytes that are written to measure a disk."""
_SMALL_SHM, _SMALL_DISK, _SLOW_DISK, _FEW_FILES = 2**30, 5e9, 50e6, 1024


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: What was looked at.
        verdict: ``"ok"``; ``"note"``: something optional is missing; ``"warning"``: it works, but slowly or not for
            large runs; ``"error"``: hiast cannot work.
        text: What was found, and what to do.
    """

    name: str
    verdict: Verdict
    text: str


def check_machine(data_root: Path, outputs: Path) -> Iterator[Check]:
    """All checks that need no training, in order.

    Args:
        data_root: Folder of the datasets.
        outputs: Folder of the runs.
    """
    yield from check_packages()
    yield from check_devices(Machine.present())
    yield check_memory()
    yield check_shared_memory(Path("/dev/shm"))
    yield check_open_files()
    yield from check_folder("data folder", data_root)
    yield from check_folder("run folder", outputs)


def check_packages() -> Iterator[Check]:
    """Versions of Python and of what hiast needs; extras that are not installed."""
    try:
        lines = metadata.requires("hiast") or []
    except metadata.PackageNotFoundError:
        yield Check("packages", "error", "hiast is not installed: pip install hiast.")
        return
    requirements = [Requirement(line) for line in lines]
    wrong = [problem for one in requirements if _applies(one, "") and (problem := missing(one))]
    versions = ", ".join(
        f"{name} {_version(name) or '-'}" for name in ("hiast", "torch", "pytorch-lightning")
    )
    about = f"Python {platform.python_version()}, {versions}"
    yield Check(
        "packages", "error" if wrong else "ok", f"{about}: {'; '.join(wrong)}." if wrong else f"{about}."
    )
    for extra, feature in FEATURES.items():
        lacking = [problem for one in requirements if _only_in(one, extra) and (problem := missing(one))]
        if lacking:
            yield Check(
                f"extra {extra}", "note", f"{'; '.join(lacking)}: pip install 'hiast[{extra}]' for {feature}."
            )


def missing(requirement: Requirement) -> str | None:
    """What is wrong with an installed package; None: it fits."""
    version = _version(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, needed is {requirement.specifier}"
    return None


def check_devices(machine: Machine) -> Iterator[Check]:
    """The accelerator or processor and its precision; a GPU that PyTorch cannot use."""
    half = (
        "bf16-mixed"
        if machine.bf16
        else "16-mixed"
        if machine.accelerator == "cuda" and machine.tensor_cores
        else ""
    )
    precision = f"precision {half or '32-true'}" if machine.accelerator != "cpu" else "precision 32-true"
    if machine.accelerator == "cpu" and machine.bf16:
        precision = "precision bf16-mixed for networks that gain from it, else 32-true"
    count = f"{machine.devices} x " if machine.devices > 1 else ""
    yield Check("device", "ok", f"{count}{machine.name}, {machine.cores} cores, {precision}.")
    if machine.accelerator == "cuda":
        for index in range(machine.devices):
            free, total = torch.cuda.mem_get_info(index)
            text = f"{readable(free)} of {readable(total)} free, CUDA {torch.version.cuda}."
            yield Check(f"GPU {index}", "ok" if free > total / 2 else "warning", text)
    elif machine.accelerator == "cpu" and _has_nvidia():
        built = torch.version.cuda
        why = "PyTorch is built without CUDA" if built is None else f"the driver does not serve CUDA {built}"
        yield Check(
            "GPU", "error", f"There is an NVIDIA GPU, but {why}: see pytorch.org for a build that fits."
        )


def check_memory() -> Check:
    """Memory of the machine, within the limit of a container."""
    free = free_memory(torch.device("cpu"))
    text = f"{readable(free)} free."
    if free < 2e9:
        return Check("memory", "warning", f"{text} The demo needs about 2 GB.")
    return Check("memory", "ok", text)


def check_shared_memory(folder: Path) -> Check:
    """Shared memory, through which loader workers hand over their batches."""
    if not folder.is_dir():
        return Check("shared memory", "ok", f"This system has no {folder}.")
    free = shutil.disk_usage(folder).free
    if free < _SMALL_SHM:
        advice = "start the container with --shm-size=8g or --ipc=host, or use data.num_workers=0"
        return Check("shared memory", "warning", f"{readable(free)} free in {folder}: {advice}.")
    return Check("shared memory", "ok", f"{readable(free)} free in {folder}.")


def check_open_files() -> Check:
    """How many files a process may open; workers share their batches through open files."""
    if sys.platform == "win32":
        return Check("open files", "ok", "Windows sets no limit that a run reaches.")
    import resource

    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < _FEW_FILES:
        return Check(
            "open files", "warning", f"At most {limit}: 'ulimit -n {min(65_536, most)}' before the command."
        )
    return Check(
        "open files", "ok", "Without limit." if limit == resource.RLIM_INFINITY else f"At most {limit:,}."
    )


def check_folder(name: str, folder: Path) -> Iterator[Check]:
    """Free space of a folder, and how fast it is written; one that does not exist counts as its parent."""
    disk = find_disk(folder)
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        yield Check(name, "error", f"{place} is a file; name a folder.")
        return
    verdict: Verdict = "ok" if disk.free > _SMALL_DISK else "warning"
    absent = "" if folder.exists() else " (it does not exist yet)"
    if not os.access(place, os.W_OK):
        yield Check(name, "warning", f"{folder}{absent} cannot be written.")
        return
    speed = write_speed(place) if disk.free > 2 * _WRITTEN else None
    text = f"{folder}{absent}: {readable(disk.free)} free"
    if speed is not None:
        text += f", written at {readable(speed)}/s"
        verdict = "warning" if speed < _SLOW_DISK else verdict
    yield Check(name, verdict, f"{text}.")


def write_speed(folder: Path, size: int = _WRITTEN) -> float:
    """Bytes per second at which a file is written and reaches the disk; it is removed afterwards."""
    block = os.urandom(2**20)
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(max(1, size // len(block))):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return max(1, size // len(block)) * len(block) / (time.perf_counter() - began)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _only_in(requirement: Requirement, extra: str) -> bool:
    """Whether a package is needed with an extra and not without."""
    return _applies(requirement, extra) and not _applies(requirement, "") and requirement.name != "hiast"


def _has_nvidia() -> bool:
    return Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/version").exists()
