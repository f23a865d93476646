"""Reading checkpoints: tensors and plain values only, whatever the file claims to be."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from hiast.errors import InputError
from hiast.models import SegmentationNetwork, build_from_recipe

FORMAT = 1
"""Version of what is stored under the key ``hiast``; raised when older programs could not read it."""

_KEYS = {"stage", "round", "batches_done", "arguments", "classes", "network", "config"}


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Contents of a checkpoint that this library wrote.

    Raises:
        InputError: The file is missing, damaged, holds pickled objects, or was not written by this library.
    """
    contents: dict[str, Any] = load_plain(path, map_location)
    about = contents.get("hiast") if isinstance(contents, dict) else None
    if not isinstance(about, dict) or "state_dict" not in contents:
        raise InputError(
            f"{path} is not a checkpoint of this library: for weights published by others, name the scenario too "
            "(hiast-eval checkpoint=... +scenario=...)."
        )
    if about.get("format") != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {about.get('format')}; this version reads format {FORMAT}."
        )
    lacking = sorted(_KEYS - about.keys())
    if lacking:
        raise InputError(f"{path} is damaged: it does not say its {', '.join(lacking)}.")
    return contents


def load_plain(path: str | Path, map_location: str | torch.device = "cpu") -> Any:
    """``torch.load`` of tensors and plain values; anything else is refused.

    Raises:
        InputError: The file is missing, damaged, or holds other objects, which could run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no checkpoint {path}.")
    # What torch's reader raises for other files is anything.
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is no checkpoint, or only a part of one.")
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
        raise InputError(f"{path} holds a network of your own class: pass it as network=... .")
    return build_from_recipe(recipe)


def network_weights(checkpoint: dict[str, Any], prefix: str = "network.") -> dict[str, torch.Tensor]:
    """State dict of one part of the module, by default of the network, without its prefix."""
    return {
        key.removeprefix(prefix): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(prefix)
    }
