"""What every segmentation network offers to the stages, and how its batch normalization is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hiast.errors import InputError

BatchNormMode = Literal["none", "affine", "full"]

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class SegmentationNetwork(nn.Module):
    """Base of the networks: normalized images float [B,3,H,W] in, logits [B,C,H,W] at image size out.

    Attributes:
        num_classes: Classes C of the logits.
        mean: Mean of each RGB channel that the network expects to be subtracted, for images scaled to 0..1.
        std: Divisor of each RGB channel, likewise.
        batch_norm: How batch normalization is frozen, see :func:`freeze_batch_norm`.
    """

    num_classes: int
    mean: Triple
    std: Triple

    def __init__(self) -> None:
        super().__init__()
        self.batch_norm: BatchNormMode = "none"

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] of normalized ``images`` [B,3,H,W]."""
        raise NotImplementedError

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that start from ImageNet: the group with the base learning rate."""
        raise NotImplementedError

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that start from scratch: the group with ten times the base learning rate."""
        raise NotImplementedError

    @property
    def recipe(self) -> dict[str, Any]:
        """Plain values from which ``build_from_recipe`` makes the same architecture, without any weights."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> SegmentationNetwork:
        """Set the mode of all parts; fully frozen batch normalization stays in eval mode."""
        super().train(mode)
        if self.batch_norm == "full":
            for norm in _batch_norms(self):
                norm.eval()
        return self


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
    for norm in _batch_norms(network):
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(mode == "none")
    network.train(network.training)


@contextmanager
def frozen_running_stats(network: nn.Module) -> Iterator[None]:
    """Within this context batch normalization uses batch statistics in training, but its running ones do not move."""
    momenta = [(norm, norm.momentum) for norm in _batch_norms(network)]
    for norm, _ in momenta:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum


def synchronize_batch_norm(network: nn.Module) -> nn.Module:
    """Replace batch normalization by one whose batch statistics span all processes.

    Encoders of timm fuse the activation into the normalization; torch's own conversion drops it without a
    word, so theirs is used.
    """
    from timm.layers import convert_sync_batchnorm

    converted: nn.Module = convert_sync_batchnorm(network)
    return converted


def _batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in network.modules() if isinstance(module, _BatchNorm))
