"""QuickShapes against PyTorch's own rules of the meta device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiast.models.meta import QuickShapes

ACTIVATIONS = [nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Hardswish]
LAYERS: dict[str, Callable[[Tensor], object]] = {
    "layer norm": lambda x: F.layer_norm(x, [6], torch.ones(6, device="meta", dtype=x.dtype)),
    "layer norm of two axes": lambda x: F.layer_norm(x, [5, 6]),
    "layer norm that does not fit": lambda x: F.layer_norm(x, [4]),
    "clamp": lambda x: x.clamp(0, 1),
    "same shapes": lambda x: x + 2 * x * x,
    "other shapes": lambda x: x + x[:, :1],
    "other types": lambda x: x * x.double(),
    "a number": lambda x: x + 1.5,
    "batch norm that does not fit": lambda x: F.batch_norm(
        x, *torch.ones(2, 3, device="meta", dtype=x.dtype)
    ),
    "resized": lambda x: F.interpolate(x, (7, 9), mode="bilinear"),
    "resized by a factor": lambda x: F.interpolate(x, scale_factor=2.5, mode="bilinear", align_corners=True),
    **{
        f"{kind.__name__}{' in place' if in_place else ''}": kind(inplace=True) if in_place else kind()
        for kind in ACTIVATIONS
        for in_place in ([False] if kind in (nn.GELU, nn.Sigmoid) else [False, True])
    },
    **{
        f"batch norm {'in training' if training else 'in validation'}": lambda x, training=training: (
            torch.native_batch_norm(x, *torch.ones(4, 4, device="meta", dtype=x.dtype), training, 0.1, 1e-5)
        )
        for training in (True, False)
    },
}


def described(layer: Callable[[Tensor], object], x: Tensor, *, quick: bool) -> object:
    try:
        with QuickShapes() if quick else contextlib.nullcontext():
            result = layer(x)
    except (RuntimeError, ValueError) as error:
        return type(error), str(error)
    results = result if isinstance(result, tuple) else (result,)
    return [(r.shape, r.dtype, r.device.type, r is x) for r in results if isinstance(r, Tensor)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LAYERS)
def test_as_pytorch_says(name: str, dtype: torch.dtype):
    x = torch.empty(2, 4, 5, 6, device="meta", dtype=dtype)
    expected = described(LAYERS[name], x, quick=False)
    assert expected
    assert described(LAYERS[name], x, quick=True) == expected


def test_nothing_is_left():
    with QuickShapes(), pytest.raises(RuntimeError, match="sizes should be greater than 0"):
        F.interpolate(torch.empty(1, 2, 4, 4, device="meta"), (0, 9), mode="bilinear")


def test_gradients_have_their_shapes():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Upsample((9, 9), mode="bilinear")
    )
    network.to("meta")
    with QuickShapes():
        network(torch.empty(2, 3, 8, 8, device="meta")).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in network.parameters())


def test_other_devices_compute():
    x = torch.arange(-3.0, 3).view(1, 1, 2, 3)
    with QuickShapes():
        assert torch.equal(F.relu(x) + x, x.clamp(min=0) + x)
