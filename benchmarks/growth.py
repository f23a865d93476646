#!/usr/bin/env python3
"""Measure how costs grow: with image size, classes, target images and processes; print points and fitted exponents.

    python benchmarks/growth.py                      # all four, some minutes on one core
    python benchmarks/growth.py --parts images --images 10000 100000 1000000

    size       loss of self-training with its gradient, and selection, against the pixels of an image, C = 19
    classes    the same against the number of classes, at 256 x 512
    images     a labeling whose labels are never written: journal, resume, tables, manifest, reading back; and the
               listing of empty files (--listed)
    ranks      gradient exchange and exchange of histograms between processes (gloo) on this machine

An exponent of 1 means that twice as much costs twice as much. It is the slope of a straight line through the logarithms
of the points that are at least a tenth of the largest, so that fixed costs do not count. Times are processor seconds of
one thread, unless a column says otherwise. "images" leaves out the wait for the disk after each group (fsync), which is
measured alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from hiast.data.io.listing import Pair
from hiast.inspection.estimate import readable
from hiast.objectives import HIASTLoss
from hiast.pseudo_labels import InstanceAdaptive, select
from hiast.pseudo_labels.journal import GroupRecord, LabelRecord
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.pseudo_labels.round_writer import RoundWriter
from hiast.run.allocator import allocator
from hiast.run.hardware import processor
from hiast.upsampling import Upsampling

CLASSES = (2, 4, 9, 19, 40, 80, 150)
SIZES = ((64, 128), (128, 256), (256, 512), (512, 1024), (768, 1536), (1024, 2048))


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Slope of log y over log x for the points from a tenth of the largest x on; NaN for fewer than two."""
    points = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True) if x >= max(xs) / 10 and y > 0]
    if len(points) < 2:
        return math.nan
    middle = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    spread = sum((x - middle[0]) ** 2 for x, _ in points)
    return sum((x - middle[0]) * (y - middle[1]) for x, y in points) / spread


def seconds(run: Callable[[], Any], times: int = 3) -> float:
    """Median processor time of a call, after one to warm up."""
    run()
    found = []
    for _ in range(times):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return statistics.median(found)


