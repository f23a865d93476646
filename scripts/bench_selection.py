#!/usr/bin/env python3
"""Measure pseudo-label selection against the straightforward rule, on the same inputs, after checking equality.

The straightforward rule is the published one as one would first write it: float16 confidences in Python lists per
class, ``numpy.quantile`` of each list, and a threshold looked up for every pixel. Both sides start from the largest
probability and its class (softmax and max are in neither). Prints a markdown table.

    python scripts/bench_selection.py                      # 19 classes, 768x1536, groups of 2
    python scripts/bench_selection.py --images 3000        # ClassBalanced's memory over 3,000 images
    python scripts/bench_selection.py --device cuda        # beside DeepLabV2's forward pass
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.pseudo_labels import ClassBalanced, InstanceAdaptive, select

Group = tuple[Tensor, Tensor]


def draw_group(seed: int, images: int, classes: int, height: int, width: int) -> Group:
    """Confidences and predictions with the smooth regions and sharp borders of a segmentation network's output."""
    generator = torch.Generator().manual_seed(seed)
    confidences, predictions = [], []
    for _ in range(images):
        coarse = torch.randn(1, classes, height // 32, width // 32, generator=generator) * 4
        logits = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
        confidence, prediction = logits.softmax(1).max(1)
        confidences.append(confidence)
        predictions.append(prediction)
    return torch.cat(confidences), torch.cat(predictions)


def instance_adaptive_with_lists(
    groups: list[Group], policy: InstanceAdaptive
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """The straightforward rule: labels and thresholds per group."""
    thresholds = np.full(policy.num_classes, 0.9)
    for confidence, prediction in ((c.numpy(), p.numpy()) for c, p in groups):
        lists: list[list[object]] = [[threshold] for threshold in thresholds]
        for k in range(policy.num_classes):
            lists[k].extend(confidence[prediction == k].astype(np.float16))
        for k, values in enumerate(lists):
            if len(values) > 1:
                level = 1 - policy.alpha * thresholds[k] ** policy.gamma
                local = np.float32(np.quantile(np.array(values, np.float64), level))
                thresholds[k] = policy.beta * thresholds[k] + np.float64(np.float32(1 - policy.beta) * local)
        thresholds[thresholds >= 1] = 0.999
        limits = np.array([thresholds[k] for k in prediction.ravel()]).reshape(prediction.shape)
        labels = np.where(confidence >= limits, prediction, 255).astype(np.uint8)
        yield labels, thresholds.copy()


def check_equality(groups: list[Group], policy: InstanceAdaptive) -> None:
    """Exit with an error unless both rules give the same labels and the same thresholds, bit for bit."""
    for ours, (labels, thresholds) in zip(
        select(groups, policy), instance_adaptive_with_lists(groups, policy), strict=True
    ):
        if not (np.array_equal(ours.labels.numpy(), labels) and np.array_equal(ours.thresholds, thresholds)):
            raise SystemExit("The two rules differ: nothing was measured.")


def milliseconds(
    work: Callable[[], object], repeats: int, images: int, synchronise: bool = False
) -> list[float]:
    """Wall-clock milliseconds per image of each repetition, after one that does not count."""
    taken = []
    for _ in range(repeats + 1):
        if synchronise:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if synchronise:
            torch.cuda.synchronize()
        taken.append((time.perf_counter() - start) * 1000 / images)
    return taken[1:]


def peak_mebibytes(work: Callable[[], object]) -> float:
    """How far the process's resident memory rises above its start during ``work`` (Linux)."""
    # Freed memory that the allocator keeps would hide what the work needs.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


class Repeated:
    """A re-iterable of many groups made from a few: rolled by another amount each time, so that all differ."""

    def __init__(self, groups: list[Group], count: int) -> None:
        self._groups, self._count = groups, count

    def __iter__(self) -> Iterator[Group]:
        for index in range(self._count):
            confidence, prediction = self._groups[index % len(self._groups)]
            # Another level for each group, so that the confidences are not the same few numbers again and again.
            yield (confidence * (1 - index % 97 / 1000)).clamp_(min=1 / 16), prediction


def consume(selections: Iterator[object]) -> None:
    """Run a selection without keeping anything of it."""
    for _ in selections:
        pass


def row(what: str, taken: list[float], note: str = "") -> str:
    """A line of the table: median and range."""
    return f"| {what} | {statistics.median(taken):.2f} | {min(taken):.2f} to {max(taken):.2f} | {note} |"


def measure_cpu(arguments: argparse.Namespace) -> None:
    """Both rules side by side, then the memory of both policies."""
    size = (arguments.group, arguments.classes, arguments.height, arguments.width)
    groups = [draw_group(seed, *size) for seed in range(2)]
    policy = InstanceAdaptive(arguments.classes)
    check_equality(groups, policy)
    images = len(groups) * arguments.group
    # Alternating, so that both meet the same disturbances of the machine.
    lists: list[float] = []
    ours: list[float] = []
    for _ in range(arguments.repeats):
        ours += milliseconds(lambda: consume(select(groups, policy)), 3, images)
        lists += milliseconds(lambda: consume(instance_adaptive_with_lists(groups, policy)), 1, images)
    faster = statistics.median(lists) / statistics.median(ours)
    print("| selection, equal bit for bit | ms per image, median | range | |\n|---|---|---|---|")
    print(row("lists of float16, numpy.quantile, look-up per pixel", lists))
    print(row("hiast.pseudo_labels.select", ours, f"{faster:.0f} times faster"))
    print("\n| peak extra memory | images | MiB | ms per image |\n|---|---|---|---|")
    balanced = ClassBalanced(arguments.classes)
    report = {
        "lists of float16": (len(groups), lambda _: consume(instance_adaptive_with_lists(groups, policy))),
        "InstanceAdaptive": (len(groups), lambda _: consume(select(groups, policy))),
        "ClassBalanced, a tenth": (
            max(1, arguments.images // arguments.group // 10),
            lambda count: consume(select(Repeated(groups, count), balanced)),
        ),
        "ClassBalanced": (
            max(1, arguments.images // arguments.group),
            lambda count: consume(select(Repeated(groups, count), balanced)),
        ),
    }
    for name, (count, work) in report.items():
        start = time.perf_counter()
        peak = peak_mebibytes(lambda work=work, count=count: work(count))
        taken = (time.perf_counter() - start) * 1000 / (count * arguments.group)
        print(f"| {name} | {count * arguments.group} | {peak:.0f} | {taken:.1f} |")


def measure_gpu(arguments: argparse.Namespace) -> None:
    """Selection as a share of DeepLabV2's forward pass."""
    from hiast.models import DeepLabV2

    network = DeepLabV2(num_classes=arguments.classes).cuda().eval()
    images = torch.randn(arguments.group, 3, arguments.height, arguments.width, device="cuda")
    drawn = draw_group(0, arguments.group, arguments.classes, arguments.height, arguments.width)
    group = (drawn[0].cuda(), drawn[1].cuda())
    policy = InstanceAdaptive(arguments.classes)

    def forward() -> None:
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            network(images)

    (here,), (there,) = select([drawn], policy), select([group], policy)
    if not (
        torch.equal(here.labels, there.labels.cpu()) and np.array_equal(here.thresholds, there.thresholds)
    ):
        raise SystemExit("CPU and GPU differ: nothing was measured.")
    network_taken = milliseconds(forward, arguments.repeats * 5, arguments.group, synchronise=True)
    taken = milliseconds(
        lambda: consume(select([group], policy)), arguments.repeats * 5, arguments.group, synchronise=True
    )
    share = statistics.median(taken) / statistics.median(network_taken)
    print("| on the GPU | ms per image, median | range | |\n|---|---|---|---|")
    print(row("DeepLabV2, forward pass, bfloat16", network_taken))
    print(row("hiast.pseudo_labels.select", taken, f"{share:.1%} of the forward pass"))


def main() -> None:
    """Read the options, describe the machine, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--group", type=int, default=2, help="images per group")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--images", type=int, default=60, help="images for ClassBalanced's memory")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    device = f"; {torch.cuda.get_device_name()}" if arguments.device == "cuda" else ""
    print(
        f"{model}, {arguments.threads} threads{device}; Python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {np.__version__}; {arguments.classes} x {arguments.height} x {arguments.width}, groups of "
        f"{arguments.group}.\n"
    )
    measure_gpu(arguments) if arguments.device == "cuda" else measure_cpu(arguments)


if __name__ == "__main__":
    main()
