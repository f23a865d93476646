#!/usr/bin/env python3
"""Measure a training step: time of its parts, images/s, memory, share of time waiting for data, achieved FLOP/s.

    python benchmarks/step.py                                          # the five networks, rounds and online
    python benchmarks/step.py --networks deeplab_v2_resnet101 --batch 6 --height 512 --width 1024 --straightforward
    python benchmarks/step.py --height 64 --width 128 --batch 2 --steps 2 --networks efficientnet_lite0_fpn   # a CPU

Two passes over the same batches: in the first the device is waited for around every part, in the second nothing is
waited for; images/s come from the second. "fwd+bwd" is what the network's own passes reach: operations of the student
(forward and twice that backward) and of the teacher, counted by PyTorch on shapes alone, divided by the time of
those parts. On a CPU with one thread all times are the processor's, so that other jobs do not count. The limit is that
of the chip's data sheet for dense products (bf16, or float16), or, for other chips and for CPUs, what a large matrix
product reaches here.

Batches come from the real loader, which decodes drawn scenes and cuts crops; the target's labels are those of the
scenes, and its strong view is the weak one. --straightforward adds, interleaved with the product's step, one as it is
written at first: logits and probabilities at full size, a single-tensor optimizer, averages of one tensor after the
other.

A line of JSON for each measurement is appended to --history.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.cli.build import build_classes, build_datamodule, build_network
from hiast.cli.build_stages import build_stages
from hiast.cli.config import compose
from hiast.compile_modes import COMPILE_MODES
from hiast.inspection.cost import pass_cost, synchronize
from hiast.inspection.forecast import resident
from hiast.run.allocator import allocator, keep_freed_memory
from hiast.run.hardware import Machine, choose
from hiast.scenes import write_cityscapes, write_gta5

NETWORKS = (
    "deeplab_v2_resnet101", "mit_b5_segformer", "convnext_base_dinov3_upernet", "vit_base_dinov2_dpt",
    "efficientnet_lite0_fpn",
)  # fmt: skip
LIMITS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40": 181e12,
    "A10G": 70e12,
    "V100": 125e12,
    "T4": 65e12,
}
"""Dense half-precision FLOP/s by the data sheets (V100 and T4: float16). The first name found counts."""
STAGES = {"rounds": "self_training", "online": "online"}


def now() -> float:
    """Seconds: of the processor where one thread does all the work, so that other jobs of the machine do not count."""
    alone = not torch.cuda.is_available() and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


@dataclass
class Clock:
    """Seconds of the parts of a step; the device is waited for around each of them."""

    device: torch.device
    on: bool = True
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of a block to a part."""
        if not self.on:
            yield
            return
        synchronize(self.device)
        began = now()
        yield
        synchronize(self.device)
        self.seconds[name] = self.seconds.get(name, 0.0) + now() - began

    def wrap(self, holder: Any, name: str, part: str) -> None:
        """Count every call of a method as a part."""
        method = getattr(holder, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(part):
                return method(*arguments, **options)

        object.__setattr__(holder, name, timed)


class Step:
    """The product's step of one stage, without Lightning."""

    def __init__(self, module: Any, device: torch.device, precision: str) -> None:
        self.module, self.device = module.to(device).train(), device
        self.optimizer = module.optimizer.build(
            module.network, fused=precision != "16-mixed" or device.type == "cuda"
        )
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self.scaler = torch.amp.GradScaler(device.type) if self.dtype is torch.float16 else None
        self.clock = Clock(device)
        if module.compile_mode is not None:
            module.compile_passes()
        self.clock.wrap(module, "training_pass", "student forward")
        self.clock.wrap(module.teacher, "coarse", "teacher forward")

    def autocast(self) -> Any:
        """Mixed precision, if asked for."""
        return (
            nullcontext()
            if self.dtype is None
            else torch.autocast(self.device.type, self.dtype, cache_enabled=False)
        )

    def __call__(self, batch: dict[str, dict[str, Tensor]]) -> None:
        """One step."""
        if self.module.compile_mode is not None:
            torch.compiler.cudagraph_mark_step_begin()
        with self.clock.part("copy to device"):
            batch = {
                domain: {
                    key: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
                    for key, value in sample.items()
                }
                for domain, sample in batch.items()
            }
        before = sum(self.clock.seconds.get(name, 0.0) for name in ("student forward", "teacher forward"))
        with self.clock.part("loss and mixing"), self.autocast():
            total = self.loss(batch)
        inner = (
            sum(self.clock.seconds.get(name, 0.0) for name in ("student forward", "teacher forward")) - before
        )
        if self.clock.on:
            self.clock.seconds["loss and mixing"] -= inner
        with self.clock.part("backward"):
            (total if self.scaler is None else self.scaler.scale(total)).backward()
        with self.clock.part("optimizer"):
            if self.scaler is None:
                self.optimizer.step()
            else:
                self.scaler.step(self.optimizer)
                self.scaler.update()
            self.optimizer.zero_grad()
        with self.clock.part("teacher average"):
            self.follow()

    def loss(self, batch: dict[str, dict[str, Tensor]]) -> Tensor:
        """What is minimized."""
        total: Tensor = self.module.losses(batch)["total"]
        return total

    def follow(self) -> None:
        """The teacher follows the student."""
        self.module.teacher.update(self.module.network)


class StraightforwardStep(Step):
    """A step of the rounds as it is written at first: everything at full size, one tensor after the other."""

    def __init__(self, module: Any, device: torch.device, precision: str) -> None:
        super().__init__(module, device, precision)
        module.network.to(memory_format=torch.contiguous_format)
        module.teacher.to(memory_format=torch.contiguous_format)
        groups = [{"params": group["params"], "lr": group["lr"]} for group in self.optimizer.param_groups]
        self.optimizer = torch.optim.Adam(groups, lr=1e-6, foreach=False, fused=False)

    def loss(self, batch: dict[str, dict[str, Tensor]]) -> Tensor:
        """HIAST's loss of logits at full size."""
        module, target = self.module, batch["target"]
        size = target["label"].shape[-2:]

        def full(coarse: Tensor) -> Tensor:
            return F.interpolate(coarse, size, mode="bilinear", align_corners=False)

        with torch.no_grad():
            probabilities = full(module.teacher.coarse(module.normalize(target["image"]))).float().softmax(1)
        logits = full(module.training_pass(module.normalize(target["strong"])).logits).float()
        total: Tensor = module.loss(logits, target["label"], probabilities)["total"]
        return total

    def follow(self) -> None:
        """An average for each tensor."""
        teacher = self.module.teacher
        with torch.no_grad():
            pairs = zip(teacher.network.parameters(), self.module.network.parameters(), strict=True)
            for own, other in pairs:
                own.mul_(teacher.ema_decay).add_(other, alpha=1 - teacher.ema_decay)


def configuration(options: argparse.Namespace, network: str, data: Path) -> Any:
    """Configuration of a network on the drawn scenes."""
    height, width = options.height, options.width
    crop = f"height: {height}, width: {width}, min_height: {height // 2}, max_height: {height}"
    kind = "_target_: hiast.data.augmentation.weak.RandomSizedCrop"
    words = [
        "+scenario=gta5_cityscapes", f"backbone={network}", "method=dacs", f"data_root={data}",
        f"data.source_crop={{{kind}, {crop}}}", f"data.target_crop={{{kind}, {crop}}}", "data.cache=null",
        f"self_training.batch_size={options.batch}", f"online.batch_size={options.batch}", "online.max_steps=1000",
        "stages=[self_training,online]",
    ]  # fmt: skip
    return compose("train", words)


def prepare(config: Any, kind: str) -> Any:
    """Module of a stage around a network without pretrained weights."""
    classes = build_classes(config)
    torch.manual_seed(0)
    network = build_network(config, classes, pretrained=False)
    stage = next(stage for stage in build_stages(config) if stage.name == STAGES[kind])
    settings = stage.rounds[0]
    return settings.module(
        network=network, classes=classes, max_steps=settings.max_steps, accumulate_grad_batches=1, round_number=1,
        validation_size=None, seed=0,
    )  # fmt: skip


def batches(config: Any, options: argparse.Namespace, workers: int) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Endless batches of both domains."""
    config = config.copy()
    config.data.num_workers = workers
    data = build_datamodule(config, build_classes(config))
    data = data.with_plan(("source", "target"), options.batch, steps=10_000)
    loaders = data.train_dataloader()
    for source, target in zip(loaders["source"], loaders["target"], strict=True):
        labels = source["label"]
        yield {
            "source": {"image": source["image"], "label": labels},
            "target": target | {"strong": target["image"], "label": labels.where(labels % 2 == 0, 255)},
        }


def preloaded(loader: Iterator[dict[str, dict[str, Tensor]]]) -> Iterator[dict[str, dict[str, Tensor]]]:
    """The first four batches over and over: what a step takes where data is never waited for."""
    few = list(itertools.islice(loader, 4))
    if torch.cuda.is_available():
        few = [
            {
                domain: {
                    key: value.pin_memory() for key, value in sample.items() if isinstance(value, Tensor)
                }
                for domain, sample in batch.items()
            }
            for batch in few
        ]
    return itertools.cycle(few)


def measure(
    steps: dict[str, Step], loader: Iterator[Any], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Times of each form of a step, which take turns."""
    found: dict[str, dict[str, Any]] = {name: {"seconds": [], "wait": []} for name in steps}
    for name, step in steps.items():  # First to warm up, then the parts.
        step.clock.on = False
        # CUDA graphs are recorded in the third step.
        for _ in range(1 if step.module.compile_mode is None else 4):
            step(next(loader))
        step.clock.on, step.clock.seconds = True, {}
        for _ in range(options.steps):
            step(next(loader))
        found[name]["parts"] = {part: value / options.steps for part, value in step.clock.seconds.items()}
        step.clock.on = False
    for _ in range(options.steps):
        for name, step in steps.items():
            began = now()
            batch = next(loader)
            waited = now() - began
            step(batch)
            synchronize(step.device)
            found[name]["seconds"].append(now() - began)
            found[name]["wait"].append(waited)
    return found


def reset_peak() -> None:
    """Begin to look for a new peak of the memory of this process (Linux)."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def peak_resident() -> float:
    """Most bytes of this process in memory since ``reset_peak``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def chip_limit(device: torch.device, precision: str) -> tuple[float, str]:
    """FLOP/s that the chip can reach at most, and where that is from."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if precision != "32-true":
        for chip, limit in LIMITS.items():
            if chip in name:
                return limit, "data sheet"
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision, torch.float32)
    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.randn(side, side, device=device).to(dtype)
    times = []
    for _ in range(4):
        synchronize(device)
        began = now()
        matrix @ matrix
        synchronize(device)
        times.append(now() - began)
    return 2.0 * side**3 / min(times), "matrix product"


def one_network(options: argparse.Namespace, network: str, kind: str, data: Path) -> list[dict[str, Any]]:
    """Measurements of a network in one kind of training."""
    config = configuration(options, network, data)
    modules = {"product": prepare(config, kind)}
    modules["product"].compile_mode = options.compile
    trainer = {"accelerator": options.device, "devices": 1, "precision": options.precision}
    hardware = choose(trainer, options.workers, lambda: modules["product"].network)
    precision = hardware.trainer["precision"]
    device = torch.device("cpu" if hardware.on_cpu else "cuda" if torch.cuda.is_available() else "mps")
    half = precision != "32-true"
    cost = pass_cost(modules["product"].network, (options.height, options.width), half=half)
    if options.straightforward and kind == "rounds":
        modules["straightforward"] = prepare(config, kind)
    reset_peak()
    before = resident()
    kinds = {"product": Step, "straightforward": StraightforwardStep}
    steps = {name: kinds[name](module, device, precision) for name, module in modules.items()}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    limit, source = chip_limit(device, precision)
    loader = batches(config, options, hardware.num_workers)
    found = measure(steps, preloaded(loader) if options.preloaded else loader, options)
    trained, passive = (1, 1) if kind == "rounds" else (2, 1)
    flops = 0.0 if cost is None else options.batch * cost.flops * (3 * trained + passive)
    rows = []
    for name, times in found.items():
        parts = times["parts"]
        network_time = sum(
            parts.get(part, 0.0) for part in ("student forward", "teacher forward", "backward")
        )
        seconds = statistics.median(times["seconds"])
        on_gpu = device.type == "cuda"
        memory = float(torch.cuda.max_memory_allocated(device)) if on_gpu else peak_resident() - before
        rows.append({
            "benchmark": "step", "date": time.strftime("%Y-%m-%d"), "form": name, "network": network, "kind": kind,
            "batch": options.batch, "height": options.height, "width": options.width, "precision": precision,
            "device": Machine.present().name, "torch": torch.__version__, "allocator": allocator(),
            "threads": torch.get_num_threads(), "workers": 0 if options.preloaded else hardware.num_workers,
            "preloaded": options.preloaded, "compile_mode": options.compile,
            "load": round(os.getloadavg()[0], 1), "seconds": seconds, "images_per_second": options.batch / seconds,
            "waiting_share": statistics.median(w / s for w, s in zip(times["wait"], times["seconds"], strict=True)),
            "peak_bytes": memory, "parts": parts, "achieved_flops": flops / network_time if network_time else 0.0,
            "limit_flops": limit, "limit_source": source,
        })  # fmt: skip
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    parts = ", ".join(f"{name} {1000 * value:.1f}" for name, value in row["parts"].items())
    share = row["achieved_flops"] / row["limit_flops"]
    return (
        f"| {row['network']} | {row['kind']} | {row['form']} | {row['precision']} | {1000 * row['seconds']:.0f} | "
        f"{row['images_per_second']:.2f} | {row['peak_bytes'] / 2**20:.0f} | {row['waiting_share']:.0%} | "
        f"{row['achieved_flops'] / 1e12:.3f} | {share:.0%} of {row['limit_flops'] / 1e12:.3g} "
        f"({row['limit_source']}) | {parts} |"
    )


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--kinds", nargs="+", choices=tuple(STAGES), default=tuple(STAGES))
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="auto", help="auto, gpu or cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--compile", choices=COMPILE_MODES, help="compile_mode of hiast-train")
    parser.add_argument(
        "--preloaded", action="store_true", help="take turns with a few batches in page-locked memory"
    )
    parser.add_argument("--straightforward", action="store_true")
    parser.add_argument("--default-allocator", action="store_true", help="leave glibc's settings as they are")
    parser.add_argument("--history", type=Path)
    options = parser.parse_args()
    if not options.default_allocator:
        keep_freed_memory()
    torch.backends.cudnn.benchmark = True
    print(
        f"{Machine.present().name}, torch {torch.__version__}, {torch.get_num_threads()} threads, {allocator()}, load"
    )
    print(
        f"{os.getloadavg()[0]:.1f}; {options.batch} x {options.height} x {options.width}; {' '.join(sys.argv)}\n"
    )
    heads = (
        "network | training | form | precision | ms | images/s | peak MiB | waiting | TFLOP/s | of the limit"
    )
    print(f"| {heads} | ms of parts |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        size = (2 * options.height, 2 * options.width)
        write_gta5(data, 8, size)
        write_cityscapes(data, 8, 1, size)
        for network in options.networks:
            for kind in options.kinds:
                for row in one_network(options, network, kind, data):
                    print(line(row), flush=True)
                    if options.history is not None:
                        options.history.parent.mkdir(parents=True, exist_ok=True)
                        with options.history.open("a") as file:
                            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
