"""Whether the network takes the batches of a run, before the first step of its first stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from hiast.cli.build import build_network, device_count, stage_names
from hiast.cli.build_stages import stage_settings
from hiast.errors import InputError
from hiast.models import DeepLabV2
from hiast.models.meta import QuickShapes

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.classes import LabelSpace
    from hiast.models import SegmentationNetwork


def build_checked_network(
    config: DictConfig, classes: LabelSpace, *, pretrained: bool = True
) -> SegmentationNetwork:
    """The network, once it is known to take the batches of the run.

    Args:
        config: Composed ``train.yaml``.
        classes: The scenario's.
        pretrained: As for ``build_network``.

    Raises:
        InputError: The network has another number of classes, or does not take a batch.
    """
    network = build_network(config, classes, pretrained=pretrained)
    if network.num_classes != len(classes):
        raise InputError(
            f"backbone.num_classes is {network.num_classes}, and the scenario has {len(classes)} classes: leave it out."
        )
    if isinstance(network, DeepLabV2):  # It takes images of any size, one at a time too.
        return network
    was_training = network.training
    for what, batch, size, training in _batches(config):
        _try(network.train(training), what, (batch, 3, *size), len(classes))
    network.train(was_training)
    return network


def _try(network: nn.Module, what: str, shape: tuple[int, ...], classes: int) -> None:
    """Send the shape of a batch through the network, without memory and without computing anything."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    try:
        with torch.no_grad(), QuickShapes():
            logits = torch.func.functional_call(network, meta, (torch.empty(shape, device="meta"),))
    except NotImplementedError:
        return
    except InputError as error:  # The network says itself what it does not take.
        raise InputError(f"{what}: {error}") from error
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        if "meta" in text:  # A layer that cannot be tried without values.
            return
        if "Expected more than 1 value per channel" in text:
            raise InputError(
                f"{what}: batch normalization of this backbone needs at least 2 images at a time on each device, and "
                f"gets {shape[0]}: use a larger batch_size, a smaller accumulate_grad_batches, or freeze_bn=full."
            ) from error
        raise InputError(
            f"{what}: the backbone does not take images of {shape[2]} x {shape[3]} pixels ({text[:200]}): choose "
            "another size."
        ) from error
    wanted = (shape[0], classes, *shape[2:])
    if tuple(logits.shape) != wanted:
        raise InputError(
            f"{what}: the backbone turns images {list(shape)} into logits {list(logits.shape)}; {list(wanted)} are "
            "needed."
        )


def _batches(config: DictConfig) -> Iterator[tuple[str, int, tuple[int, int], bool]]:
    """What goes through the network: its name, images at a time, (height, width), and whether in training.

    Of each size the smallest batch is enough. Where batch normalization is frozen (``freeze_bn``: full), it normalizes
    as in validation.
    """
    found: dict[tuple[tuple[int, int], bool], tuple[int, str]] = {}
    devices = device_count(config)
    for stage in stage_names(config):
        settings = stage_settings(config, stage)
        batch = max(1, settings.batch_size // settings.get("accumulate_grad_batches", 1) // devices)
        training = settings.module.get("freeze_bn") != "full"
        for domain in ("source", "target") if stage != "source_only" else ("source",):
            crop = config.crop[domain]
            size = (crop.get("height"), crop.get("width"))
            key = size, training
            if None not in size and (key not in found or batch < found[key][0]):
                found[key] = batch, f"{stage}.batch_size, crops of the {domain}"
    for (size, training), (batch, what) in found.items():
        yield what, batch, size, training
    if config.validation.size is not None:
        height, width = config.validation.size
        yield "validation.size", 1, (height, width), False
