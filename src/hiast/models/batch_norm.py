"""Statistics of batch normalization estimated anew on another domain."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hiast.errors import InputError


@torch.no_grad()
def reestimate_bn_stats(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by the mean over batches of a domain; nothing else of the network changes.

    Source: adaptive batch normalization, Li et al. 2016. Every batch counts the same; no label is needed.

    Args:
        network: Changed in place; a network without batch normalization is left as it is.
        batches: Normalized images float [B, 3, H, W].

    Raises:
        InputError: There is no batch.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    modes = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.training = True
    count = 0
    for count, images in enumerate(batches, 1):  # noqa: B007
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, training in modes:
        module.training = training
    if not count:
        raise InputError("Statistics cannot be estimated without images.")
