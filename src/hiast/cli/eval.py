"""``hiast-eval``: per-class IoU of a checkpoint and the means that its scenario reports."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.cli.settings import TABLES
from hiast.errors import InputError

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from omegaconf import DictConfig

    from hiast.classes import LabelSpace
    from hiast.evaluation.metrics import Scores
    from hiast.training import AdaptationModule

USAGE = """
hiast-eval PATH [key=value ...]

Evaluate a checkpoint on the labeled target images of its scenario.

  PATH                          the checkpoint, such as RUN/self_training/checkpoints/last.ckpt, or a run directory:
                                its selected.ckpt; also checkpoint=PATH
  +scenario=NAME [--config-dir DIR] [backbone=...]
                                for a file of published weights, or to read the target by a scenario of your own
  data_root=DIR                 folder of the datasets (default: as in training)
  flip=true sizes=[[512,1024],[768,1536]]
                                average over the mirrored image and several sizes
  window=[512,1024,256]         slide a window of this height, width and stride
  teacher=true                  evaluate the teacher of a self-training checkpoint
  masks=DIR                     write color masks of the predictions
  output=FILE.json              write the scores
"""

_OWN = set(TABLES["eval"])
"""Keys of ``conf/eval.yaml``; other words belong to the scenario."""


def main() -> None:
    """Entry point."""
    own, scenario = split(sys.argv[1:])
    job = partial(evaluate, scenario=scenario)
    sys.exit(run_command(job, "eval", USAGE, own, bare=("checkpoint",), also=list(TABLES["train"])))


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are for evaluation, and those for the scenario, if one is named."""
    if not any(re.match(r"\+*scenario=", word) for word in words):
        return list(words), []
    own: list[str] = []
    scenario: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        folder = before == "--config-dir" or word.startswith("--config-dir")
        setting = re.match(r"(?:~|\+{0,2})([A-Za-z_]\w*)[\w.@/]*=", word)
        is_own = setting is None or setting[1] in {*_OWN, "hydra"} or Path(word).exists()
        (own if is_own and not folder else scenario).append(word)
    return own, scenario


def evaluate(config: DictConfig, scenario: list[str]) -> int:
    """Evaluate and print the scores."""
    from rich.console import Console

    from hiast.cli.build import build_target
    from hiast.cli.config import compose, plain, require
    from hiast.cli.hardware import settle_inference
    from hiast.evaluation.tables import class_table
    from hiast.training.checkpoint import checkpoint_of

    path = require(config, "checkpoint", "Which checkpoint? Write hiast-eval PATH.")
    _check_places(config)
    path = checkpoint_of(path)
    composed = compose("train", scenario) if scenario else None
    module, trained = _load(path, composed)
    values = plain(config)
    hardware = settle_inference(values["trainer"], config.num_workers, str(trained["trainer"]["precision"]))
    values["trainer"] = hardware.trainer
    module.inference = {key: values[key] for key in ("sizes", "flip", "window")}
    target = build_target(
        trained, module.classes, config.data_root, hardware.num_workers, trusted=composed is not None
    )
    if not target.has_val:
        raise InputError("There are no labeled target images to evaluate on.")
    if config.teacher:
        module.network = _teacher(module, path)
    trainer = _trainer(values)
    trainer.validate(module, target, verbose=False)
    scores = module.scores
    assert scores is not None
    if trainer.is_global_zero:
        Console().print(class_table(scores, module.classes))
        if config.output is not None:
            _write(Path(config.output), scores)
    return 0


def _check_places(config: DictConfig) -> None:
    """Refuse places for the results that cannot be written, before anything is evaluated."""
    from hiast.cli.places import check_file, check_folder

    if config.output is not None:
        check_file("output", Path(config.output), "scores.json")
    if config.masks is not None:
        check_folder("masks", Path(config.masks))


def _trainer(values: dict[str, Any]) -> pl.Trainer:
    import pytorch_lightning as pl

    from hiast.callbacks import MaskWriter, StageProgress
    from hiast.run.distributed import trainer_strategy
    from hiast.run.trainer import trainer_refusals

    options = values["trainer"]
    options["strategy"] = trainer_strategy(options)
    masks = [] if values["masks"] is None else [MaskWriter(values["masks"])]
    fixed: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "callbacks": [StageProgress(), *masks],
    }
    for key in options.keys() & fixed.keys():
        raise InputError(f"trainer.{key} cannot be set for an evaluation: leave it out.")
    for key in sorted(options):
        if key.startswith(("limit_", "overfit_batches", "fast_dev_run")):
            raise InputError(
                f"trainer.{key} cannot be set for an evaluation: mIoU is of all validation images."
            )
    with trainer_refusals():
        return pl.Trainer(**options, **fixed)


def _write(path: Path, scores: Scores) -> None:
    from hiast.files import write_json

    path.parent.mkdir(parents=True, exist_ok=True)
    values = scores._asdict()
    names = ("means", "published_means", "pixel_accuracy", "iou")
    write_json(path, {**{name: values[name] for name in names}, "absent": list(scores.absent)})


def _load(path: Path, scenario: DictConfig | None) -> tuple[AdaptationModule, dict[str, Any]]:
    """Module and training configuration of a checkpoint; a given scenario stands in for the latter.

    Raises:
        InputError: The checkpoint cannot be read, or does not fit the scenario.
    """
    from hiast.cli.build import build_classes, build_network
    from hiast.cli.config import plain
    from hiast.training import load_module
    from hiast.training.checkpoint import is_own_file, no_checkpoint, read_checkpoint

    if scenario is None:
        module = load_module(path)
        if not module.run_config:
            raise InputError(f"{path} does not know its scenario: add +scenario=NAME.")
        return module, module.run_config
    classes, values = build_classes(scenario), plain(scenario)
    if not path.is_file():
        raise InputError(no_checkpoint(path))
    if not is_own_file(path):
        return _published(path, scenario, classes), values
    own = None
    if read_checkpoint(path, "meta")["hiast"]["network"] is None:
        own = build_network(scenario, classes, pretrained=False)
    module = load_module(path, network=own)
    if module.classes.names != classes.names:
        raise InputError(
            f"{path} knows the classes {', '.join(module.classes.names)}, the scenario others: name the one that it "
            "was trained in."
        )
    return module, values


def _published(path: Path, scenario: DictConfig, classes: LabelSpace) -> AdaptationModule:
    """A module around weights that others have published."""
    from hiast.cli.build import build_network
    from hiast.models import load_published_weights
    from hiast.training import SourceOnlyModule

    network = build_network(scenario, classes, pretrained=False)
    report = load_published_weights(network, path)
    sys.stderr.write(f"{path}: {report}\n")
    size = scenario.validation.size
    return SourceOnlyModule(network, classes, validation_size=None if size is None else tuple(size))


def _teacher(module: AdaptationModule, path: Path) -> Any:
    from hiast.training import HIASTModule, OnlineModule

    if not isinstance(module, HIASTModule | OnlineModule):
        raise InputError(f"{path} is of stage {module.stage} and has no teacher: leave teacher=true out.")
    return module.teacher.network


if __name__ == "__main__":
    main()
