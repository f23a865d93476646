"""``hiast-eval``: per-class IoU and the scenario's means of a checkpoint."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.training import AdaptationModule

USAGE = """
hiast-eval checkpoint=PATH [key=value ...]

Evaluate a checkpoint on the labeled target images of its scenario.

  checkpoint=RUN/self_training/checkpoints/last.ckpt
  +scenario=NAME [--config-dir DIR] [backbone=...]
                                for a bare file of published weights, or to read the target by a scenario of your own
  data_root=DIR                 where the datasets lie, if not where they lay in training
  flip=true sizes=[[512,1024],[768,1536]]
                                average over the mirrored image and several sizes
  window=[512,1024,256]         slide a window of this height, width and stride
  teacher=true                  evaluate the teacher of a self-training checkpoint
  masks=DIR                     write color masks of the predictions
  output=FILE.json              write the scores
"""

_OWN = {
    "checkpoint",
    "data_root",
    "sizes",
    "flip",
    "window",
    "teacher",
    "masks",
    "output",
    "num_workers",
    "trainer",
}
"""Keys of ``conf/eval.yaml``."""


def main() -> None:
    """Entry point."""
    own, scenario = split(sys.argv[1:])
    sys.exit(run_command(partial(evaluate, scenario=scenario), "eval", USAGE, own))


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are for evaluation, and those for the scenario, if one is named."""
    if not any(word.startswith("+scenario=") for word in words):
        return list(words), []
    own: list[str] = []
    scenario: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_own = re.split("[.=]", word)[0] in _OWN and before != "--config-dir"
        (own if is_own else scenario).append(word)
    return own, scenario


def evaluate(config: DictConfig, scenario: list[str]) -> int:
    """Evaluate and print the scores."""
    import pytorch_lightning as pl
    from rich.console import Console

    from hiast.callbacks import StageProgress
    from hiast.cli import build
    from hiast.cli.config import compose, plain, require
    from hiast.evaluation.tables import class_table
    from hiast.run.directory import write_json
    from hiast.run.distributed import check_processes, trainer_strategy
    from hiast.run.trainer import trainer_refusals

    path = require(config, "checkpoint", "Which checkpoint? Add checkpoint=PATH.")
    composed = compose("train", scenario) if scenario else None
    module, trained = _load(Path(path), composed)
    module.inference = {
        "sizes": _sizes(config.sizes),
        "flip": bool(config.flip),
        "window": None
        if config.window is None
        else build.whole_numbers(config.window, "window", "[height, width, stride]", 3),
    }
    target = build.build_target(
        trained, module.classes, config.data_root, config.num_workers, trusted=composed is not None
    )
    if not target.has_val:
        raise InputError("There are no labeled target images to evaluate on.")
    if config.teacher:
        module.network = _teacher(module, path)
    options = plain(config.trainer)
    options["precision"] = options["precision"] or trained["trainer"]["precision"]
    check_processes(options)
    options["strategy"] = trainer_strategy(options)
    with trainer_refusals():
        trainer = pl.Trainer(
            **options,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[StageProgress(), *_mask_writers(config.masks, module)],
        )
    trainer.validate(module, target, verbose=False)
    scores = module.scores
    assert scores is not None
    if trainer.is_global_zero:
        Console().print(class_table(scores, module.classes))
        if config.output is not None:
            known = {name: None if math.isnan(value) else value for name, value in scores.iou.items()}
            write_json(
                Path(config.output), {"means": scores.means, "iou": known, "absent": list(scores.absent)}
            )
    return 0


def _load(path: Path, scenario: DictConfig | None) -> tuple[AdaptationModule, dict[str, Any]]:
    """Module and training configuration of a checkpoint; a scenario that is given stands in for the latter."""
    from hiast.cli import build
    from hiast.cli.config import plain
    from hiast.models import load_published_weights
    from hiast.training import SourceOnlyModule, load_module
    from hiast.training.checkpoint import is_own_file

    if scenario is None:
        module = load_module(path)
        if not module.run_config:
            raise InputError(f"{path} does not know its scenario: add +scenario=NAME.")
        return module, module.run_config
    classes, values = build.build_classes(scenario), plain(scenario)
    if is_own_file(path):
        module = load_module(path)
        if module.classes.names != classes.names:
            raise InputError(
                f"{path} knows the classes {', '.join(module.classes.names)}, the scenario others: name the one that "
                "it was trained in."
            )
        return module, values
    network = build.build_network(scenario, classes, pretrained=False)
    report = load_published_weights(network, path)
    sys.stderr.write(f"{path}: {report}\n")
    size = build.size_of(scenario.validation.size, "validation.size")
    return SourceOnlyModule(network, classes, validation_size=size), values


def _sizes(value: Any) -> list[tuple[int, ...]] | None:
    from omegaconf import ListConfig

    from hiast.cli.build import whole_numbers

    if value is None:
        return None
    sizes = value if isinstance(value, ListConfig) else [value]
    return [whole_numbers(size, "sizes", "a list of [height, width]", 2) for size in sizes]


def _teacher(module: AdaptationModule, path: str) -> Any:
    from hiast.training import HIASTModule

    if not isinstance(module, HIASTModule):
        raise InputError(f"{path} is of stage {module.stage} and has no teacher: leave teacher=true out.")
    return module.teacher.network


def _mask_writers(folder: str | None, module: AdaptationModule) -> list[Any]:
    from hiast.callbacks import MaskWriter

    return [] if folder is None else [MaskWriter(folder)]
