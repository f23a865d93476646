"""State dicts of timm, and of the authors of its models, under the names of an encoder made from them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hiast.models.meta import timm_model

_FIRST_LEVELS = re.compile(r"^([a-z]+)\.(\d+)\.")


def fit_to_encoder(
    state: Mapping[str, Tensor], model: nn.Module, name: str, options: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Entries of ``state`` under the names and in the shapes of ``model``, as far as timm can convert them.

    Position embeddings and the weights of patches are resampled, names of the original authors are translated, and
    names of whole classification networks become those of feature extractors.

    Args:
        state: State dict as read from a file.
        model: Model inside an encoder of segmentation-models-pytorch.
        name: Its name in timm.
        options: Options that timm made it with.
    """
    own = model.state_dict()
    if all(key in state and state[key].shape == value.shape for key, value in own.items()):
        return dict(state)
    return {_own_name(key, own): value for key, value in _converted(state, name, options).items()}


def _converted(state: Mapping[str, Tensor], name: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    bare = timm_model(name, options)
    convert = getattr(sys.modules[type(bare).__module__], "checkpoint_filter_fn", None)
    return dict(state if convert is None else convert(dict(state), bare))


def _own_name(key: str, own: Mapping[str, Tensor]) -> str:
    flattened = _FIRST_LEVELS.sub(r"\1_\2.", key)
    return next((name for name in (key, flattened, f"model.{key}") if name in own), key)
