"""Settings that change no result: a run may be resumed with others, and runs that differ in them are equal."""

from __future__ import annotations

from typing import Any

ANYWHERE = frozenset({"data_root", "cache_folder", "num_workers", "run", "logger", "report", "compile_mode"})
"""By the last part of their key (compiled passes change no more than another device does)."""

OF_TRAINER = frozenset(
    {"accelerator", "devices", "num_nodes", "strategy"}
    | {"max_time", "profiler", "detect_anomaly", "enable_model_summary"}
)
"""Arguments of the trainer: where a run works (batch sizes are totals), how long, and what it shows or checks."""


def same_pixels(key: str, value: Any) -> bool:
    """Whether a setting chooses a cache that holds the pixels of the files, as all but ``jpeg`` do.

    Examples:
        >>> same_pixels("data.cache", "raw"), same_pixels("data.cache", "jpeg"), same_pixels("seed", 1)
        (True, False, False)
    """
    return key == "data.cache" and value != "jpeg"
