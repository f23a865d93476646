"""What one of several processes does with its share of each batch; started by test_online_thresholds.py."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from naive_online import predictions

from hiast.online import ClassBalanced, DistributionAlignment, InstanceAdaptive, RunningConfidence


def walk(share: slice):
    """Labels of this process and the state of everything that moves, after three batches of 4 images."""
    moving = {
        "batch": InstanceAdaptive(5),
        "image": InstanceAdaptive(5, per="image"),
        "balanced": ClassBalanced(5),
        "running": RunningConfidence(5),
        "aligned": DistributionAlignment(torch.ones(5)),
    }
    labels = {}
    for step in range(3):
        confidence, prediction = predictions(step, 5, (4, 6, 6))
        probabilities = torch.rand(4, 5, 2, 2, generator=torch.Generator().manual_seed(step)).softmax(1)
        for name in ("batch", "image", "balanced"):
            labels[name] = moving[name](confidence[share], prediction[share]).labels
        moving["running"].update(confidence[share], labels["image"])
        moving["aligned"](probabilities[share])
    return labels, {name: module.state_dict() for name, module in moving.items()}


def main():
    rank, store = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.save(walk(slice(2 * rank, 2 * rank + 2)), f"{store}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
