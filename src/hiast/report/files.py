"""The records that a run leaves for its report, beside its results: names, writing, tolerant reading.

===================================  ==================================================================================
``STAGE/validation_N.json``          the last validation of round N: confusion matrix, its worst and best images
``STAGE/examples_N.json``            target images: prediction before and after round N, and pseudo-label
``STAGE/hard_classes_N.json``        hard classes of round N, their donors, and what was drawn
``classes.json``                     names, colors and reported means of the classes
``candidates_labeled.json``          mIoU of each candidate on labeled images; nothing is chosen by it
``settings.json``                    settings that differ from the defaults
``times.json``                       seconds of training, labeling and validation, memory, devices
``images.json``                      number of images of each role, and a hash of their names, as the run began
``lineage.json``                     which checkpoint each round started from, and which one labeled it
===================================  ==================================================================================

All but ``times.json`` are functions of the run alone and the same after an interruption as without one.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FORMAT = 1
CLASSES = "classes.json"
LABELED = "candidates_labeled.json"
SETTINGS = "settings.json"
TIMES = "times.json"
IMAGES = "images.json"
LINEAGE = "lineage.json"
REPORT = "report.html"
COLUMNS = ("stage", "round", "step", "name", "value")
"""Columns of ``metrics.csv``."""


def validation_path(folder: Path, stage: str, number: int) -> Path:
    """Record of the last validation of a round."""
    return folder / stage / f"validation_{number}.json"


def examples_path(folder: Path, stage: str, number: int) -> Path:
    """Record of the examples of a round."""
    return folder / stage / f"examples_{number}.json"


def hard_classes_path(folder: Path, stage: str, number: int) -> Path:
    """Record of the hard classes of a round."""
    return folder / stage / f"hard_classes_{number}.json"


def read_record(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file, or one that is damaged or of another format.

    A report is about whatever is there, so a file that cannot be used is left out of it instead of ending it.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError:
        return None
    except ValueError:
        log.warning("%s is damaged: the report does without it.", path)
        return None
    if not isinstance(content, dict) or content.get("format", FORMAT) != FORMAT:
        return None
    return content


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics file; a last line that a crash cut off is left out."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1].decode("utf-8")
    return [row for row in csv.DictReader(io.StringIO(whole)) if row.get("value") is not None]


def number(value: Any) -> float:
    """A number, NaN for anything else.

    Examples:
        >>> number("0.5"), number(None), number(True)
        (0.5, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        found = float(value)
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan
