"""Feature distance as a part of a stage: a frozen copy of the encoder, and the features of the student."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hiast.classes import LabelSpace
from hiast.errors import InputError, check_not_negative
from hiast.models import SegmentationNetwork
from hiast.online import FrozenEncoder, ThingFeatureDistance
from hiast.online.feature_distance import deepest

log = logging.getLogger(__name__)

CITYSCAPES_THINGS = (
    "traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""Thing classes of DAFormer."""


class FeatureDistance(nn.Module):
    """Keeps the encoder of the student near the weights that the run began with, on thing classes of the source.

    The frozen copy is stored in checkpoints, so a run resumes without the pretrained weights. See
    ``hiast.online.ThingFeatureDistance`` for the formula (DAFormer, Hoyer et al. 2022, section 3.3).

    Args:
        network: Network with its pretrained encoder.
        classes: The label space of the scenario.
        weight: Weight of the distance in the loss.
        things: Names of the thing classes; names that the label space lacks are left out. None: the published ones,
            those of Cityscapes; or all classes where the label space has none of these, as that of other scenes.
        share: Share of a feature cell that one thing class must fill.

    Raises:
        InputError: None of the given ``things`` is a class of the label space, or a setting is out of range.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        classes: LabelSpace,
        weight: float = 0.005,
        things: Sequence[str] | None = None,
        share: float = 0.75,
    ) -> None:
        super().__init__()
        check_not_negative("feature_distance", weight=weight)
        known = tuple(
            classes.index(name)
            for name in (CITYSCAPES_THINGS if things is None else things)
            if name in classes.names
        )
        if not known and things is not None:
            raise InputError(
                f"feature_distance.things: none of {', '.join(things)} is a class; name some of "
                f"{', '.join(classes.names)}."
            )
        if not known:
            log.info("Feature distance: no class is a thing of street scenes, so all classes are compared.")
            known = tuple(range(len(classes)))
        self.weight = weight
        self.distance = ThingFeatureDistance(known, share)
        self.reference = FrozenEncoder(encoder_of(network))

    def forward(self, features: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Weighted distance, a scalar.

        Args:
            features: Floating [B,D,h,w], the deepest features of the student on source images.
            images: Normalized source images float [B,3,H,W], as the encoder of the student sees them.
            labels: uint8 [B,H,W], their labels, 255 = ignored.
        """
        return self.weight * self.distance(features, self.reference(images), labels)


def encoder_of(network: nn.Module) -> nn.Module:
    """The encoder of a network.

    Raises:
        InputError: The network has no attribute ``encoder``.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise InputError(
            f"feature_distance needs a network with an attribute 'encoder', which {type(network).__name__} lacks."
        )
    return encoder


class FeatureTap:
    """Within its context, remembers the deepest features of each forward pass of an encoder, in order."""

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder = encoder
        self.passes: list[Tensor] = []

    def __enter__(self) -> FeatureTap:
        self._handle = self._encoder.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.passes.append(deepest(output))
