"""Batch normalization: freezing it, keeping or re-estimating its running statistics, synchronizing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hiast.errors import InputError

if TYPE_CHECKING:
    from hiast.models.network import SegmentationNetwork

BatchNormMode = Literal["none", "affine", "full"]


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """All batch normalization layers of ``network``."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))


def freeze_batch_norm(network: SegmentationNetwork, mode: BatchNormMode = "affine") -> None:
    """Freeze the batch normalization of ``network``; every call replaces what an earlier one set.

    Args:
        network: Network to change in place.
        mode: ``"affine"`` (published, from the warm-up on): weight and bias get no gradient, while batch
            statistics are used in training and running statistics still move. ``"full"``: running statistics
            are fixed too and used in training, whatever ``train()`` is called with. ``"none"``: nothing is
            frozen.

    Raises:
        InputError: ``mode`` is none of these.
    """
    if mode not in get_args(BatchNormMode):
        raise InputError(
            f"Batch norm mode {mode!r} does not exist; choose {', '.join(get_args(BatchNormMode))}."
        )
    network.batch_norm = mode
    for norm in batch_norms(network):
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(mode == "none")
    network.train(network.training)


@contextmanager
def frozen_running_stats(network: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are within this context; training mode still uses batch statistics."""
    momenta = [(norm, norm.momentum) for norm in batch_norms(network)]
    for norm, _ in momenta:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum


def synchronize_batch_norm(network: nn.Module) -> nn.Module:
    """Replace batch normalization by one whose batch statistics span all processes.

    Encoders of timm fuse the activation into the normalization. The conversion of torch drops that activation
    silently, so the conversion of timm is used.
    """
    from timm.layers import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(network)
    return converted


@contextmanager
def explain_single_values(architecture: str) -> Iterator[None]:
    """Say in one sentence where batch statistics of a single value are asked for.

    Pyramid and image pooling shrink an image to one value per channel, of which a batch of one has no variance.

    Args:
        architecture: Name for the message.

    Raises:
        InputError: torch refused to normalize a single value per channel.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"{architecture} shrinks an image to one value per channel, which batch normalization cannot normalize "
            f"in a batch of one image: train with at least two images per device (batch_size), with freeze_bn: full, "
            f"with larger crops, or with a decoder that does not pool (FPN, Unet, Segformer, DPT, DAFormer)."
        ) from error


@torch.no_grad()
def reestimate_bn_stats(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by the mean over batches of a domain; nothing else of the network changes.

    Every batch counts the same and no label is needed. Source: adaptive batch normalization, Li et al. 2016. It
    is ``torch.optim.swa_utils.update_bn``, but dropout stays off, and an error leaves the network as it was.

    Args:
        network: Network to change in place. Without batch normalization it is left as it is.
        batches: Normalized images float [B, 3, H, W].

    Raises:
        InputError: There is no batch.
    """
    images = iter(batches)
    first = next(images, None)
    if first is None:
        raise InputError("Batch norm statistics cannot be estimated without images.")
    norms = list(batch_norms(network))
    before = [[buffer.clone() for buffer in norm.buffers(recurse=False)] for norm in norms]
    try:
        with _estimating(network, norms):
            for count, batch in enumerate(chain([first], images), 1):
                for norm in norms:
                    # The plain mean over all batches. Momentum None means the same, but timm's layers then read their
                    # counter on the host, which waits for the device at every layer.
                    norm.momentum = 1.0 / count
                network(batch)
    except BaseException:
        for norm, buffers in zip(norms, before, strict=True):
            for buffer, value in zip(norm.buffers(recurse=False), buffers, strict=True):
                buffer.copy_(value)
        raise


@contextmanager
def _estimating(network: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    """Reset the running statistics; within this context they become the mean over the batches seen."""
    modes = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in norms]
    try:
        network.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.training = True
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Normalize by batch statistics within this context; running statistics do not move."""
    modes = [(norm, norm.training) for norm in batch_norms(network)]
    try:
        for norm, _ in modes:
            norm.training = True
        with frozen_running_stats(network):
            yield
    finally:
        for norm, training in modes:
            norm.training = training
