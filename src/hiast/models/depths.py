"""Depth of each parameter of an encoder, which layer-wise learning rates are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from hiast.errors import InputError
from hiast.models.meta import timm_model

# The feature extractors of timm flatten the first two levels of names: stages.0 becomes stages_0.
_FLATTENED = re.compile(r"^([a-z]+)_(\d+)\.")
# segmentation-models-pytorch and some feature extractors of timm each put the model one level deeper.
_WRAPPERS = re.compile(r"^(model\.)+")
# Older versions of timm count some tokens as the deepest layer.
_TOKENS = re.compile(r"^(cls|reg|mask)_token$")
# The mix transformer of segmentation-models-pytorch lists all patch embeddings before all blocks.
_MIX_TRANSFORMER = re.compile(r"^(patch_embed|block|norm)([1-4])\.(\d+)?")


def encoder_depths(
    encoder: nn.Module, name: str, options: Mapping[str, Any], *, prefix: str = ""
) -> dict[str, int]:
    """Depth of every parameter of an encoder of segmentation-models-pytorch or, with ``tu-``, of timm.

    Args:
        encoder: The encoder.
        name: Its name.
        options: Options that timm made it with.
        prefix: Path of the encoder in its network.

    Returns:
        Depths from 0 (stem) upwards without gaps, by the parameters' names with ``prefix``.

    Raises:
        InputError: timm does not know how the encoder is divided into layers.
    """
    if not name.startswith("tu-"):
        return native_depths(encoder, prefix=prefix)
    known = _timm_depths(name.removeprefix("tu-"), options)
    depths = {}
    for key, _ in encoder.named_parameters():
        bare = _FLATTENED.sub(r"\1.\2.", _WRAPPERS.sub("", key))
        if bare not in known:
            raise InputError(
                f"Layer decay is not possible with encoder {name}: the depth of {bare} is not known."
            )
        depths[prefix + key] = 0 if _TOKENS.match(bare) else known[bare]
    return _without_gaps(depths)


def native_depths(encoder: nn.Module, *, prefix: str = "") -> dict[str, int]:
    """Depths by the names of ``encoder``'s parameters: each numbered block is a layer.

    Parameters without a number (``conv1``, ``norm4``) belong to the layer before them, or to the stem.

    Args:
        encoder: A ResNet, mix transformer or another encoder whose parameters are listed in order.
        prefix: Put before every name.

    Raises:
        InputError: No parameter belongs to a numbered block.
    """
    names = [name for name, _ in encoder.named_parameters()]
    if any(name.startswith("patch_embed1.") for name in names):
        return {prefix + name: depth for name, depth in _mix_transformer_depths(names).items()}
    depths: dict[str, int] = {}
    depth, last = 0, ""
    for name in names:
        match = re.match(r"^(.*?\.\d+)\.", name)
        if match and match[1] != last:
            depth, last = depth + 1, match[1]
        depths[prefix + name] = depth
    if not last:
        raise InputError(
            f"Layer decay is not possible: the blocks of this {type(encoder).__name__} are not numbered."
        )
    return _without_gaps(depths)


def _timm_depths(name: str, options: Mapping[str, Any]) -> dict[str, int]:
    from timm.models import group_parameters

    bare = timm_model(name, options)
    matcher: Any = getattr(bare, "group_matcher", None)
    if matcher is None:
        raise InputError(
            f"Layer decay is not possible with encoder tu-{name}: timm does not name its layers."
        )
    depths: dict[str, int] = group_parameters(bare, matcher(coarse=False), reverse=True)
    return depths


def _mix_transformer_depths(names: Iterable[str]) -> dict[str, int]:
    """Stage by stage: the patch embedding and the first block are a layer, the norm joins the last block."""
    places: dict[str, tuple[int, int]] = {}
    for name in names:
        match = _MIX_TRANSFORMER.match(name)
        if match is None:
            raise InputError(f"Layer decay is not possible: the depth of {name} is not known.")
        places[name] = (int(match[2]), {"patch_embed": 0, "norm": -1}.get(match[1], int(match[3] or 0)))
    last = {
        stage: max(block for other, block in places.values() if other == stage)
        for stage, _ in places.values()
    }
    order = {name: (stage, last[stage] if block < 0 else block) for name, (stage, block) in places.items()}
    layers = {place: depth for depth, place in enumerate(sorted(set(order.values())), 1)}
    return {name: 0 if name.startswith("patch_embed1.") else layers[place] for name, place in order.items()}


def _without_gaps(depths: Mapping[str, int]) -> dict[str, int]:
    ranks = {depth: rank for rank, depth in enumerate(sorted(set(depths.values())))}
    return {name: ranks[depth] for name, depth in depths.items()}
