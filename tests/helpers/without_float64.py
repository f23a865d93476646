"""The meta device as one without float64, where every float64 tensor is an error."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RefuseFloat64(TorchDispatchMode):
    """Raises for operations that read or write a float64 tensor on the meta device."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for value in tree_leaves((arguments, keywords, result)):
            if isinstance(value, torch.Tensor) and value.device.type == "meta":
                assert value.dtype != torch.float64, f"{function} has a float64 tensor"
        return result
