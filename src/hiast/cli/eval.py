"""``hiast-eval``: per-class IoU and the scenario's means of a checkpoint."""

from __future__ import annotations

import math
import sys
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

Evaluate a checkpoint on the labelled target images of its scenario.

  checkpoint=RUN/self_training/checkpoints/last.ckpt
  +scenario=NAME                for a bare file of published weights, which does not know its scenario
  data_root=DIR                 where the datasets lie, if not where they lay in training
  flip=true sizes=[[512,1024],[768,1536]]
                                average over the mirrored image and several sizes
  window=[512,1024,256]         slide a window of this height, width and stride
  teacher=true                  evaluate the teacher of a self-training checkpoint
  masks=DIR                     write colour masks of the predictions
  output=FILE.json              write the scores
"""


def main() -> None:
    """Entry point."""
    words = sys.argv[1:]
    scenario = [word for word in words if word.lstrip("+").startswith("scenario=")]
    rest = [word for word in words if word not in scenario]
    sys.exit(run_command(partial(evaluate, scenario=scenario), "eval", USAGE, rest))


def evaluate(config: DictConfig, scenario: list[str]) -> int:
    """Evaluate and print the scores."""
    import pytorch_lightning as pl
    from rich.console import Console

    from hiast.cli import build
    from hiast.cli.config import compose, plain, require
    from hiast.evaluation.report import class_table
    from hiast.run.directory import write_json
    from hiast.run.local import trainer_strategy

    path = require(config, "checkpoint", "Which checkpoint? Add checkpoint=PATH.")
    composed = compose("train", scenario) if scenario else None
    module, trained = _load(Path(path), composed)
    module.inference = {
        "sizes": None if config.sizes is None else [build.size_of(size, "sizes") for size in config.sizes],
        "flip": bool(config.flip),
        "window": None if config.window is None else tuple(config.window),
    }
    target = build.build_target(trained, module.classes, config.data_root, config.num_workers)
    if config.teacher:
        module.network = _teacher(module, path)
    options = plain(config.trainer)
    options["precision"] = options["precision"] or trained["trainer"]["precision"]
    options["strategy"] = trainer_strategy(options)
    trainer = pl.Trainer(
        **options,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=_mask_writers(config.masks, module),
    )
    trainer.validate(module, target, verbose=False)
    scores = module.scores
    if scores is None:
        raise InputError("There are no labelled target images to evaluate on.")
    if trainer.is_global_zero:
        Console().print(class_table(scores))
        if config.output is not None:
            known = {name: None if math.isnan(value) else value for name, value in scores.iou.items()}
            write_json(
                Path(config.output), {"means": scores.means, "iou": known, "absent": list(scores.absent)}
            )
    return 0


def _load(path: Path, scenario: DictConfig | None) -> tuple[AdaptationModule, dict[str, Any]]:
    """Module and training configuration of a checkpoint, or of bare published weights and a scenario."""
    from hiast.cli import build
    from hiast.cli.config import plain
    from hiast.models import load_published_weights
    from hiast.training import SourceOnlyModule, load_module

    if scenario is None:
        module = load_module(path)
        if not module.run_config:
            raise InputError(f"{path} does not know its scenario: add +scenario=NAME.")
        return module, module.run_config
    classes = build.build_classes(scenario)
    for key in ("pretrained", "weights"):
        if key in scenario.backbone:
            scenario.backbone[key] = None
    network = build.build_network(scenario, classes)()
    report = load_published_weights(network, path)
    sys.stderr.write(f"{path}: {report}\n")
    size = build.size_of(scenario.validation.size, "validation.size")
    values = {key: plain(scenario[key]) for key in ("data", "data_root", "trainer")}
    return SourceOnlyModule(network, classes, validation_size=size), values


def _teacher(module: AdaptationModule, path: str) -> Any:
    from hiast.training import HIASTModule

    if not isinstance(module, HIASTModule):
        raise InputError(f"{path} is of stage {module.stage} and has no teacher: leave teacher=true out.")
    return module.teacher.network


def _mask_writers(folder: str | None, module: AdaptationModule) -> list[Any]:
    from hiast.callbacks import MaskWriter

    return [] if folder is None else [MaskWriter(folder)]
