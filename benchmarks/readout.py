#!/usr/bin/env python3
"""Measure what follows the network in validation and in labeling, from its coarse logits on.

    one after the other   interpolation to the network's size, then to the labels', softmax, argmax, entropy, counts:
                          predict_probabilities as it is, and counting by an index table for each pixel
    one pass              hiast.evaluation's read-out in blocks of rows, and counts by a table of 256 x 256

Labels must be equal in all but one of a million pixels, entropy to 1e-6, counts exactly where labels are; that is
checked first. The forms take turns; the median of the processor's time (on a GPU of wall time with a
synchronization) counts. Extra memory is the highest resident size above that before, measured on a CPU.

    python benchmarks/readout.py
    python benchmarks/readout.py --stride 8 --classes 9 --flip --sizes 512x1024 768x1536
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.evaluation import confusion_matrix, mean_entropy
from hiast.upsampling import Upsampling, View, read_out


class Outcome(NamedTuple):
    """Labels, confidence, mean entropy and counts of one image."""

    labels: Tensor
    confidence: Tensor
    entropy: Tensor
    matrix: Tensor


def draw_views(options: argparse.Namespace) -> list[View]:
    """Coarse logits with smooth regions for each size, and for its mirror image."""
    generator = torch.Generator().manual_seed(0)
    views = []
    for height, width in options.sizes:
        side = (height // options.stride, width // options.stride)
        regions = 3 * torch.randn(1, options.classes, side[0] // 8, side[1] // 8, generator=generator)
        smooth = F.interpolate(regions, side, mode="bilinear", align_corners=True)
        logits = (smooth + 0.5 * torch.randn(smooth.shape, generator=generator)).to(options.device)
        logits = logits.contiguous(memory_format=torch.channels_last)
        upsampling = Upsampling.to((height, width)).then((options.height, options.width))
        views.append(View(logits, upsampling))
        if options.flip:
            views.append(View(logits.flip(-1), upsampling, mirrored=True))
    return views


def draw_labels(options: argparse.Namespace) -> Tensor:
    """A label map of regions, a tenth of it ignored."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, options.height // 16, options.width // 16)
    regions = torch.randint(options.classes, shape, generator=generator).to(torch.uint8)
    regions[torch.rand(shape, generator=generator) < 0.1] = 255
    full = regions.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return F.pad(full, (0, options.width - full.shape[2], 0, options.height - full.shape[1])).to(
        options.device
    )


def count_by_index(prediction: Tensor, label: Tensor, classes: int) -> Tensor:
    """Pairs counted by way of int64 indices."""
    rows = torch.full((256,), classes, dtype=torch.int64, device=label.device)
    rows[:classes] = torch.arange(classes, device=label.device)
    pairs = rows[label.flatten().long()].mul_(classes).add_(prediction.flatten())
    return torch.bincount(pairs, minlength=(classes + 1) * classes).view(-1, classes)[:classes]


def probabilities(views: list[View]) -> Tensor:
    """The mean of softmax maps at full size."""
    total: Tensor | None = None
    for logits, upsampling, mirrored in views:
        maps = Upsampling(upsampling.steps[:1])(logits)
        maps = maps.flip(-1) if mirrored else maps
        maps = Upsampling(upsampling.steps[1:])(maps).softmax(1)
        total = maps if total is None else total.add_(maps)
    assert total is not None
    return total.div_(len(views))


def one_after_the_other(views: list[View], labels: Tensor, classes: int) -> Outcome:
    """As before."""
    maps = probabilities(views)
    prediction = maps.argmax(1)
    return Outcome(prediction, maps.amax(1), mean_entropy(maps), count_by_index(prediction, labels, classes))


def one_pass(views: list[View], labels: Tensor, classes: int) -> Outcome:
    """As hiast does it."""
    found = read_out(views, entropy=True)
    assert found.entropy is not None
    matrix = confusion_matrix(found.labels, labels, classes)
    return Outcome(found.labels, found.confidence, found.entropy.mean(), matrix)


def check(found: Outcome, wanted: Outcome) -> str:
    """Stop unless both agree; returns how well."""
    different = int((found.labels != wanted.labels).sum())
    confidence = float((found.confidence - wanted.confidence).abs().max())
    entropy = float((found.entropy - wanted.entropy).abs())
    moved = int((found.matrix - wanted.matrix).abs().sum())
    if different > found.labels.numel() / 1e6 or moved > 2 * different or max(confidence, entropy) > 1e-4:
        raise SystemExit(f"{different} labels, confidence by {confidence}, entropy by {entropy} differ.")
    return f"{different} labels differ, confidence by {confidence:.0e}, entropy by {entropy:.0e}"


def milliseconds(call: Callable[[], object], device: str) -> float:
    """Of one call."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    start = clock()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (clock() - start)


def extra_memory(call: Callable[[], object]) -> float:
    """MiB above the resident size before the call, of which the first is left out."""
    call()
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _resident(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) / 1024


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("classes", 19), ("height", 1024), ("width", 2048), ("stride", 4), ("repeats", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--sizes", nargs="+", default=["768x1536"], help="HEIGHTxWIDTH in the network")
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    options.sizes = [tuple(int(side) for side in size.split("x")) for size in options.sizes]
    return options


def main() -> None:
    """Measure and print a table."""
    options = parse()
    torch.set_num_threads(options.threads)
    views, labels = draw_views(options), draw_labels(options)
    prediction = read_out(views).labels
    wide = prediction.long()
    forms: dict[str, list[Callable[[], object]]] = {
        "all": [
            lambda: one_after_the_other(views, labels, options.classes),
            lambda: one_pass(views, labels, options.classes),
        ],
        "labels and confidence": [lambda: probabilities(views).max(1), lambda: read_out(views)],
        "counts": [
            lambda: count_by_index(wide, labels, options.classes),
            lambda: confusion_matrix(prediction, labels, options.classes),
        ],
    }
    agreement = check(*(form() for form in reversed(forms["all"])))  # type: ignore[arg-type]
    print(
        f"{options.height} x {options.width}, {options.classes} classes, {len(views)} views at {options.sizes}, "
    )
    print(f"stride {options.stride}; {agreement}; torch {torch.__version__}, {platform.machine()}, ")
    print(f"{options.threads} threads, load {os.getloadavg()[0]:.1f}, allocator ", end="")
    print("tuned" if os.environ.get("MALLOC_MMAP_MAX_") == "0" else "default")
    print(
        "\n| part | one after the other, ms | one pass, ms | x | MiB | MiB |\n|---|---:|---:|---:|---:|---:|"
    )
    for part, both in forms.items():
        times: list[list[float]] = [[], []]
        for _ in range(options.repeats):
            for form, found in zip(both, times, strict=True):
                found.append(milliseconds(form, options.device))
        before, now = (statistics.median(found) for found in times)
        memory = [f"{extra_memory(form):.0f}" if options.device == "cpu" else "" for form in reversed(both)]
        print(f"| {part} | {before:.1f} | {now:.1f} | {before / now:.1f} | {memory[1]} | {memory[0]} |")


if __name__ == "__main__":
    main()
