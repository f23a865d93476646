"""How the images of a run's target are read, so that others are read alike later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hiast.data.io.images import ImageReader


def target_reader(run_config: Mapping[str, Any], bands: Any = None, value_range: Any = None) -> ImageReader:
    """The reader of the target's images in the configuration of a run.

    Args:
        run_config: As a checkpoint holds it; empty: images are read without settings.
        bands: Replaces the target's; None keeps it.
        value_range: Replaces the target's; None keeps it.

    Raises:
        InputError: A setting does not make sense.

    Examples:
        >>> target_reader({"data": {"target": {"value_range": [0, 4095]}}}).value_range
        (0.0, 4095.0)
    """
    known = image_settings(run_config)
    return ImageReader(
        bands=known.get("bands") if bands is None else bands,
        value_range=known.get("value_range") if value_range is None else value_range,
    )


def image_settings(run_config: Mapping[str, Any]) -> dict[str, Any]:
    """``bands`` and ``value_range`` of the target in the configuration of a run, where they are set.

    Examples:
        >>> image_settings({"data": {"target": {"value_range": [0, 4095], "bands": None}}})
        {'value_range': [0, 4095]}
    """
    data = run_config.get("data")
    target = data.get("target") if isinstance(data, Mapping) else None
    known = target if isinstance(target, Mapping) else {}
    return {name: known[name] for name in ("bands", "value_range") if known.get(name) is not None}
