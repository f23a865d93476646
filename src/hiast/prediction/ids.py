"""Which number stands for a class in a label file: the index of the scenario, or the id of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.classes import (
    CITYSCAPES_19,
    CITYSCAPES_IDS,
    IGNORED,
    ROBOTCAR_9,
    ROBOTCAR_IDS,
    SYNTHIA_19,
    SYNTHIA_IDS,
    LabelSpace,
)
from hiast.errors import InputError

KNOWN: Mapping[str, tuple[LabelSpace, Mapping[int, int]]] = {
    "cityscapes": (CITYSCAPES_19, CITYSCAPES_IDS),
    "gta5": (CITYSCAPES_19, CITYSCAPES_IDS),
    "synthia": (SYNTHIA_19, SYNTHIA_IDS),
    "robotcar": (ROBOTCAR_9, ROBOTCAR_IDS),
}
"""Datasets whose ids are known."""


def class_ids(
    wanted: str | Mapping[str, int], classes: LabelSpace, target: Mapping[str, Any] | None = None
) -> tuple[int, ...]:
    """The id of each class in label files.

    Args:
        wanted: "scenario": the class index; "dataset": the id of the target dataset; a name of ``KNOWN``; or a
            table class name -> id.
        classes: The label space.
        target: Configuration of the target dataset, as in a checkpoint; needed for "dataset".

    Returns:
        One id per class, 0..65535. Where a dataset has several ids for a class it is the smallest.

    Raises:
        InputError: A class has no id.
    """
    if isinstance(wanted, Mapping):
        table = {str(name): number for name, number in wanted.items()}
    elif wanted == "scenario":
        return tuple(range(len(classes)))
    elif wanted == "dataset":
        table = _of_dataset(target)
    elif wanted in KNOWN:
        table = _smallest({raw: KNOWN[wanted][0].names[index] for raw, index in KNOWN[wanted][1].items()})
    else:
        raise InputError(
            f"ids is '{wanted}': choose scenario, dataset, {', '.join(KNOWN)}, or give a table such as {{road: 7}}."
        )
    missing = [name for name in classes.names if name not in table]
    if missing:
        raise InputError(
            f"ids: there is no id for {', '.join(missing)}: give a table for all classes, or ids=scenario."
        )
    numbers = [table[name] for name in classes.names]
    if not all(type(number) is int and 0 <= number <= 65535 for number in numbers):
        raise InputError("ids: an id is a whole number from 0 to 65535.")
    return tuple(numbers)


def id_lookup(ids: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    """Table [256] from class index to id, uint8 if all ids fit; ignored pixels stay 255."""
    kind: type[np.unsignedinteger] = np.uint8 if max(ids) <= 255 else np.uint16
    table: NDArray[np.unsignedinteger] = np.full(256, IGNORED, kind)
    table[: len(ids)] = ids
    return table


def _of_dataset(target: Mapping[str, Any] | None) -> dict[str, int]:
    kind = str((target or {}).get("_target_", "")).rpartition(".")[2].removesuffix("DataModule").lower()
    if target is None or not kind:
        raise InputError(
            "ids=dataset: the model does not say what its target dataset is; name it, or give a table."
        )
    if kind in KNOWN:
        found = {raw: KNOWN[kind][0].names[index] for raw, index in KNOWN[kind][1].items()}
    elif isinstance(target.get("ids"), Mapping):
        found = {int(raw): name for raw, name in target["ids"].items() if name is not None}
    else:
        raise InputError(
            f"ids=dataset: the target dataset ({kind}) has no table of ids; give one, or use ids=scenario."
        )
    class_map = dict(target.get("class_map") or {})
    renamed = {raw: class_map.get(name, name) for raw, name in found.items()}
    return _smallest({raw: name for raw, name in renamed.items() if name is not None})


def _smallest(names: Mapping[int, str]) -> dict[str, int]:
    table: dict[str, int] = {}
    for raw in sorted(names):
        table.setdefault(names[raw], raw)
    return table
