"""Hashes of weights, by which equal networks are recognized."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""Names of the buffers that hold the running statistics of batch normalization."""


def weights_hash(network: nn.Module, *, running: bool = True) -> str:
    """SHA-256 of a network's parameters and buffers, in the order of its state dict.

    Args:
        network: The network, on any device.
        running: Whether the running statistics of batch normalization count.
    """
    digest = hashlib.sha256()
    for key, value in network.state_dict().items():
        if running or key.rpartition(".")[2] not in RUNNING:
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
