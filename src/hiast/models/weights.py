"""Reading weights from files, safely, and saying what fitted and what did not."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hiast.errors import InputError

PREFIXES = ("", "module.", "seg_model.", "module.seg_model.", "model.", "module.model.")
# HRDA and MIC keep the head of DAFormer one level deeper, beside the scale attention.
SHARED_HEAD, SCALE_ATTENTION = "decode_head.head.", "decode_head.scale_attention."
NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "weights")
StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class LoadReport:
    """What became of the entries of a checkpoint.

    Attributes:
        loaded: Keys of the model that were filled.
        unused: Keys of the checkpoint, as written there, that the model has no place for.
        missing: Keys of the model that the checkpoint does not have; they kept their values.
        note: What else the user should know, in one sentence; may be empty.
    """

    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    note: str = ""

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} of {len(self.loaded) + len(self.missing)} entries loaded; "
            f"not used: {_grouped(self.unused)}; missing: {_grouped(self.missing)}. {self.note}"
        ).rstrip()


def load_published_weights(model: nn.Module, source: str | Path | Mapping[str, object]) -> LoadReport:
    """Copy the weights of a published checkpoint into ``model``.

    Keys may carry the prefix ``seg_model.``, ``model.`` or ``module.`` before them, and the state dict may lie
    under ``state_dict``, ``model`` or a similar key. Files are read without running any code they contain.

    Checkpoints of DAFormer, HRDA and MIC (of mmsegmentation) hold the student under ``model.``, which is loaded and
    is what their authors evaluate, beside its teacher and the ImageNet encoder, which are not used. The head that an
    HRDA network shares between its scales also fits :class:`hiast.models.DAFormer`.

    Args:
        model: Network to fill in place.
        source: File, or the state dict itself.

    Returns:
        The keys loaded, unused and missing.

    Raises:
        InputError: The file is absent, damaged or holds more than plain tensors; a shape differs; no key of the
            checkpoint is known to ``model``; or ``model`` has a scale attention and the checkpoint has none. The
            model is unchanged then.
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
    places = _places(state, own)
    if not places:
        raise InputError(
            f"No entry of {name} belongs to {type(model).__name__}; its keys are {_listing(tuple(state))}."
        )
    for key, place in places.items():
        if state[key].shape != own[place].shape:
            raise InputError(
                f"{place} has shape {list(state[key].shape)} in {name} but {list(own[place].shape)} in the model; "
                f"build the model with the checkpoint's number of classes and layers."
            )
    filled = set(places.values())
    note = _scale_note(filled, own, places.keys(), name)
    # Some encoders override load_state_dict with fewer arguments.
    nn.Module.load_state_dict(model, {place: state[key] for key, place in places.items()}, strict=False)
    return LoadReport(
        loaded=tuple(places.values()),
        unused=tuple(key for key in state if key not in places),
        missing=tuple(key for key in own if key not in filled),
        note=note,
    )


def _places(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, str]:
    """Keys of ``state`` that the model has a place for, each with its key in the model."""

    def place(key: str) -> str:
        shallow = key.replace(SHARED_HEAD, "decode_head.")
        return key if key in own or shallow not in own else shallow

    def fitting(prefix: str) -> dict[str, str]:
        bare = {key: place(key.removeprefix(prefix)) for key in state if key.startswith(prefix)}
        return {key: name for key, name in bare.items() if name in own}

    return max((fitting(prefix) for prefix in PREFIXES), key=len)


def _scale_note(filled: set[str], own: Mapping[str, Tensor], used: Iterable[str], name: str) -> str:
    """What to say where the checkpoint or the model alone has a scale attention."""
    attention = {key for key in own if key.startswith(SCALE_ATTENTION)}
    if attention and not attention & filled:
        raise InputError(
            f"{name} holds no scale attention, so it is not of HRDA or MIC; use backbone=daformer_mit_b5 for DAFormer."
        )
    if not attention and any(SHARED_HEAD in key for key in used):
        return (
            "The checkpoint is of HRDA or MIC, and one scale alone is used; backbone=hrda_mit_b5 uses both scales "
            "and their attention, as published."
        )
    return ""


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


def _grouped(keys: tuple[str, ...], most: int = 6) -> str:
    """The keys themselves or, if they are many, how many there are of each kind."""
    if len(keys) <= most:
        return _listing(keys)
    parts = Counter(".".join(key.split(".")[:2]) for key in keys)
    if len(parts) > most:
        parts = Counter(key.partition(".")[0] for key in keys)
    return ", ".join(f"{part}.* ({count})" for part, count in parts.items())
