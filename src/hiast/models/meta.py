"""Networks without memory, on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


def create(make: Callable[[], nn.Module]) -> nn.Module:
    """What ``make`` returns, also on the meta device, where constructors that compute numbers fail."""
    try:
        return make()
    except RuntimeError as error:
        if "meta tensor" not in str(error):
            raise
    with torch.device("cpu"):
        return make().to("meta")


def timm_model(name: str, options: Mapping[str, Any]) -> nn.Module:
    """The whole model ``name`` of timm on the meta device, which has names and shapes but no weights."""
    import timm

    with torch.device("meta"):
        return create(lambda: timm.create_model(name, **options))


class QuickShapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within its context, common layers find the shapes of their results on the meta device in a few microseconds.

    PyTorch's own rules for normalization, activations and resizing on the meta device are Python functions of a
    millisecond each, made of those of many smaller operations: they are most of the time of a pass. Every other
    operation, and every tensor of another device, goes on as without this context.

    Examples:
        >>> import torch
        >>> from hiast.models.meta import QuickShapes
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).to("meta")
        >>> with QuickShapes():
        ...     network(torch.empty(2, 3, 64, 128, device="meta")).shape
        torch.Size([2, 8, 62, 126])
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        rule = _RULES.get(func)
        if rule is not None and isinstance(args[0], Tensor) and args[0].is_meta:
            result = rule(*args, **kwargs)
            if result is not None:
                return result
        return func(*args, **kwargs)


# Each rule returns None where the result does not follow from the first argument alone.


def _like(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(x)


def _itself(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _like_both(x: Tensor, y: Any, **_: Any) -> Tensor | None:
    if isinstance(y, Tensor) and (y.shape, y.dtype, y.is_meta) == (x.shape, x.dtype, True):
        return torch.empty_like(x)
    return None


def _statistics(x: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
    """Means and deviations, of which there are none in 16 bits."""
    dtype = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
    return torch.empty(size, device="meta", dtype=dtype), torch.empty(size, device="meta", dtype=dtype)


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Any, mean: Tensor | None, var: Any, *_: Any
) -> tuple[Tensor, Tensor, Tensor] | None:
    channels = x.shape[1]
    if any(values is not None and values.shape != (channels,) for values in (weight, bias, mean, var)):
        return None  # PyTorch says what does not fit.
    statistics = _statistics(x, [channels])
    return torch.empty_like(x), *statistics


def _layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, *_: Any
) -> tuple[Tensor, Tensor, Tensor] | None:
    last = tuple(shape)
    if any(
        tuple(given) != last
        for given in (x.shape[-len(last) :], *(v.shape for v in (weight, bias) if v is not None))
    ):
        return None
    statistics = _statistics(x, [*x.shape[: -len(last)], *(1 for _ in last)])
    return torch.empty(x.shape, device="meta", dtype=x.dtype), *statistics


def _upsample(x: Tensor, size: list[int], *_: Any) -> Tensor:
    if min(size) < 1:  # As on other devices: PyTorch's rule divides by it.
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, and the output size is {list(size)}."
        )
    return torch.empty((*x.shape[:2], *size), device="meta", dtype=x.dtype)


_RULES: dict[Any, Callable[..., Any]] = {
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.upsample_bilinear2d.default: _upsample,
    _aten.add.Tensor: _like_both,
    _aten.mul.Tensor: _like_both,
    **dict.fromkeys(
        (
            _aten.clamp.default,
            _aten.gelu.default,
            _aten.hardswish.default,
            _aten.hardtanh.default,
            _aten.relu.default,
            _aten.sigmoid.default,
            _aten.silu.default,
        ),
        _like,
    ),
    **dict.fromkeys(
        (
            _aten.hardswish_.default,
            _aten.hardtanh_.default,
            _aten.relu_.default,
            _aten.sigmoid_.default,
            _aten.silu_.default,
        ),
        _itself,
    ),
}
