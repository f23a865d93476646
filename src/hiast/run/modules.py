"""Modules of rounds: built around copies of the network, and started from the checkpoint of an earlier round."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.models import SegmentationNetwork
from hiast.run.stages import Stage
from hiast.training import AdaptationModule, HIASTModule, OnlineModule
from hiast.training.checkpoint import network_weights, read_checkpoint


@dataclass(frozen=True)
class ModuleBuilder:
    """Builds the module of a round.

    Attributes:
        classes: The label space of the scenario.
        validation_size: (height, width) of images in validation and prediction; None keeps theirs.
        seed: Seed of all random draws.
    """

    classes: LabelSpace
    validation_size: tuple[int, int] | None
    seed: int

    def __call__(self, network: SegmentationNetwork, stage: Stage, number: int) -> AdaptationModule:
        """Build the module of a round around a copy of ``network``."""
        settings = stage.rounds[number - 1]
        # New layers are initialized here, equally whether earlier stages ran in this process or in a previous one.
        torch.manual_seed(_stage_seed(self.seed, stage.name, number))
        arguments: dict[str, Any] = {
            "network": copy.deepcopy(network),
            "classes": self.classes,
            "max_steps": settings.max_steps,
            "accumulate_grad_batches": settings.accumulate_grad_batches,
            "round_number": number,
            "validation_size": self.validation_size,
            "seed": self.seed,
        }
        try:
            inspect.signature(settings.module).bind(**arguments)
        except (TypeError, ValueError) as error:
            raise InputError(f"{stage.name}.module: {error}.") from error
        return settings.module(**arguments).with_batch_size(settings.batch_size)


def start_from(module: AdaptationModule, path: Path) -> None:
    """Load the weights of the checkpoint of another stage or round into a new module.

    They are those of the network that was evaluated: of online training with ``evaluate=teacher``, the teacher.
    """
    checkpoint = read_checkpoint(path)
    of_teacher = checkpoint["hiast"]["arguments"].get("evaluate") == "teacher"
    module.network.load_state_dict(
        network_weights(checkpoint, "teacher.network." if of_teacher else "network.")
    )
    if isinstance(module, OnlineModule):
        module.teacher.reset(module.network)
    elif isinstance(module, HIASTModule):
        teacher = network_weights(checkpoint, "teacher.")
        if teacher:
            module.teacher.load_state_dict(teacher)
        else:
            module.begin_round()


def _stage_seed(seed: int, stage: str, number: int) -> int:
    return int(np.random.SeedSequence([seed, *stage.encode(), number]).generate_state(1)[0])
