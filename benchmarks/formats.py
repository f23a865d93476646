"""Seconds of CPU and bytes per image of writing and reading each format, and the memory it takes.

    python benchmarks/formats.py [--images 4] [--height 1024] [--width 2048]

The label maps are drawn: 19 classes in blobs with ragged borders. A tenth of the pixels, in specks, is ignored.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hiast.classes import CITYSCAPES_19, IGNORED
from hiast.formats import (
    Item,
    open_annotations,
    write_cityscapes,
    write_coco,
    write_cvat,
    write_datumaro,
    write_fiftyone,
    write_label_studio,
    write_panoptic,
)

FORMS: dict[str, tuple[Callable[..., int], str, dict[str, Any]]] = {
    "cvat": (write_cvat, "cvat", {}),
    "datumaro": (partial(write_datumaro, images="leave"), "datumaro", {}),
    "label_studio": (partial(write_label_studio, model_version="m"), "label_studio", {"use": "predictions"}),
    "fiftyone": (write_fiftyone, "fiftyone", {}),
    "coco (rle)": (write_coco, "coco", {}),
    "coco (rle, per class)": (partial(write_coco, per="class"), "coco", {}),
    "coco (polygons)": (partial(write_coco, shapes="polygons"), "coco", {}),
    "panoptic": (write_panoptic, "panoptic", {}),
    "cityscapes_polygons": (write_cityscapes, "cityscapes_polygons", {}),
}


def label_map(seed: int, height: int, width: int) -> np.ndarray:
    """Label map uint8 [H, W]."""
    rng = np.random.default_rng(seed)
    rough = cv2.resize(
        rng.normal(size=(19, 12, 24)).transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_CUBIC
    )
    fine = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 2)
    rough[..., 0] += 3 * fine
    labels = rough.argmax(axis=2).astype(np.uint8)
    specks = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 3)
    labels[specks > np.quantile(specks, 0.9)] = IGNORED
    return labels


def main() -> None:
    """Print one line per format."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("images", 4), ("height", 1024), ("width", 2048)):
        parser.add_argument(f"--{option}", type=int, default=default)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    maps = {f"{seed}": label_map(seed, args.height, args.width) for seed in range(args.images)}

    def items() -> Iterator[Item]:
        for name, labels in maps.items():
            yield Item(name, labels, Path(f"/images/{name}.png"), np.full(labels.shape, 0.9, np.float32))

    for form, (write, name, options) in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            write(Path(folder) / "out", items(), CITYSCAPES_19)
            written = (time.process_time() - start) / args.images
            size = (
                sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / args.images
            )
            start = time.process_time()
            reader = open_annotations(name, Path(folder) / "out", CITYSCAPES_19.names, **options)
            for key, labels in maps.items():
                assert np.array_equal(reader.read(key), labels)
            read = (time.process_time() - start) / args.images
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{form:24} write {written:6.2f} s  read {read:6.2f} s  {size / 1e6:6.2f} MB  peak {peak:5.0f} MiB"
            )


if __name__ == "__main__":
    main()
