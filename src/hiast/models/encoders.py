"""Encoders of segmentation-models-pytorch and timm: their weights, the license of these, the input they expect."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from hiast.errors import InputError
from hiast.models.downloads import downloading
from hiast.models.network import IMAGENET_MEAN, IMAGENET_STD, Triple
from hiast.models.packaged import PACKAGES
from hiast.models.timm_weights import fit_to_encoder
from hiast.models.weights import load_backbone_weights, read_weights

log = logging.getLogger(__name__)

# They reach through to timm.create_model, where they would read files or fetch from the network.
FORBIDDEN_OPTIONS = frozenset({"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"})
FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
# What users may overlook in a license that timm names.
RESTRICTIONS = {
    "dinov3": "the DINOv3 License of Meta",
    "dinov3-license": "the DINOv3 License of Meta",
    "cc-by-nc-4.0": "CC BY-NC 4.0, which forbids commercial use",
}
# Older versions of timm do not record these.
LICENSES = {"dinov3": "dinov3", "pvt_v2": "apache-2.0", "tf_efficientnet_lite": "apache-2.0"}
MIT_LICENSE = "the NVIDIA Source Code License for SegFormer, which forbids commercial use"


def check_encoder(encoder: str, options: Mapping[str, Any], known: set[str]) -> None:
    """Refuse names and options that would fetch files, or that the libraries would ignore silently.

    Args:
        encoder: Name in segmentation-models-pytorch, or in timm with the prefix ``tu-``.
        options: Options for the network. Encoders of timm check those that are not ``known`` themselves.
        known: Options that the architecture takes.

    Raises:
        InputError: The name holds a source; an option is forbidden or unknown.
    """
    # A colon names a model source of timm, a hub or a folder, from which it would fetch a configuration.
    if ":" in encoder:
        raise InputError(f"Encoder '{encoder}' names a source; use a plain name such as resnet34.")
    forbidden = sorted(FORBIDDEN_OPTIONS & options.keys())
    if forbidden:
        raise InputError(f"A backbone does not take {', '.join(forbidden)}; give weights=... instead.")
    unknown = sorted(options.keys() - known)
    if unknown and not encoder.startswith("tu-"):
        raise InputError(f"There is no option {', '.join(unknown)} for a backbone with encoder {encoder}.")


def downloaded(weights: str | Path | None, encoder: str) -> str | None:
    """The part of ``weights`` that a library downloads: neither packages nor files."""
    if weights in PACKAGES:
        package = PACKAGES[str(weights)]
        if encoder != package.encoder:
            raise InputError(f"weights={weights} fits encoder={package.encoder}, not {encoder}.")
        return None
    if weights is None or isinstance(weights, Path):
        return None
    return None if Path(weights).suffix in FILE_SUFFIXES else weights


def library_weights(encoder: str, weights: str | None) -> str | bool | None:
    """``weights`` as the library wants them: for timm the tag in the encoder's name selects them, so a flag."""
    return True if weights is not None and encoder.startswith("tu-") else weights


@contextmanager
def building(title: str, encoder: str, weights: str | None) -> Iterator[None]:
    """Turn the errors of the libraries inside this context into one sentence.

    Args:
        title: What is built, as the beginning of a sentence.
        encoder: Name of the encoder.
        weights: Weights that are downloaded, if any.

    Raises:
        InputError: The weights cannot be downloaded, or the network cannot be built.
    """
    try:
        if weights is None:
            yield
            return
        with downloading(
            f"The weights {weights} of encoder {encoder}",
            "give backbone.weights=/path/encoder.pth (a state dict of the encoder) or backbone.weights=null",
        ):
            yield
    except InputError:
        raise
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error.args[0] if error.args else error).split("\n")[0].rstrip(".")
        raise InputError(f"{title} cannot be built: {reason}.") from error


def load_encoder(
    encoder: nn.Module, name: str, weights: str | Path | None, options: Mapping[str, Any]
) -> None:
    """Load the weights that no library has downloaded, and log the license of those that come from others.

    Args:
        encoder: Encoder of segmentation-models-pytorch to fill in place.
        name: Its name.
        weights: As the networks take them: a package, a file, what was downloaded, or None.
        options: Options that timm made it with.

    Raises:
        InputError: The package is not installed, or the file cannot be read or does not fit.
    """
    if weights is None:
        return
    packaged, fetched = weights in PACKAGES, downloaded(weights, name) is not None
    if packaged or fetched:
        log_once(f"The weights {weights} of encoder {name} are under {license_of(name)}.")
    if fetched:
        return
    state = PACKAGES[str(weights)].read() if packaged else read_weights(weights)
    core = encoder
    if name.startswith("tu-"):
        core = encoder.model  # type: ignore[assignment]
        state = fit_to_encoder(state, core, name.removeprefix("tu-"), options)
    load_backbone_weights(core, state, str(weights))


def license_of(encoder: str) -> str:
    """License of the published weights of ``encoder``, as the end of a sentence."""
    import timm

    if encoder.startswith("mit_b"):
        return MIT_LICENSE
    settings = timm.get_pretrained_cfg(encoder.removeprefix("tu-")) if encoder.startswith("tu-") else None
    known = next((license_ for part, license_ in LICENSES.items() if part in encoder), None)
    name = getattr(settings, "license", None) or known
    if not name:
        return "a license that the library does not record: look it up before you use them"
    return RESTRICTIONS.get(name, f"the license {name}")


@cache
def log_once(sentence: str) -> None:
    """Log ``sentence`` once per process."""
    log.info(sentence)


def input_settings(
    encoder: str, weights: str | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Triple, Triple]:
    """Mean and std of the input, for images in 0..1.

    Args:
        encoder: Name of the encoder.
        weights: Weights that are downloaded, if any.
        mean: The user's choice; None takes that of the encoder's training, or of ImageNet where it is not known.
        std: Divisor of each RGB channel, for images scaled to 0..1.

    Raises:
        InputError: There are not three numbers, or the encoder reads BGR images.
    """
    own_mean, own_std = _own_settings(encoder, weights)
    return (
        own_mean if mean is None else triple(mean, "mean"),
        own_std if std is None else triple(std, "std"),
    )


def _own_settings(encoder: str, weights: str | None) -> tuple[Triple, Triple]:
    import timm
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    if encoder.startswith("tu-"):
        settings = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if settings is None:
            return IMAGENET_MEAN, IMAGENET_STD
        return triple(settings.mean, "mean"), triple(settings.std, "std")
    if weights is None:
        return IMAGENET_MEAN, IMAGENET_STD
    params = get_preprocessing_params(encoder, pretrained=weights)
    if params["input_space"] != "RGB":
        raise InputError(f"Encoder {encoder} with weights {weights} reads BGR images; choose another.")
    high = float(params["input_range"][1])
    mean, std = ([value / high for value in params[key]] for key in ("mean", "std"))
    return triple(mean, "mean"), triple(std, "std")


def triple(values: Sequence[float], name: str) -> Triple:
    """Three floats, one per color channel."""
    if len(values) != 3:
        raise InputError(f"{name} needs three numbers, one per channel, not {list(values)}.")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def plain(value: Any, key: str) -> Any:
    """``value`` of built-in types only, so that a recipe can be stored in a checkpoint."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(inner, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner, key) for inner in value]
    raise InputError(f"Option {key} of a backbone must be a plain value, not a {type(value).__name__}.")
