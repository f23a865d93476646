"""All settings of all commands: name -> what it holds. This table is the only place that says so.

Arguments of what ``_target_`` names are not listed here; the signature of the constructor says what they hold.
"""

from __future__ import annotations

import re

from hiast.cli.kinds import (
    Built,
    BuiltList,
    ByRound,
    Choice,
    Fields,
    FilePath,
    Flag,
    Kind,
    Number,
    Numbers,
    Options,
    Shares,
    Sizes,
    Table,
    Text,
    TextList,
    Whole,
    Words,
    flat,
)
from hiast.compile_modes import COMPILE_MODES
from hiast.stage_names import STAGES

MAX_SEED = 2**32 - 1
"""NumPy takes no larger one."""
CACHE_FORMATS = ("raw", "zstd", "jpeg")
EXPORT_FORMATS = ("onnx", "torch_export", "openvino", "tensorrt", "safetensors", "pretrained")
PREDICTION_OUTPUTS = ("labels", "overlay", "confidence", "polygons", "csv")
SOURCES, TARGETS = ("gta5", "synthia"), ("cityscapes", "robotcar")
"""Drawn datasets: labeled sources, and targets."""

_OF_MODULE = frozenset(
    {
        "network",
        "classes",
        "max_steps",
        "accumulate_grad_batches",
        "round_number",
        "validation_size",
        "seed",
    }
)
_OF_DATASET = frozenset(
    {"classes", "cache", "unreadable", "augmentation", "batch_size", "num_workers", "list_folders"}
)

_STAGE: Table = {
    "max_steps": Whole(1),
    "batch_size": Whole(1),
    "accumulate_grad_batches": Whole(1),
    "module": Built(_OF_MODULE, null=True),
}

TRAIN: Table = {
    "name": Text(),
    "classes": Built(),
    "data_root": FilePath(),
    "run": FilePath(output=True, null=True),
    "init_from": FilePath(null=True),
    "seed": Whole(most=MAX_SEED),
    "stages": Words(STAGES),
    "data": {
        "num_workers": Whole(null=True),
        "unreadable": Choice(("stop", "skip")),
        "cache": Choice((*CACHE_FORMATS, "auto"), null=True),
        "cache_folder": FilePath(null=True),
        "rare_class_sampling": Fields("hiast.data.loading.rare_classes.RareClassSampling", null=True),
        "max_images": Whole(1, null=True),
        "source": Built(_OF_DATASET),
        "target": Built(_OF_DATASET),
        "labeled_target": Built(_OF_DATASET, null=True),
        "labeled_target_share": Number(),
        "source_crop": Built(),
        "full_source_crop": Built(null=True),
        "full_target_crop": Built(null=True),
        "target_crop": Built(),
    },
    "validation": {"size": Numbers(null=True), "every_n_steps": Whole(1)},
    "checkpoint_every_n_steps": Whole(1),
    "log_every_n_steps": Whole(1),
    "compile_mode": Choice(COMPILE_MODES, null=True),
    "pictures": Whole(),
    "callbacks": BuiltList(),
    "report": Flag(),
    "source_only": _STAGE,
    "warmup": _STAGE,
    "online": {**_STAGE, "max_steps": Whole(1, null=True), "batch_size": Whole(1, null=True)},
    "selection": Fields("hiast.callbacks.SelectionSettings"),
    "self_training": {**_STAGE, "rounds": Whole(1), "labels": Built(), "by_round": ByRound(null=True)},
    "backbone": Built(frozenset({"num_classes"})),
    "loss": Built(),
    "pseudo_label": Built(),
    "augmentation": {"strong": Built(null=True), "hard_class": Built(null=True)},
    "crop": {"source": Built(), "target": Built()},
    "trainer": Options("Trainer"),
    "logger": {
        "loggers": BuiltList(),
        "tensorboard": Built(null=True),
        "wandb": Built(null=True),
        "mlflow": Built(null=True),
    },
}

