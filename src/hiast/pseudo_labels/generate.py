"""Labeling a whole data set into a round directory: streaming, overlapped, distributed, continued when interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from hiast.errors import InputError
from hiast.pseudo_labels.collectives import Processes, SingleProcess, agree
from hiast.pseudo_labels.labeler import RoundLabeler
from hiast.pseudo_labels.policies import Policy
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.pseudo_labels.workers import Predict, ReadImage, Stages

Progress = Callable[[int, int], None]


def generate_round(
    *,
    directory: Path | str,
    names: Sequence[str],
    read_image: ReadImage,
    predict: Predict,
    policy: Policy,
    size: tuple[int, int],
    group_size: int = 2,
    seed: int | Sequence[int] | None = 0,
    identity: Mapping[str, object] | None = None,
    processes: Processes | None = None,
    overwrite: bool = False,
    readers: int = 4,
    writers: int = 2,
    progress: Progress | None = None,
) -> RoundReader:
    """Label every image, or go on where an interrupted call stopped, and return the complete round.

    The result, byte for byte, depends on the images, the network's output for each group and the arguments up to
    ``identity``; not on the number of processes, nor on interruptions. Memory does not grow with the number of
    images. ClassBalanced runs the network over all images twice.

    Several processes call this with equal arguments and one shared ``directory``. The groups are dealt out in windows
    of one group per process. For an InstanceAdaptive window, and one of ClassBalanced's first pass, each process
    receives world_size histograms of 4 * C * 5121 bytes (C <= 32): for 19 classes 389 kB per group, so 195 kB per
    image in groups of two. Beside that, every process receives 8 * (4 + 2 * C) bytes per image of hashes and
    statistics. A process that fails makes the others fail.

    Args:
        directory: Folder of the round.
        names: Unique name of each image, a relative path with "/".
        read_image: Index into ``names`` -> RGB uint8 [H, W, 3]; called in several threads.
        predict: Images uint8 [b, 3, h, w] on the CPU -> confidence float [b, h, w], the largest class probability,
            and prediction int [b, h, w]; called in one thread other than the caller's, without gradients.
        policy: Decides the thresholds.
        size: (h, w) to label at; images of another size are resized, bilinear.
        group_size: Images that go through the network together and share one step of the thresholds (published 2).
        seed: Seed of the order of the images; None keeps the order of ``names``.
        identity: What else determines the result, as JSON: hash of the checkpoint, scales, config. It is recorded,
            and a round begun with another identity is not continued.
        processes: The processes that label together; None: this one alone.
        overwrite: Discard a round of another identity in ``directory``.
        readers: Threads that read images.
        writers: Threads that select, encode and write labels.
        progress: Called in process 0 with the number of images done and to do, both counted twice where the network
            goes over them twice. What it raises stops the call, which can be continued.

    Raises:
        InputError: Arguments, images or the network's output do not fit, or ``directory`` holds something else.
        OSError: A file cannot be read or written. What is complete stays; the same call goes on from there.
        RunError: Another process failed.
    """
    processes = processes or SingleProcess()
    plan = _plan(names, policy, size, group_size, seed, identity or {})
    with ExitStack() as stack:
        walk = RoundLabeler(Path(directory), plan, policy, processes, progress)
        if walk.begin(stack, overwrite):
            stages = Stages(read_image, predict, size, policy.num_classes, readers, writers)
            walk.go(stack.enter_context(stages), depth=2, lag=writers)
            agree(processes, walk.finish)
    return RoundReader(directory)


def _plan(
    names: Sequence[str],
    policy: Policy,
    size: tuple[int, int],
    group_size: int,
    seed: int | Sequence[int] | None,
    extra: Mapping[str, object],
) -> dict[str, object]:
    if not names or group_size < 1 or min(size) < 1:
        raise InputError(
            f"There is nothing to label: {len(names)} images of size {size} in groups of {group_size}."
        )
    count = len(names)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    own: dict[str, object] = {
        "names": list(names),
        "label_size": list(size),
        "num_classes": policy.num_classes,
        "policy": policy.to_dict(),
        "group_size": group_size,
        "seed": seed if seed is None or isinstance(seed, int) else list(seed),
        "order": order.tolist(),
    }
    if own.keys() & extra.keys():
        raise InputError(f"The identity must not hold {', '.join(sorted(own.keys() & extra.keys()))}.")
    return own | dict(extra)
