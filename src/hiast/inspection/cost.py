"""What one image costs in a network, counted without memory; and how fast this machine computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hiast.models.meta import QuickShapes

PASSES_OVER_MEMORY = 3.0
"""How often a byte that is kept for the backward pass is read or written in a training step: fitted, see
docs/reference/performance.md."""
_SECONDS, _TIMES = 0.02, 3
"""Of each probe, and how often it is repeated at least."""
_PROBE_FLOPS = 3e9
"""Operations of a forward pass that are enough to time a network on a CPU: a tenth of a second on one core."""
_BLOCKS = 10
"""Layers of the probe for the time of an operation."""


@dataclass(frozen=True)
class PassCost:
    """One image through a network in training.

    Attributes:
        flops: Floating point operations of the forward pass; a multiplication and an addition are two.
        saved: Bytes that are kept for the backward pass.
        calls: Operations that the host issues for the forward pass of a batch, whatever its size.
    """

    flops: float
    saved: float
    calls: int = 0


@dataclass(frozen=True)
class Rates:
    """What a device reaches in simple loops.

    Attributes:
        flops: Floating point operations per second, in a convolution or in a network.
        bytes: Bytes per second read and written by an elementwise operation.
        call: Seconds that the host takes to issue an operation of a forward pass and those of its backward pass. A GPU
            waits for the host where images are small.
    """

    flops: float
    bytes: float
    call: float = 0.0

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
            QuickShapes(),  # Within the counter, which would take the layers apart.
            _CallCounter() as calls,
        ):
            result = torch.func.functional_call(network, values, (images,))
        del result
    except (NotImplementedError, RuntimeError, ValueError, TypeError):
        return None  # A layer that looks at values, or at the type of its input.
    finally:
        network.train(was_training)
    copies = sum(2 * parameter.numel() for parameter in network.parameters()) if half and training else 0
    total = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    return PassCost(counter.get_total_flops() / 2, total / 2 + copies, calls.count)


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
    flops, moved = 2.0 * 9 * channels**2 * side**2 * batch, 2.0 * 4 * block.numel()
    return Rates(flops / convolution, moved / addition, _call_seconds(device))


def network_flops(
    network: nn.Module, cost: PassCost, size: tuple[int, int], batch: int, *, half: bool
) -> float | None:
    """Operations per second of a network's own forward pass on the CPU.

    Layers differ: depthwise convolutions, normalization and activations reach a half to a fifth of what an ordinary
    convolution does. Small images reach less one by one than in a batch: threads share the work of a layer. As
    many images of the batch are tried as take about a tenth of a second, and a large image is made smaller first.

    Args:
        network: Network on the CPU; it is left as it is, and no random number is drawn.
        cost: Cost of an image of that size.
        size: (height, width) of its images.
        batch: Images that go through it at a time.
        half: Whether it runs in bfloat16.

    Returns:
        None where the network does not take a smaller size.
    """
    if not cost.flops:
        return None
    scale = min(1.0, (_PROBE_FLOPS / cost.flops) ** 0.5)
    height, width = (side if scale == 1 else max(64, round(scale * side / 32) * 32) for side in size)
    count = max(1, min(batch, int(_PROBE_FLOPS / cost.flops)))
    images = torch.full((count, 3, height, width), 0.5).contiguous(memory_format=torch.channels_last)
    was_training = network.training
    network.eval()
    try:
        # Not inference_mode: a layer may keep a tensor that training needs.
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            seconds = _fastest(lambda: network(images), torch.device("cpu"))
    except (RuntimeError, ValueError):
        return None  # A size that the network does not take.
    finally:
        network.train(was_training)
    return count * cost.flops * (height * width) / (size[0] * size[1]) / seconds


def synchronize(device: torch.device) -> None:
    """Wait until all queued work of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _call_seconds(device: torch.device) -> float:
    """Seconds of an operation on hardly any data, with its backward pass."""
    blocks = [
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(_BLOCKS)
    ]
    network = nn.Sequential(*blocks).to(device)
    images = torch.randn(1, 8, 4, 4, device=device)
    with _CallCounter() as counter:
        network(images)
    calls: int = counter.count
    return _fastest(lambda: network(images).sum().backward(), device) / calls


class _CallCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that are dispatched within its context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


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
