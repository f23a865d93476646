"""What one image costs in a network, counted without memory; and how fast this machine computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PASSES_OVER_MEMORY = 3.0
"""How often a byte that is kept for the backward pass is read or written in a training step: fitted, see
docs/reference/performance.md."""
_SECONDS, _TIMES = 0.02, 3
"""Of each probe, and how often it is repeated at least."""


@dataclass(frozen=True)
class PassCost:
    """One image through a network in training.

    Attributes:
        flops: Floating point operations of the forward pass; a multiplication and an addition are two.
        saved: Bytes that are kept for the backward pass.
    """

    flops: float
    saved: float


@dataclass(frozen=True)
class Rates:
    """What a device reaches in simple loops.

    Attributes:
        flops: Floating point operations per second in a convolution.
        bytes: Bytes per second read and written by an elementwise operation.
    """

    flops: float
    bytes: float

    def seconds(self, flops: float, moved: float) -> float:
        """Time of so many operations and bytes that are moved, one after the other."""
        return flops / self.flops + moved / self.bytes


def pass_cost(
    network: nn.Module, size: tuple[int, int], *, half: bool, training: bool = True
) -> PassCost | None:
    """Cost of one image, found by sending the shapes of two images through the network.

    Args:
        network: Network on any device; it is left as it is.
        size: (height, width) of the image.
        half: Whether activations are kept in 16 bits, as in mixed precision. Copies of the weights in 16 bits count as
            saved then.
        training: Mode in which the network is tried; False: nothing is saved.

    Returns:
        None where the network cannot be tried without values.
    """
    dtype = torch.bfloat16 if half else torch.float32
    values = {
        name: _on_meta(tensor, dtype)
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]
    }
    images = torch.empty(2, 3, *size, device="meta", dtype=dtype)
    saved: dict[int, Tensor] = {}
    weights = {value.untyped_storage()._cdata for value in values.values()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = tensor
        return tensor

    was_training = network.training
    network.train(training)
    try:
        with (
            torch.set_grad_enabled(training),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            FlopCounterMode(display=False) as counter,
        ):
            result = torch.func.functional_call(network, values, (images,))
        del result
    except (NotImplementedError, RuntimeError, ValueError, TypeError):
        return None  # A layer that looks at values, or at the type of its input.
    finally:
        network.train(was_training)
    copies = sum(2 * parameter.numel() for parameter in network.parameters()) if half and training else 0
    total = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    return PassCost(counter.get_total_flops() / 2, total / 2 + copies)


def rates(device: torch.device, half: bool) -> Rates:
    """Measure a device for about a tenth of a second.

    Args:
        device: Where the network will run.
        half: Whether to compute in bfloat16 (float16 on accelerators without it), else in float32.
    """
    on_cpu = device.type == "cpu"
    dtype = torch.float32 if not half else torch.bfloat16
    if half and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        dtype = torch.float16
    channels, side, batch = (64, 48, 1) if on_cpu else (256, 128, 4)
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    block = torch.zeros(2**23 if on_cpu else 2**26, device=device)  # larger than the caches
    with torch.no_grad():
        convolution = _fastest(lambda: layer(images), device)
        addition = _fastest(lambda: block.add_(1.0), device)
    return Rates(2.0 * 9 * channels**2 * side**2 * batch / convolution, 2.0 * 4 * block.numel() / addition)


def synchronize(device: torch.device) -> None:
    """Wait until all queued work of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _fastest(action: Callable[[], Any], device: torch.device) -> float:
    """Shortest time of a call, in seconds."""
    action()
    synchronize(device)
    # One thread alone is timed by the processor's clock: other jobs of the machine come and go.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    best, began, times = float("inf"), clock(), 0
    while clock() - began < _SECONDS or times < _TIMES:
        start = clock()
        action()
        synchronize(device)
        best, times = min(best, clock() - start), times + 1
    return best


def _on_meta(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    made = torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else None)
    return made.requires_grad_(isinstance(tensor, nn.Parameter) and tensor.requires_grad)
