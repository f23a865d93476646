#!/usr/bin/env python3
"""Measure the loss of self-training from coarse logits of student and teacher to value and gradient.

    published-like   region weights expanded to every class, a separate softmax for each term, counts by boolean
                     indexing: the structure of the published code, in words of our own
    plain            the same mathematics without that waste, one log-softmax for each term
    full size        torch's interpolation, softmax of the teacher, and HIASTLoss.forward
    coarse           HIASTLoss.from_coarse, blocks of rows
    coarse triton    the same with backend="triton" (on a CUDA device)

and two parts of online self-training: cross-entropy with a weight for each pixel, and the teacher's class and
confidence of each pixel. That all forms of a task agree is checked first. The forms take turns in one process; the
median counts. Time is the processor's on a CPU and that of CUDA events on a GPU; extra memory is the highest resident
size (on a GPU: allocated) above that before the call, in a separate process on a CPU.

On a CPU the allocator decides as much as the code: glibc returns tensors above 32 MiB to the system and faults them
in anew each time. Both are measured: "default", and "tuned" with MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10^12.

    python benchmarks/loss_head.py
    python benchmarks/loss_head.py --batch 4 --height 128 --width 256 --stride 4   # the demo's size
    python benchmarks/loss_head.py --device cuda --batch 6 --dtype bfloat16
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.objectives import HIASTLoss, coarse_cross_entropy
from hiast.upsampling import Upsampling, View, read_out

TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}
KLD, ENTROPY, CONSISTENCY = 0.1, 1.0, 0.5
MIB = 2**20

Form = Callable[[], tuple[Tensor, ...]]
"""Runs once; returns what the forms of a task must agree on."""


class Inputs:
    """Coarse logits of a student and its teacher with smooth regions, and labels where the teacher is sure."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        generator = torch.Generator().manual_seed(0)
        self.size = (options.height, options.width)
        self.up = Upsampling.to(self.size, align_corners=True)
        coarse = tuple(-(-side // options.stride) for side in self.size)
        shape = (options.batch, options.classes)
        regions = 3 * torch.randn(*shape, *(max(2, side // 4) for side in coarse), generator=generator)
        smooth = F.interpolate(regions, coarse, mode="bilinear", align_corners=True)
        layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format

        def disturbed() -> Tensor:
            logits = smooth + 0.5 * torch.randn(*shape, *coarse, generator=generator)
            dtype = getattr(torch, options.dtype)
            return logits.to(options.device, dtype).contiguous(memory_format=layout)

        self.student, self.teacher = disturbed().requires_grad_(), disturbed()
        found = read_out([View(self.teacher, self.up)])
        threshold = found.confidence.flatten()[:: max(1, found.confidence.numel() // 10**5)].quantile(0.45)
        self.labels = found.labels.masked_fill(found.confidence < threshold, 255)
        self.weights = torch.rand(self.labels.shape, generator=generator).to(options.device)

    def in_float32(self) -> Inputs:
        """The same numbers in float32."""
        same = copy.copy(self)
        same.student, same.teacher = self.student.detach().float().requires_grad_(), self.teacher.float()
        return same

    def upsampled(self, logits: Tensor) -> Tensor:
        """Float32 logits at full size."""
        return F.interpolate(logits, self.size, mode="bilinear", align_corners=True).float()

    def with_gradient(self, loss: Tensor) -> tuple[Tensor, ...]:
        """A loss and its gradient to the student's coarse logits."""
        return loss.detach(), *torch.autograd.grad(loss, self.student)


def published_like(i: Inputs) -> tuple[Tensor, ...]:
    """The four terms in the structure of the published code."""
    with torch.no_grad():
        q = i.upsampled(i.teacher).softmax(1)
    z = i.upsampled(i.student)
    classes = z.shape[1]
    supervised = F.cross_entropy(z, i.labels.long(), ignore_index=255)
    kept = torch.ones_like(i.labels, dtype=z.dtype)
    kept[i.labels == 255] = 0
    confident = torch.ones_like(z) * kept[:, None]
    ignored = torch.ones_like(z) * (1 - kept[:, None])
    kld = (-1 / classes * confident * F.log_softmax(z, 1)).sum() / confident[confident > 0].numel()
    entropy = (-F.softmax(z, 1) * F.log_softmax(z, 1) * ignored).sum() / ignored[ignored > 0].numel()
    products = -q * F.log_softmax(z, 1) * ignored
    consistency = products.sum() / products[products != 0].numel()
    return i.with_gradient(supervised + KLD * kld + ENTROPY * entropy + CONSISTENCY * consistency)


def plain(i: Inputs) -> tuple[Tensor, ...]:
    """The four terms without its waste."""
    with torch.no_grad():
        q = i.upsampled(i.teacher).softmax(1)
    z = i.upsampled(i.student)
    classes = z.shape[1]
    confident = (i.labels != 255)[:, None]
    ignored = ~confident
    supervised = F.cross_entropy(z, i.labels.long(), ignore_index=255)
    kld = -(F.log_softmax(z, 1) * confident).sum() / (classes**2 * confident.sum())
    entropy = -(F.softmax(z, 1) * F.log_softmax(z, 1) * ignored).sum() / (classes * ignored.sum())
    products = -q * F.log_softmax(z, 1) * ignored
    consistency = products.sum() / (products != 0).sum()
    return i.with_gradient(supervised + KLD * kld + ENTROPY * entropy + CONSISTENCY * consistency)


def full_size(i: Inputs) -> tuple[Tensor, ...]:
    """The four terms by HIASTLoss from full-size logits."""
    with torch.no_grad():
        q = i.upsampled(i.teacher).softmax(1)
    return i.with_gradient(HIASTLoss(KLD, ENTROPY, CONSISTENCY)(i.upsampled(i.student), i.labels, q)["total"])


def coarse(i: Inputs, backend: Any) -> tuple[Tensor, ...]:
    """The four terms from coarse logits."""
    loss = HIASTLoss(KLD, ENTROPY, CONSISTENCY)
    return i.with_gradient(loss.from_coarse(i.student, i.labels, i.teacher, i.up, backend)["total"])


def plain_weighted(i: Inputs) -> tuple[Tensor, ...]:
    """Weighted cross-entropy from full-size logits."""
    values = F.cross_entropy(i.upsampled(i.student), i.labels.long(), ignore_index=255, reduction="none")
    return i.with_gradient((values * i.weights).mean())


def coarse_weighted(i: Inputs, backend: Any) -> tuple[Tensor, ...]:
    """Weighted cross-entropy from coarse logits."""
    return i.with_gradient(
        coarse_cross_entropy(
            i.student, i.labels, i.up, weights=i.weights, normalization="all", backend=backend
        )
    )


@torch.no_grad()
def plain_teacher(i: Inputs) -> tuple[Tensor, ...]:
    """The teacher's confidence from full-size probabilities."""
    return i.upsampled(i.teacher).softmax(1).max(1)[:1]


def coarse_teacher(i: Inputs) -> tuple[Tensor, ...]:
    """The same from coarse logits."""
    return (read_out([View(i.teacher, i.up)]).confidence,)


def tasks(inputs: Inputs) -> dict[str, dict[str, Form]]:
    """Forms of each task by their names; the first is what others are compared with."""
    backends = {"coarse": "eager"}
    if inputs.options.device == "cuda":
        backends["coarse triton"] = "triton"
    terms: dict[str, Form] = {
        "published-like": lambda: published_like(inputs),
        "plain": lambda: plain(inputs),
        "full size": lambda: full_size(inputs),
    }
    weighted: dict[str, Form] = {"plain": lambda: plain_weighted(inputs)}
    for name, backend in backends.items():
        terms[name] = lambda backend=backend: coarse(inputs, backend)  # type: ignore[misc]
        weighted[name] = lambda backend=backend: coarse_weighted(inputs, backend)  # type: ignore[misc]
    teacher: dict[str, Form] = {
        "plain": lambda: plain_teacher(inputs),
        "coarse": lambda: coarse_teacher(inputs),
    }
    return {"four terms": terms, "weighted cross-entropy": weighted, "teacher's class": teacher}


def milliseconds(form: Form, device: str) -> float:
    """Of one call: the processor's time, or on a GPU that between two events."""
    if device != "cuda":
        start = time.process_time()
        form()
        return 1e3 * (time.process_time() - start)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    events[0].record()
    form()
    events[1].record()
    torch.cuda.synchronize()
    return float(events[0].elapsed_time(events[1]))


def extra_memory(form: Form, device: str) -> float:
    """MiB above what is held before a call, after one to warm up; on a CPU for a process that does nothing else."""
    form()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        form()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    Path("/proc/self/clear_refs").write_text("5")  # lowers the highest resident size to the present one
    before = resident("VmRSS")
    form()
    return (resident("VmHWM") - before) / 1024


def resident(key: str) -> float:
    """KiB from the system's report on this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return float(line.split()[1])


def check(forms: dict[str, Form], exact: Form, dtype: str) -> dict[str, float]:
    """Largest difference of each form from ``exact``, relative to the largest number; stops where ours is too large.

    Forms at full size compute in the precision of the logits, so in half precision they may differ more.
    """
    wanted = exact()
    found = {}
    for name, form in forms.items():
        pairs = list(zip(form(), wanted, strict=True))
        found[name] = max(
            float((value.float() - right).abs().max()) / (float(right.abs().max()) or 1.0)
            for value, right in pairs
        )
        limit = 1e-5 if dtype == "float32" else 0.01 if name.startswith("coarse") else math.inf
        if not found[name] <= limit:
            raise SystemExit(f"{name} differs by {found[name]:.1e}.")
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of all forms, by task and name; with ``--memory-of`` MiB of one."""
    inputs = Inputs(options)
    every = tasks(inputs)
    if options.memory_of:
        task, name = options.memory_of
        return {"mib": extra_memory(every[task][name], options.device)}
    found: dict[str, Any] = {}
    for task, forms in every.items():
        difference = check(forms, next(iter(tasks(inputs.in_float32())[task].values())), options.dtype)
        times: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(options.repeats):
            for name, form in forms.items():
                times[name].append(milliseconds(form, options.device))
        found[task] = {"difference": difference, "times": times}
        if options.device == "cuda":
            found[task]["mib"] = {name: extra_memory(form, "cuda") for name, form in forms.items()}
    return found


def in_a_process(options: argparse.Namespace, allocator: str, *more: str) -> dict[str, Any]:
    """This program again, with the allocator's settings, which are read when a process starts."""
    environment = {key: value for key, value in os.environ.items() if key not in TUNED}
    if allocator == "tuned":
        environment |= TUNED
    if options.device == "cpu":
        environment["OMP_NUM_THREADS"] = str(options.threads)
    command = [sys.executable, __file__, *sys.argv[1:], "--child", *more]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(options: argparse.Namespace, allocator: str) -> None:
    """Print a table for each task."""
    full = options.batch * options.classes * options.height * options.width * 4 / MIB
    for task, found in in_a_process(options, allocator).items():
        memory = found.get("mib") or {
            name: in_a_process(options, allocator, "--memory-of", task, name)["mib"]
            for name in found["times"]
        }
        medians = {name: statistics.median(times) for name, times in found["times"].items()}
        others = [name for name in medians if not name.startswith("coarse")]
        print(f"\n**{task}**, {allocator} allocator; against full size in float32\n")
        print("| form | ms (range) | " + " | ".join(f"x {name}" for name in others), end="")
        print(" | extra MiB | full-size tensors | difference |")
        print("|---|---:|" + "---:|" * (len(others) + 3))
        for name, times in found["times"].items():
            ratios = " | ".join(f"{medians[other] / medians[name]:.1f}" for other in others)
            span = f"{medians[name]:.1f} ({min(times):.1f}-{max(times):.1f})"
            own = f"{memory[name]:.0f} | {memory[name] / full:.2f} | {found['difference'][name]:.0e}"
            print(f"| {name} | {span} | {ratios} | {own} |")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("batch", 2), ("classes", 19), ("height", 512), ("width", 1024), ("stride", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--layout", choices=("channels_last", "contiguous"), default="channels_last")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--allocator", choices=("default", "tuned", "both"), default="both")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    if options.child:
        if options.device == "cpu":
            torch.set_num_threads(options.threads)
        print(json.dumps(measure(options)))
        return
    if options.device == "cuda":
        chip, allocators = torch.cuda.get_device_name(), ["CUDA"]
    else:
        chip = f"{platform.machine()} CPU, {options.threads} threads, load {os.getloadavg()[0]:.1f}"
        allocators = ["default", "tuned"] if options.allocator == "both" else [options.allocator]
    size = f"{options.batch} x {options.classes} x {options.height} x {options.width}"
    print(f"{size} from stride {options.stride}, {options.dtype}, {options.layout}; ", end="")
    print(f"torch {torch.__version__}, {chip}; {time.strftime('%Y-%m-%d')}")
    for allocator in allocators:
        report(options, allocator)


if __name__ == "__main__":
    main()
