#!/usr/bin/env python3
"""Compare ways to store and read label maps, and ways to get the most probable class of logits.

    python benchmarks/label_maps.py [--size 768 1536] [--maps 4] [--repeats 15]

Label maps are drawn scenes: as they are, and with ignored pixels along edges and in blobs, as a policy leaves them.
Times are medians of processor time per map or image, in milliseconds, with one thread; the variants take turns.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import IGNORED
from hiast.pseudo_labels import top_class
from hiast.pseudo_labels.label_maps import decode_label, encode_label
from hiast.scenes import draw_scene

Label = NDArray[np.uint8]


def partly_ignored(label: Label, seed: int) -> Label:
    """A label map whose pixels are ignored near edges and in blobs."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        cv2.GaussianBlur(rng.standard_normal(label.shape).astype(np.float32), (0, 0), sigma)
        for sigma in (4, 1)
    )
    edges = cv2.GaussianBlur(cv2.Laplacian(label.astype(np.float32), cv2.CV_32F) ** 2, (0, 0), 6)
    doubt = 0.6 * coarse / coarse.std() + 0.15 * fine / fine.std() + np.minimum(edges, 3)
    return np.where(doubt > 0.9, np.uint8(IGNORED), label)


def medians(
    variants: dict[str, Callable[[Any], object]], inputs: dict[str, Sequence[Any]], repeats: int
) -> None:
    """Print the median time per input of each variant."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            start = time.process_time()
            for value in inputs[name]:
                run(value)
            times[name].append((time.process_time() - start) / len(inputs[name]))
    for name, values in times.items():
        print(f"| {name} | {1000 * sorted(values)[len(values) // 2]:.2f} |")


def compare_maps(title: str, labels: Sequence[Label], repeats: int) -> None:
    """Write and read the maps in several ways."""
    size = (labels[0].shape[0], labels[0].shape[1])
    png = [encode_label(label) for label in labels]
    zstd = [imagecodecs.zstd_encode(label.tobytes(), level=3) for label in labels]
    kilobytes = [sum(map(len, files)) / len(files) / 1000 for files in (png, zstd)]
    print(f"\n{title}: PNG {kilobytes[0]:.1f} kB, zstd {kilobytes[1]:.1f} kB\n\n| | ms |\n|---|---:|")
    variants: dict[str, Callable[[Any], object]] = {
        "write PNG": encode_label,
        "write zstd": lambda label: imagecodecs.zstd_encode(label.tobytes(), level=3),
        "read PNG, OpenCV": lambda file: cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED),
        "read PNG, Pillow": lambda file: np.asarray(Image.open(io.BytesIO(file))),
        "read PNG, libspng": imagecodecs.spng_decode,
        "read PNG, libdeflate (ours)": lambda file: decode_label(file, size),
        "read zstd": imagecodecs.zstd_decode,
    }
    inputs: dict[str, Sequence[Any]] = {
        name: labels if name.startswith("write") else zstd if "zstd" in name else png for name in variants
    }
    medians(variants, inputs, repeats)


def compare_confidences(size: tuple[int, int], repeats: int) -> None:
    """Get the most probable of 19 classes from logits that were upsampled by 8."""
    print("\nConfidence and prediction of an image, 19 classes\n\n| | ms |\n|---|---:|")
    coarse = torch.randn(1, 19, size[0] // 8, size[1] // 8, generator=torch.Generator().manual_seed(0)) * 4
    logits = {
        name: torch.nn.functional.interpolate(coarse.contiguous(memory_format=layout), size, mode="bilinear")
        for name, layout in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last))
    }
    variants: dict[str, Callable[[Any], object]] = {}
    inputs: dict[str, Sequence[Any]] = {}
    for layout, value in logits.items():
        expected, found = value.softmax(1).max(1), top_class(value)
        if not (torch.equal(expected[0], found[0]) and torch.equal(expected[1], found[1].long())):
            raise SystemExit("top_class differs from the full softmax.")
        for name, run in (
            ("softmax and max", lambda x: x.softmax(1).max(1)),
            ("top_class (ours)", top_class),
        ):
            variants[f"{layout}, {name}"] = run
            inputs[f"{layout}, {name}"] = [value]
    medians(variants, inputs, repeats)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=[768, 1536])
    parser.add_argument("--maps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    size = (arguments.size[0], arguments.size[1])
    print(f"{platform.machine()}, OpenCV {cv2.__version__}, imagecodecs {imagecodecs.__version__}, {size}")
    labels = [np.ascontiguousarray(draw_scene(seed, size)[1]) for seed in range(arguments.maps)]
    compare_maps("Drawn labels", labels, arguments.repeats)
    noisy = [partly_ignored(label, seed) for seed, label in enumerate(labels)]
    compare_maps("Partly ignored", noisy, arguments.repeats)
    compare_confidences(size, arguments.repeats)


if __name__ == "__main__":
    main()
