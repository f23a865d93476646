#!/usr/bin/env python3
"""Measure pseudo-label selection against the published rule written in two ways, on the same inputs.

With lists, as one would first write it: float16 confidences in Python lists per class, ``numpy.quantile`` of each list,
and a threshold looked up for every pixel. With arrays: the same in whole numpy arrays, which shows what is gained by
leaving Python's lists and what by counting. That labels and thresholds of all are equal is checked first, for
ClassBalanced too. All start from the largest probability and its class (softmax and max are in none). Time is the
processor's; prints a markdown table.

    python benchmarks/selection.py                      # 19 classes, 768x1536, groups of 2
    python benchmarks/selection.py --images 3000        # ClassBalanced's memory over 3,000 images
    python benchmarks/selection.py --device cuda        # beside DeepLabV2's forward pass
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


Chosen = Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]
"""Labels and thresholds per group."""


def move(policy: InstanceAdaptive, threshold: float, values: NDArray[np.float64]) -> float:
    """The next threshold of a class, from the threshold and confidences of its pixels."""
    level = 1 - policy.alpha * threshold**policy.gamma
    local = np.float32(np.quantile(values, level))
    moved = policy.beta * threshold + np.float64(np.float32(1 - policy.beta) * local)
    return moved if moved < 1 else 0.999


def instance_adaptive_with_lists(groups: list[Group], policy: InstanceAdaptive) -> Chosen:
    """The rule with lists."""
    thresholds = np.full(policy.num_classes, 0.9)
    for confidence, prediction in ((c.numpy(), p.numpy()) for c, p in groups):
        lists: list[list[object]] = [[threshold] for threshold in thresholds]
        for k in range(policy.num_classes):
            lists[k].extend(confidence[prediction == k].astype(np.float16))
        for k, values in enumerate(lists):
            if len(values) > 1:
                thresholds[k] = move(policy, thresholds[k], np.array(values, np.float64))
        limits = np.array([thresholds[k] for k in prediction.ravel()]).reshape(prediction.shape)
        labels = np.where(confidence >= limits, prediction, 255).astype(np.uint8)
        yield labels, thresholds.copy()


def instance_adaptive_with_arrays(groups: list[Group], policy: InstanceAdaptive) -> Chosen:
    """The rule with arrays."""
    thresholds = np.full(policy.num_classes, 0.9)
    for confidence, prediction in ((c.numpy(), p.numpy()) for c, p in groups):
        half, classes = confidence.astype(np.float16), prediction.astype(np.uint8)
        for k in range(policy.num_classes):
            values = half[classes == k]
            if values.size:
                thresholds[k] = move(policy, thresholds[k], np.append(values, thresholds[k]))
        labels = np.where(confidence >= thresholds[prediction], classes, np.uint8(255))
        yield labels, thresholds.copy()


def class_balanced_with_lists(groups: list[Group], policy: ClassBalanced) -> Chosen:
    """The rule of ClassBalanced with lists."""
    arrays = [(c.numpy(), p.numpy()) for c, p in groups]
    lists: list[list[object]] = [[] for _ in range(policy.num_classes)]
    for confidence, prediction in arrays:
        for k in range(policy.num_classes):
            lists[k].extend(confidence[prediction == k].astype(np.float16)[:: policy.every])
    level = 1 - policy.proportion
    thresholds = np.array([np.quantile(np.array(v, np.float64), level) if v else 1.0 for v in lists])
    for confidence, prediction in arrays:
        labels = np.where(confidence >= thresholds[prediction], prediction, 255).astype(np.uint8)
        yield labels, thresholds


def check_equality(groups: list[Group], policy: InstanceAdaptive) -> None:
    """Exit with an error unless all give the same labels and the same thresholds, bit for bit."""
    pairs = [
        (select(groups, policy), instance_adaptive_with_lists(groups, policy)),
        (select(groups, policy), instance_adaptive_with_arrays(groups, policy)),
    ]
    for every in (1, 4):
        balanced = ClassBalanced(policy.num_classes, every=every)
        pairs.append((select(groups, balanced), class_balanced_with_lists(groups, balanced)))
    for selections, chosen in pairs:
        for ours, (labels, thresholds) in zip(selections, chosen, strict=True):
            same = np.array_equal(ours.labels.numpy(), labels)
            if not (same and np.array_equal(ours.thresholds, thresholds)):
                raise SystemExit("The rules differ: nothing was measured.")


def milliseconds(
    work: Callable[[], object], repeats: int, images: int, synchronize: bool = False
) -> list[float]:
    """Milliseconds per image of each repetition, after one that does not count.

    Processor time; with ``synchronize`` wall-clock time, the GPU's work included.
    """
    clock = time.perf_counter if synchronize else time.process_time
    taken = []
    for _ in range(repeats + 1):
        if synchronize:
            torch.cuda.synchronize()
        start = clock()
        work()
        if synchronize:
            torch.cuda.synchronize()
        taken.append((clock() - start) * 1000 / images)
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
    """A re-iterable of many groups made from a few, confidences scaled by another factor each time."""

    def __init__(self, groups: list[Group], count: int) -> None:
        self._groups, self._count = groups, count

    def __iter__(self) -> Iterator[Group]:
        for index in range(self._count):
            confidence, prediction = self._groups[index % len(self._groups)]
            yield (confidence * (1 - index % 97 / 1000)).clamp_(min=1 / 16), prediction


def consume(selections: Iterator[object]) -> None:
    """Run a selection without keeping anything of it."""
    for _ in selections:
        pass


def row(what: str, taken: list[float], note: str = "") -> str:
    """A line of the table: median and range."""
    return f"| {what} | {statistics.median(taken):.2f} | {min(taken):.2f} to {max(taken):.2f} | {note} |"


def measure_cpu(arguments: argparse.Namespace) -> None:
    """All rules side by side, then their memory and that of ClassBalanced."""
    size = (arguments.group, arguments.classes, arguments.height, arguments.width)
    groups = [draw_group(seed, *size) for seed in range(2)]
    policy = InstanceAdaptive(arguments.classes)
    check_equality(groups, policy)
    rules: dict[str, tuple[Callable[[], Iterator[object]], int]] = {
        "lists of float16, numpy.quantile, look-up per pixel": (
            lambda: instance_adaptive_with_lists(groups, policy),
            1,
        ),
        "arrays of float16, numpy.quantile, look-up by index": (
            lambda: instance_adaptive_with_arrays(groups, policy),
            3,
        ),
        "hiast.pseudo_labels.select": (lambda: select(groups, policy), 3),
    }
    images = len(groups) * arguments.group
    taken: dict[str, list[float]] = {name: [] for name in rules}
    # Alternating, so that all meet the same disturbances of the machine.
    for _ in range(arguments.repeats):
        for name, (rule, repeats) in rules.items():
            taken[name] += milliseconds(lambda rule=rule: consume(rule()), repeats, images)
    ours = statistics.median(taken["hiast.pseudo_labels.select"])
    print("| selection, equal bit for bit | ms per image, median | range | times select |\n|---|---|---|---|")
    for name, times in taken.items():
        print(row(name, times, f"{statistics.median(times) / ours:.1f}"))
    work = {name: (images, lambda rule=rule: consume(rule())) for name, (rule, _) in rules.items()}
    measure_memory(work | balanced_work(groups, arguments))


def balanced_work(
    groups: list[Group], arguments: argparse.Namespace
) -> dict[str, tuple[int, Callable[[], None]]]:
    """ClassBalanced over a tenth of the images and over all: name -> images, work."""
    balanced = ClassBalanced(arguments.classes)
    work = {}
    for name, images in (
        ("ClassBalanced, a tenth", arguments.images // 10),
        ("ClassBalanced", arguments.images),
    ):
        count = max(1, images // arguments.group)
        many = Repeated(groups, count)
        work[name] = count * arguments.group, lambda many=many: consume(select(many, balanced))
    return work


def measure_memory(work: dict[str, tuple[int, Callable[[], None]]]) -> None:
    """Print how much memory each piece of work needs for its images."""
    print("\n| peak extra memory | images | MiB | ms per image |\n|---|---|---|---|")
    for name, (images, do) in work.items():
        start = time.process_time()
        peak = peak_mebibytes(do)
        taken = (time.process_time() - start) * 1000 / images
        print(f"| {name} | {images} | {peak:.0f} | {taken:.1f} |")


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
    network_taken = milliseconds(forward, arguments.repeats * 5, arguments.group, synchronize=True)
    taken = milliseconds(
        lambda: consume(select([group], policy)), arguments.repeats * 5, arguments.group, synchronize=True
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
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
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
        f"{model}, {arguments.threads} thread(s){device}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}; {arguments.classes} x {arguments.height} x "
        f"{arguments.width}, groups of {arguments.group}.\n"
    )
    measure_gpu(arguments) if arguments.device == "cuda" else measure_cpu(arguments)


if __name__ == "__main__":
    main()
