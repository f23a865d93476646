"""Networks without memory, on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn


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
