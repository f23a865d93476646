"""Reading checkpoints: tensors and plain values only, whatever the file claims to be."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.models import SegmentationNetwork, build_from_recipe

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of what is stored under the key ``hiast``; raised when older programs could not read it."""

EXPORTED = (".onnx", ".xml", ".pt2", ".engine")
"""Suffixes of exported files that are no weights: ONNX, OpenVINO, torch.export and TensorRT."""

SELECTED = "selected.ckpt"
"""What a run directory hands on: the checkpoint that was selected without target labels."""

_NAMED = 4
"""Checkpoints of a folder that an error names."""

_KEYS = {"stage", "round", "batches_done", "arguments", "classes", "network", "config"}


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Contents of a checkpoint that this library wrote.

    Raises:
        InputError: The file is missing, damaged, holds pickled objects, or was not written by this library.
    """
    contents: dict[str, Any] = load_plain(path, map_location)
    if not _is_own(contents):
        raise InputError(
            f"{path} is not a checkpoint of this library: for weights published by others, name the scenario too "
            "(hiast-eval checkpoint=... +scenario=...)."
        )
    about = contents["hiast"]
    if about.get("format") != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {about.get('format')}; this version reads format {FORMAT}."
        )
    lacking = sorted(_KEYS - about.keys())
    if lacking:
        raise InputError(f"{path} is damaged: it does not say its {', '.join(lacking)}.")
    return contents


def is_own_file(path: str | Path) -> bool:
    """Whether a file is a checkpoint that this library wrote.

    Raises:
        InputError: It is in the present format of torch, and damaged or refused; or it is an exported file.
    """
    if Path(path).suffix.lower() in EXPORTED:
        raise InputError(_is_exported(path))
    return zipfile.is_zipfile(path) and _is_own(load_plain(path, "meta"))


def _is_own(contents: Any) -> bool:
    return isinstance(contents, dict) and isinstance(contents.get("hiast"), dict) and "state_dict" in contents


def checkpoint_of(path: str | Path) -> Path:
    """The checkpoint that a path stands for: ``selected.ckpt`` of a run directory; any other path is itself.

    Whatever takes a checkpoint takes a run directory by this rule.
    """
    selected = Path(path) / SELECTED
    if not selected.is_file():
        return Path(path)
    log.info("%s is a run directory: its %s is used.", path, SELECTED)
    return selected


def no_checkpoint(path: Path) -> str:
    """Why a path is not a checkpoint; of a folder, such as that of a run, the checkpoints in it are named."""
    if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
        return _is_exported(path)
    if not path.is_dir():
        return f"There is no checkpoint {path}."
    places = ("checkpoints/*.ckpt", "*/checkpoints/*.ckpt", "*/selected.ckpt", "*.ckpt")
    found = list(dict.fromkeys(str(file) for place in places for file in sorted(path.glob(place))))
    if not found:
        return f"{path} is a folder without checkpoints."
    if len(found) == 1:
        return f"{path} is a folder without {SELECTED}: name the checkpoint in it, {found[0]}."
    if len(found) > _NAMED + 1:
        found = [*found[:_NAMED], f"{len(found) - _NAMED} more"]
    last = f"{'and' if found[-1].endswith(' more') else 'or'} {found[-1]}"
    return (
        f"{path} is a folder without {SELECTED}: name one of its checkpoints, {', '.join(found[:-1])} {last}."
    )


def _is_exported(path: str | Path) -> str:
    return (
        f"{path} is an exported network, which hiast-predict reads: here, name the checkpoint that it was made of, "
        "such as RUN/selected.ckpt."
    )


def load_plain(path: str | Path, map_location: str | torch.device = "cpu") -> Any:
    """``torch.load`` of tensors and plain values; anything else is refused.

    Raises:
        InputError: The file is missing, damaged, or holds other objects, which could run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(no_checkpoint(path))
    if path.suffix.lower() in (*EXPORTED, ".safetensors"):
        raise InputError(_is_exported(path))
    # What torch's reader raises for other files is anything.
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a checkpoint, or only a part of one.")
    try:
        contents: Any = torch.load(path, map_location=map_location, weights_only=True)
        return contents
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} was refused: it holds more than tensors and plain values, which could run code when loaded."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error


def network_from(checkpoint: dict[str, Any], path: str | Path) -> SegmentationNetwork:
    """The network that a checkpoint describes, without its weights.

    Raises:
        InputError: The checkpoint holds a network of the user's own, which only the user can build.
    """
    recipe = checkpoint["hiast"]["network"]
    if recipe is None:
        raise InputError(
            f"{path} holds a network of your own class: pass it as network=... in Python, or add --config-dir, "
            "+scenario=NAME and backbone=NAME to hiast-eval."
        )
    return build_from_recipe(recipe)


def check_fit(
    checkpoint: dict[str, Any], network: torch.nn.Module, classes: LabelSpace, path: str | Path
) -> None:
    """Refuse a checkpoint of other classes or of another network.

    Raises:
        InputError: Says what differs.
    """
    theirs = list(checkpoint["hiast"]["classes"]["names"])
    if theirs != list(classes.names):
        raise InputError(
            f"{path} knows the {len(theirs)} classes {', '.join(theirs)}, this run has the {len(classes)} classes "
            f"{', '.join(classes.names)}: name a checkpoint of the same classes."
        )
    there = {key: tuple(value.shape) for key, value in network_weights(checkpoint).items()}
    here = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    different = [key for key in (*here, *there) if there.get(key) != here.get(key)]
    if different:
        raise InputError(
            f"{path} holds another network: {different[0]} and {len(different) - 1} more weights differ from this "
            "run's backbone. Name a checkpoint of the same backbone."
        )


def network_weights(checkpoint: dict[str, Any], prefix: str = "network.") -> dict[str, torch.Tensor]:
    """State dict of one part of the module, by default of the network, without its prefix."""
    return {
        key.removeprefix(prefix): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(prefix)
    }
