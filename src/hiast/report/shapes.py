"""Records brought to the shape that a page draws; entries of another shape are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Kinds = Mapping[str, type | tuple[type, ...]]

_NUMBER = (int, float)
_PICTURES = ("image", "label", "prediction", "before", "after", "strong")
_START: dict[str, tuple[type, ...]] = {
    "time": (str,),
    "command": (list,),
    "seed": (int,),
    "git": (str,),
    "python": (str,),
    "platform": (str,),
    "cpu_count": (int,),
    "torch_threads": (int,),
    "cpu_instructions": (str,),
    "devices": (list,),
    "cuda": (str,),
    "packages": (dict,),
}


def validation(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a validation: ``matrix``, ``step``, ``images``, ``pixel_accuracy``, ``worst`` and ``best``."""
    kinds: Kinds = {"name": str, "wrong": _NUMBER, "image": str, "label": str, "prediction": str}
    return {
        "matrix": record.get("matrix"),
        "step": _number(record.get("step")),
        "images": _number(record.get("images")),
        "pixel_accuracy": _number(record.get("pixel_accuracy")),
        "worst": fitting(record.get("worst"), kinds),
        "best": fitting(record.get("best"), kinds),
    }


def examples(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of examples: ``examples`` and ``training``."""
    training: Kinds = {"name": str, "image": str, "label": str, "strong": str}
    return {
        "examples": fitting(record.get("examples"), {"name": str, "image": str, "before": str}),
        "training": fitting(record.get("training"), training),
    }


def hard_classes(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of hard classes: ``crops`` and ``classes``."""
    kinds: Kinds = {
        "class": str,
        "mean_confidence": _NUMBER,
        "probability": _NUMBER,
        "images": int,
        "draws": int,
        "most_used": list,
    }
    crops = record.get("crops")
    return {
        "crops": crops if isinstance(crops, int) else 0,
        "classes": fitting(record.get("classes"), kinds),
    }


def start(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A start of the program; what it does not say is None."""
    return {
        key: value if isinstance(value := entry.get(key), kinds) else None for key, kinds in _START.items()
    }


def fit(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Times of a fit; None for an entry of another shape."""
    kinds: Kinds = {
        "stage": str,
        "round": int,
        "from": int,
        "to": int,
        "seconds": _NUMBER,
        "training": _NUMBER,
    }
    if not _fits(entry, kinds):
        return None
    numbers = {key: _number(entry.get(key)) for key in ("validation", "labeling", "memory")}
    images, devices = entry.get("images"), entry.get("devices")
    return {
        **{key: entry[key] for key in kinds},
        **numbers,
        "images": images if isinstance(images, int) else 0,
        "devices": devices if isinstance(devices, int) else 1,
        "device": str(entry.get("device", "")),
    }


def origin(entry: Mapping[str, Any]) -> dict[str, str]:
    """An entry of the lineage, all of it text."""
    keys = ("checkpoint", "started_from", "labels", "labeled_with", "weights")
    return {key: str(entry[key]) for key in keys if entry.get(key)}


def fitting(items: object, kinds: Kinds) -> list[dict[str, Any]]:
    """The entries of a list that have values of these kinds.

    Examples:
        >>> fitting([{"a": 1}, {"a": "x"}, 3], {"a": int})
        [{'a': 1}]
    """
    return [item for item in items if _fits(item, kinds)] if isinstance(items, list) else []


def _fits(item: object, kinds: Kinds) -> bool:
    if not isinstance(item, Mapping) or not all(
        isinstance(item.get(key), kind) for key, kind in kinds.items()
    ):
        return False
    # A picture stands in the page itself, and nothing is loaded from elsewhere.
    pictures = (item[key] for key in _PICTURES if key in item)
    return all(isinstance(picture, str) and picture.startswith("data:image/") for picture in pictures)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
