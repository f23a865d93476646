"""Reading weights from files, safely, and saying what fitted and what did not."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hiast.errors import InputError

PREFIXES = ("", "module.", "seg_model.", "module.seg_model.")
NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "weights")
StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class LoadReport:
    """What became of the entries of a checkpoint.

    Attributes:
        loaded: Keys of the model that were filled.
        unused: Keys of the checkpoint, as written there, that the model has no place for.
        missing: Keys of the model that the checkpoint does not have; they kept their values.
    """

    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} of {len(self.loaded) + len(self.missing)} entries loaded; "
            f"not used: {_listing(self.unused)}; missing: {_listing(self.missing)}."
        )


def load_published_weights(model: nn.Module, source: str | Path | Mapping[str, object]) -> LoadReport:
    """Copy the weights of a published checkpoint into ``model``.

    Keys may carry the prefix ``seg_model.``, ``module.seg_model.`` or ``module.``, and the state dict may lie
    under ``state_dict``, ``model`` or a similar key. Files are read without running any code they contain.

    Args:
        model: Network to fill in place.
        source: File, or the state dict itself.

    Returns:
        The keys loaded, unused and missing.

    Raises:
        InputError: The file is absent, damaged or holds more than plain tensors; a shape differs; or no key
            of the checkpoint is known to ``model``. The model is unchanged then.
    """
    name = "the given state dict" if isinstance(source, Mapping) else str(source)
    state = _tensors(source, name) if isinstance(source, Mapping) else read_weights(source)
    return _copy(model, state, name)


def read_weights(path: str | Path) -> StateDict:
    """Tensors of the state dict in the file ``path``, on the CPU, with their keys as written.

    Raises:
        InputError: The file is absent, damaged, or holds more than plain tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}; check the path.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors and was not opened, because that could run code; "
            f"save the state dict alone with torch.save."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a readable weights file; download or save it again.") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}, not a state dict; save the state dict.")
    return _tensors(content, str(path))


def load_backbone_weights(backbone: nn.Module, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Fill ``backbone`` completely from the state dict of a classification network.

    Args:
        backbone: Network to fill in place.
        state: Its weights; more entries (a classifier) are allowed.
        source: Where they come from, for the message.

    Raises:
        InputError: A shape differs or an entry of the backbone is missing.
    """
    report = _copy(backbone, state, source)
    missing = [key for key in report.missing if not key.endswith("num_batches_tracked")]
    if missing:
        raise InputError(f"{source} does not fit the backbone: it lacks {_listing(missing)}.")
    return report


def _copy(model: nn.Module, state: Mapping[str, Tensor], name: str) -> LoadReport:
    own = model.state_dict()
    prefix = max(PREFIXES, key=lambda p: sum(k.startswith(p) and k.removeprefix(p) in own for k in state))
    fitting = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix) and key.removeprefix(prefix) in own
    }
    if not fitting:
        raise InputError(
            f"No entry of {name} belongs to {type(model).__name__}; its keys are {_listing(tuple(state))}."
        )
    for key, value in fitting.items():
        if value.shape != own[key].shape:
            raise InputError(
                f"{key} has shape {list(value.shape)} in {name} but {list(own[key].shape)} in the model; "
                f"build the model with the checkpoint's number of classes and layers."
            )
    model.load_state_dict(fitting, strict=False)
    used = {prefix + key for key in fitting}
    return LoadReport(
        loaded=tuple(fitting),
        unused=tuple(key for key in state if key not in used),
        missing=tuple(key for key in own if key not in fitting),
    )


def _tensors(content: Mapping[str, object], name: str) -> StateDict:
    for key in NESTED_UNDER:
        nested = content.get(key)
        if isinstance(nested, Mapping):
            return _tensors(nested, name)
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise InputError(f"{name} holds no tensors; a state dict is expected.")
    return state


def _listing(keys: tuple[str, ...] | list[str], most: int = 6) -> str:
    if not keys:
        return "none"
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
