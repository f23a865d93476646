"""Labeling a whole data set into a round directory: streaming, overlapped, distributed, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np

from hiast.errors import InputError
from hiast.pseudo_labels.collectives import Communicator, SingleProcess
from hiast.pseudo_labels.labeler import Progress, RoundLabeler
from hiast.pseudo_labels.policies import Policy
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.pseudo_labels.workers import LabelingSettings, LabelPipeline, Predict, ReadImage, Size, Unreadable


def generate_round(
    *,
    directory: Path | str,
    names: Sequence[str],
    read_image: ReadImage,
    predict: Predict,
    policy: Policy,
    size: Size | None,
    label_size: Literal["network", "image"] = "network",
    group_size: int = 2,
    seed: int | Sequence[int] | None = 0,
    identity: Mapping[str, object] | None = None,
    previous: Path | str | None = None,
    unreadable: Unreadable = "stop",
    communicator: Communicator | None = None,
    overwrite: bool = False,
    keep_finished: bool = False,
    readers: int = 4,
    writers: int = 2,
    progress: Progress | None = None,
) -> RoundReader:
    """Label every image, or resume an interrupted call, and return the complete round.

    The result, byte for byte, depends on the images, the network's output for each group and the arguments up to
    ``previous``; not on the number of processes, nor on interruptions. Per image, memory grows by its name and its
    record alone. ClassBalanced runs the network over all images twice.

    Several processes call this with equal arguments and one shared ``directory``. The groups are dealt out in turns of
    one group per process. For a turn of InstanceAdaptive, and of ClassBalanced's first pass, each process receives
    world_size histograms of 4 * C * 5121 bytes (C <= 32), which is 389 kB per group of 19 classes. A process that
    fails makes the others fail with its message.

    Args:
        directory: Folder of the round.
        names: Unique name of each image, a relative path with "/".
        read_image: Index into ``names`` -> RGB uint8 [H, W, 3]; called in several threads.
        predict: Images uint8 [b, 3, h, w] on the CPU -> confidence float [b, h, w], the largest class probability,
            and prediction int [b, h, w]; called without gradients, in one thread other than the caller's.
        policy: Decides the thresholds.
        size: (h, w) at which the network sees the images; they are resized, bilinear. None: each keeps its own size,
            and the images of a group must be of one size.
        label_size: "network": label maps are stored at ``size``. "image": at the size of each image, resized by
            nearest neighbor; statistics still count pixels at ``size``.
        group_size: Images that go through the network together and share one step of the thresholds (published 2).
        seed: Seed of the order of the images; None keeps the order of ``names``.
        identity: What else determines the result, as JSON-able values: hash of the weights, scales, configuration.
            It is recorded, and a round of another identity is not resumed.
        previous: Folder of an earlier complete round, to measure the overlap with.
        unreadable: "stop": an image for which ``read_image`` raises InputError stops the call. "skip": it is left
            out and listed in the manifest. An interrupted round can be resumed with the other choice.
        communicator: The processes that label together; None: this one alone.
        overwrite: Discard a round of another identity in ``directory``.
        keep_finished: Resume although images have gone or come since; see ``RoundWriter``.
        readers: Threads that read images.
        writers: Threads that select, encode and write labels.
        progress: Called on rank zero with the number of images done and to do, both counted twice if the network
            goes over them twice. An error that it raises stops the call, which can be resumed.

    Raises:
        InputError: Arguments, images or the network's output do not fit, or ``directory`` holds something else.
        OSError: A file cannot be read or written. Finished groups are kept; the same call resumes after them.
        RunError: Another process failed.
    """
    communicator = communicator or SingleProcess()
    earlier = None if previous is None else RoundReader(previous)
    settings = LabelingSettings(policy.num_classes, size, label_size == "image", unreadable, earlier)
    extra = dict(identity or {}) | ({} if earlier is None else {"compared_with": earlier.fingerprint})
    with ExitStack() as stack:
        labeler = RoundLabeler(
            Path(directory),
            round_identity(names, policy, settings, group_size, seed, extra),
            policy,
            communicator,
            progress=progress,
            overwrite=overwrite,
            keep_finished=keep_finished,
        )
        if labeler.open(stack):
            pipeline = LabelPipeline(read_image, predict, settings, readers, writers)
            labeler.run(stack.enter_context(pipeline), ahead=2, behind=writers)
            labeler.finish()
    return RoundReader(directory)


def round_identity(
    names: Sequence[str],
    policy: Policy,
    settings: LabelingSettings,
    group_size: int,
    seed: int | Sequence[int] | None,
    extra: Mapping[str, object],
) -> dict[str, object]:
    """All that determines the labels of a round, as it is recorded.

    Raises:
        InputError: There is nothing to label, or ``extra`` holds a key that is not its own.
    """
    size = settings.network_size
    if not names or group_size < 1 or (size is not None and min(size) < 1):
        raise InputError(
            f"There is nothing to label: {len(names)} images of size {size} in groups of {group_size}."
        )
    count = len(names)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    own: dict[str, object] = {
        "names": list(names),
        "label_size": "image" if settings.at_image_size or size is None else list(size),
        "num_classes": policy.num_classes,
        "policy": policy.to_dict(),
        "group_size": group_size,
        "seed": seed if seed is None or isinstance(seed, int) else list(seed),
        "order": order.tolist(),
    }
    if own["label_size"] == "image":
        own["network_size"] = "image" if size is None else list(size)
    if own.keys() & extra.keys():
        raise InputError(f"The identity must not hold {', '.join(sorted(own.keys() & extra.keys()))}.")
    return own | dict(extra)
