"""Rebuilding a network from the plain values that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hiast.errors import InputError
from hiast.models.daformer import DAFormer
from hiast.models.deeplab import DeepLabV2
from hiast.models.hrda import HRDA
from hiast.models.network import SegmentationNetwork
from hiast.models.smp import SmpNetwork


def _deeplab_v2(num_classes: int, layers: list[int], width: int) -> SegmentationNetwork:
    return DeepLabV2(num_classes, pretrained=None, layers=layers, width=width)


def _smp_network(
    architecture: str,
    encoder: str,
    num_classes: int,
    mean: list[float],
    std: list[float],
    options: dict[str, Any],
) -> SegmentationNetwork:
    return SmpNetwork(architecture, encoder, None, num_classes, mean, std, **options)


def _daformer(options: dict[str, Any], **arguments: Any) -> SegmentationNetwork:
    return DAFormer(weights=None, **arguments, **options)


def _hrda(options: dict[str, Any], **arguments: Any) -> SegmentationNetwork:
    return HRDA(weights=None, **arguments, **options)


# Checkpoints come from strangers: only these can be built, and never with weights from elsewhere.
BUILDERS: Mapping[str, Callable[..., SegmentationNetwork]] = {
    "DAFormer": _daformer,
    "DeepLabV2": _deeplab_v2,
    "HRDA": _hrda,
    "SmpNetwork": _smp_network,
}


def build_from_recipe(recipe: Mapping[str, Any]) -> SegmentationNetwork:
    """The network that ``recipe`` (a network's ``recipe``) describes, with random weights.

    Raises:
        InputError: The recipe names an unknown network or does not fit it.
    """
    arguments = dict(recipe)
    name = arguments.pop("network", None)
    if not isinstance(name, str) or name not in BUILDERS:
        raise InputError(
            f"The checkpoint holds a network {name!r}; this version knows {', '.join(BUILDERS)}."
        )
    try:
        return BUILDERS[name](**arguments)
    except TypeError as error:
        raise InputError(f"The checkpoint's description of its {name} does not fit: {error}.") from error