def loss(classes: int, height: int, width: int) -> Callable[[], None]:
    """Loss and gradient of one image from logits of an eighth of its size."""
    student = torch.randn(1, classes, height // 8 + 1, width // 8 + 1).mul(3).requires_grad_()
    teacher = torch.randn_like(student).mul(3)
    label = torch.randint(classes, (1, height, width)).to(torch.uint8)
    label[:, ::2] = 255
    terms = HIASTLoss(kld=0.1, entropy=1.0, consistency=0.5)
    upsampling = Upsampling.to((height, width), align_corners=True)

    def run() -> None:
        student.grad = None
        terms.from_coarse(student, label, teacher, upsampling)["total"].backward()

    return run


def selection(classes: int, height: int, width: int) -> Callable[[], None]:
    """Selection of one group of two images."""
    confidence, prediction = torch.rand(2, height, width), torch.randint(classes, (2, height, width))

    def run() -> None:
        for _ in select([(confidence, prediction)], InstanceAdaptive(num_classes=classes)):
            pass

    return run


def table(title: str, xs: Sequence[float], rows: dict[str, Sequence[float]], unit: float = 1e3) -> None:
    """Print points and exponents as Markdown."""
    print(f"\n| {title} | " + " | ".join(f"{x:,.0f}" for x in xs) + " | exponent |")
    print("|---|" + "---:|" * (len(xs) + 1))
    for name, ys in rows.items():
        shown = " | ".join(f"{unit * y:.3g}" for y in ys)
        print(f"| {name} | {shown} | {exponent(xs, ys):.2f} |", flush=True)


def of_size(_: argparse.Namespace) -> None:
    """Cost against pixels."""
    pixels = [height * width for height, width in SIZES]
    rows = {
        "loss and gradient, ms": [seconds(loss(19, *size)) for size in SIZES],
        "selection of two images, ms": [seconds(selection(19, *size)) for size in SIZES],
    }
    table("pixels of an image", pixels, rows)


def of_classes(_: argparse.Namespace) -> None:
    """Cost against classes."""
    rows = {
        "loss and gradient, ms": [seconds(loss(count, 256, 512)) for count in CLASSES],
        "selection of two images, ms": [seconds(selection(count, 256, 512)) for count in CLASSES],
    }
    table("classes", CLASSES, rows)


def group(first: int, names: Sequence[str]) -> GroupRecord:
    """The record of a group of two images of 19 classes, with numbers as long as real ones."""
    pixels = tuple(1000 * place + first % 997 for place in range(19))
    sums = tuple(count * 0.913845601 for count in pixels)
    digest = f"{first:064x}"
    labels = tuple(LabelRecord(name, digest, (768, 1536), pixels, sums, (400_000, 500_000)) for name in names)
    return GroupRecord(tuple(0.9 + place / 1000 for place in range(19)), labels)


def simulate(count: int) -> dict[str, float]:
    """Label ``count`` images without pictures; run in a separate process to measure its memory."""
    names = [f"city_{index // 10_000:03d}/{index:07d}" for index in range(count)]
    identity = {"names": names, "order": list(range(count)), "label_size": [768, 1536], "num_classes": 19}
    found: dict[str, float] = {}

    def timed(key: str, run: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = run()
        found[key] = time.process_time() - began
        return result

    trusting = mock.patch.object(RoundWriter, "_is_whole", lambda self, record: True)
    no_wait = mock.patch("hiast.pseudo_labels.journal.os.fsync", lambda number: None)
    with tempfile.TemporaryDirectory() as place, trusting, no_wait:
        folder = Path(place) / "round"

        def write() -> None:
            with RoundWriter(folder, identity) as writer:
                for first in range(0, count, 2):
                    writer.journal.append(group(first, names[first : first + 2]))

        def resume() -> None:
            RoundWriter(folder, identity).close()

        def finish() -> None:
            with RoundWriter(folder, identity) as writer:
                found["journal_bytes"] = float(writer.journal.path.stat().st_size)
                writer.finish()

        timed("write", write)
        timed("resume", resume)
        timed("finish", finish)
        timed("read", lambda: RoundReader(folder))
        found["disk_bytes"] = float(sum(path.stat().st_size for path in folder.iterdir()))
        found["manifest_bytes"] = float((folder / "manifest.json").stat().st_size)
    found["memory_bytes"] = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def listing(count: int) -> dict[str, float]:
    """List a folder of empty images; names alone are looked at."""
    with tempfile.TemporaryDirectory() as place:
        for index in range(count):
            folder = Path(place) / f"{index // 10_000:03d}"
            if index % 10_000 == 0:
                folder.mkdir()
            (folder / f"{index:07d}.png").touch()
        began, clock = time.process_time(), time.perf_counter()
        files = sorted(path for path in Path(place).rglob("*.png"))
        pairs = [Pair(path.relative_to(place).with_suffix("").as_posix(), path, None) for path in files]
        assert len(pairs) == count
        return {"list": time.process_time() - began, "list_wall": time.perf_counter() - clock}


def of_images(options: argparse.Namespace) -> None:
    """Cost against target images."""
    found = [_apart("simulate", count) for count in options.images]
    rows = {
        f"{name}, s": [one[key] for one in found]
        for key, name in (
            ("write", "record all groups"), ("resume", "resume after the last group"),
            ("finish", "tables and manifest"), ("read", "read the round"),
        )
    }  # fmt: skip
    table("target images", options.images, rows, unit=1)
    sizes = {
        "peak memory, MB": "memory_bytes", "journal, MB": "journal_bytes", "manifest, MB": "manifest_bytes",
        "tables and manifest, MB": "disk_bytes",
    }  # fmt: skip
    held = {name: [one[key] for one in found] for name, key in sizes.items()}
    table("target images", options.images, held, unit=1e-6)
    listed = [_apart("listing", count) for count in options.listed]
    table("listed files", options.listed, {"list, s": [one["list"] for one in listed]}, unit=1)
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        waits = []
        for _ in range(50):
            file.write(b"x" * 1200)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            waits.append(time.perf_counter() - began)
    print(
        f"\nWait for the disk after a group (fsync, by the clock): median {1e3 * statistics.median(waits):.2f} ms."
    )


def _apart(name: str, count: int) -> dict[str, float]:
    """Run a function of this file in a separate process."""
    program = f"import json, growth; print(json.dumps(growth.{name}({count})))"
    environment = os.environ | {
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    }
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def of_ranks(options: argparse.Namespace) -> None:
    """Cost of the exchanges between processes."""
    import torch.multiprocessing as mp

    rows: dict[str, list[float]] = {}
    for ranks in options.ranks:
        with tempfile.TemporaryDirectory() as place:
            mp.spawn(rank_work, (ranks, place), nprocs=ranks)
            for text in (Path(place) / "found").read_text().splitlines():
                name, value = text.split("\t")
                rows.setdefault(name, []).append(float(value))
    print("\nBy the clock; all ranks share the cores of this machine.")
    table("processes", options.ranks, rows)


def rank_work(rank: int, ranks: int, place: str) -> None:
    """What one process measures; rank zero writes it down."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=ranks)
    first, second = nn.Conv2d(3, 64, 3, 2, 1), nn.Conv2d(64, 64, 3, 2, 1)
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(64, 19, 1))
    model: nn.Module = nn.parallel.DistributedDataParallel(network) if ranks > 1 else network
    images, gradients = torch.randn(1, 3, 128, 256), torch.randn(3_500_000)
    histogram = torch.zeros(19, 5121, dtype=torch.int32)

    def step() -> None:
        model(images).mean().backward()

    def exchange() -> None:
        if ranks > 1:
            dist.all_reduce(gradients)

    def gather() -> None:
        if ranks > 1:
            dist.all_gather([torch.empty_like(histogram) for _ in range(ranks)], histogram)

    lines = []
    names = {
        "step of a small network, ms": step, "sum of 3.5 M gradients, ms": exchange, "histograms of a turn, ms": gather,
    }  # fmt: skip
    for name, run in names.items():
        run()
        dist.barrier()
        began = time.perf_counter()
        for _ in range(5):
            run()
        dist.barrier()
        lines.append(f"{name}\t{(time.perf_counter() - began) / 5}")
    if rank == 0:
        (Path(place) / "found").write_text("\n".join(lines))
    dist.destroy_process_group()


PARTS = {"size": of_size, "classes": of_classes, "images": of_images, "ranks": of_ranks}


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--listed", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    memory = readable(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    machine = f"{processor()}, {os.cpu_count()} cores, {memory}"
    print(f"{time.strftime('%Y-%m-%d')}, {machine}, torch {torch.__version__},")
    print(f"{allocator()}, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}")
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