TABLES: dict[str, Table] = {
    "train": TRAIN,
    "data_check": {
        **TRAIN,
        "out": FilePath(output=True, null=True),
        "threads": Whole(1, null=True),
    },
    "data_prepare": {
        **TRAIN,
        "threads": Whole(1, null=True),
        "unpack": Flag(),
        "archives": FilePath(),
    },
    "data_new": {
        "name": Text(),
        "out": FilePath(output=True),
        "images": FilePath(null=True),
        "labels": FilePath(null=True),
        "target": FilePath(),
        "val_images": FilePath(null=True),
        "val_labels": FilePath(null=True),
        "names": TextList(null=True),
    },
    "doctor": {
        "data_root": FilePath(),
        "outputs": FilePath(),
        "self_test": Flag(),
        "seconds": Whole(1),
    },
    "data_demo": {
        "data_root": FilePath(output=True),
        "datasets": Words((*SOURCES, *TARGETS), single=True),
        "size": Numbers(),
        "train": Whole(1),
        "val": Whole(1),
        "seed": Whole(most=MAX_SEED),
    },
    "report": {"run": FilePath(), "out": FilePath(output=True)},
    "eval": {
        "checkpoint": FilePath(),
        "data_root": FilePath(null=True),
        "sizes": Sizes(null=True),
        "flip": Flag(),
        "window": Numbers("[height, width, stride]", null=True),
        "teacher": Flag(),
        "masks": FilePath(output=True, null=True),
        "output": FilePath(output=True, null=True),
        "num_workers": Whole(null=True),
        "trainer": Options("Trainer"),
    },
    "predict": {
        "checkpoint": FilePath(),
        "input": FilePath(),
        "output": FilePath(output=True),
        "save": Words(PREDICTION_OUTPUTS, single=True),
        "format": Text(null=True),
        "ids": Kind(),
        "size": Numbers(words=("native",), null=True),
        "scales": Kind(),
        "flip": Flag(),
        "window": Numbers("[height, width, stride]", null=True),
        "blend": Choice(("gaussian", "mean")),
        "opacity": Number(),
        "batch_size": Whole(1),
        "num_workers": Whole(),
        "max_pixels": Whole(1),
        "bands": Kind(),
        "value_range": Kind(),
        "unreadable": Choice(("stop", "skip")),
        "teacher": Flag(),
        "overwrite": Flag(),
        "trainer": Options("Fabric"),
    },
    "export": {
        "checkpoint": FilePath(),
        "format": Choice(EXPORT_FORMATS),
        "output": FilePath(output=True, null=True),
        "outputs": Words(("labels", "confidence", "logits"), single=True),
        "size": Numbers(words=("native",), null=True),
        "fixed": Numbers(null=True),
        "precision": Whole(1),
        "compare": Kind(),
        "teacher": Flag(),
        "metrics": Shares(null=True),
        "license": Text(null=True),
    },
    "label": {
        "policy": Built(frozenset({"num_classes"})),
        "checkpoint": FilePath(),
        "input": FilePath(),
        "output": FilePath(output=True),
        "size": Numbers(words=("image",), null=True),
        "unreadable": Choice(("stop", "skip")),
        "max_pixels": Whole(1, null=True),
        "bands": Kind(),
        "value_range": Kind(),
        "group_size": Whole(1),
        "teacher": Flag(),
        "overwrite": Flag(),
        "seed": Whole(most=MAX_SEED),
        "trainer": Options("Fabric"),
    },
}
"""Name of a base configuration in ``conf`` -> its settings."""

TEXT_IN_DATASETS = frozenset(
    {
        *("data_root", "name", "images", "labels", "val_images", "val_labels"),
        *("train_list", "val_list", "videos", "frames", "statistics"),
    }
)
"""Settings of a dataset that hold a path, a pattern or a name."""

TEXT_IN_BACKBONES = frozenset({"weights", "pretrained"})
"""Settings of a network that hold a word or a path."""

FORMS = {
    "class_map": "{name in the labels: name in the scenario}",
    "colors": "{class: '255,0,0'}",
    "ids": "{0: road, 1: sky}, the number first",
    "images": "one pattern, such as images/{name}.png",
    "label_colors": "{'128,64,128': road}, the color first",
    "names": "a list, such as [road, sky]",
    "size": "[height, width]",
}
"""Last part of a key -> how its value is written, for messages."""

SET_ELSEWHERE = {
    "accumulate_grad_batches": "accumulate_grad_batches of the stage, beside module",
    "augmentation": "data.source_crop and data.target_crop",
    "batch_size": "batch_size of each stage",
    "cache": "data.cache",
    "classes": "classes of the scenario",
    "max_steps": "max_steps of the stage, beside module",
    "network": "backbone",
    "num_classes": "classes of the scenario",
    "num_workers": "data.num_workers",
    "round_number": "self_training.rounds",
    "seed": "seed of the whole run",
    "unreadable": "data.unreadable",
    "validation_size": "validation.size",
}
"""Arguments that the program gives to a constructor -> the setting that they follow."""


def text_keys(command: str) -> re.Pattern[str]:
    """Matches the dotted keys whose value on the command line is taken as it stands, and not as Hydra's grammar.

    Args:
        command: Name of the base configuration.
    """
    kinds = flat(TABLES.get(command, {}))
    own = [re.escape(key) for key, kind in kinds.items() if isinstance(kind, FilePath | Text)]
    datasets = rf"data\.(source|target)\.({'|'.join(sorted(TEXT_IN_DATASETS))})"
    backbones = rf"backbone\.({'|'.join(sorted(TEXT_IN_BACKBONES))})"
    return re.compile("|".join([*own, datasets, backbones]))
