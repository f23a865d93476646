"""What a file of torch.export may hold before it is loaded: tensors and a plain graph, no pickled objects."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hiast.errors import InputError

_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|extra/[\w.-]+|models/\w+\.json|data/sample_inputs/\w+\.pt"
    r"|data/weights/(\w+_config\.json|weight_\d+)|data/constants/(\w+_config\.json|tensor_\d+)"
)
_NAMES = frozenset(
    {
        *("FloorDiv", "ModularIndexing", "Where", "Mod", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt"),
        *(
            "TruncToInt",
            "RoundToInt",
            "IntTrueDiv",
            "FloatTrueDiv",
            "Max",
            "Min",
            "Eq",
            "Ne",
            "Lt",
            "Le",
            "Gt",
            "Ge",
        ),
        *(
            "Add",
            "Mul",
            "Pow",
            "Integer",
            "Rational",
            "Symbol",
            "positive",
            "nonnegative",
            "integer",
            "CeilDiv",
        ),
        *("Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan"),
        *("And", "Or", "Not", "True", "False", "true", "false"),
    }
)
"""Functions that may occur in the formulas of sizes, which torch.export evaluates as Python."""

_SYMBOL = re.compile(r"[sufz]+\d+")
_QUOTED = re.compile(r"'([sufz]+\d+)'")


def check_archive(path: Path) -> None:
    """Refuse a file of torch.export that holds more than tensors, a graph and formulas of sizes.

    torch.export itself unpickles what it finds. This does not make a stranger's file safe beyond doubt.

    Raises:
        InputError: The file is not such an archive, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                inner = name.partition("/")[2]
                if not _MEMBERS.fullmatch(inner):
                    raise InputError(f"{path} was refused: it holds {inner or name}, unlike torch.export.")
                if inner.endswith("_config.json"):
                    _check_config(json.loads(archive.read(name)), path)
                elif inner.startswith("models/"):
                    _check_formulas(json.loads(archive.read(name)), path)
                elif inner.endswith(".pt"):
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} was refused: it holds more than tensors and plain values, which could run code when loaded."
        ) from error
    except (zipfile.BadZipFile, ValueError, RuntimeError, KeyError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a file of torch.export, or only a part of one.") from error


def _check_config(config: Any, path: Path) -> None:
    entries = config.get("config", {}) if isinstance(config, dict) else None
    plain = isinstance(entries, dict) and all(
        isinstance(entry, dict) and entry.get("use_pickle") is False for entry in entries.values()
    )
    if not plain:
        raise InputError(f"{path} was refused: it holds pickled objects, which could run code when loaded.")


def _check_formulas(model: Any, path: Path) -> None:
    for formula in _formulas(model):
        bare = _QUOTED.sub(r"\1", formula)
        names = re.findall(r"[^\W\d]\w*", bare)
        strange = [name for name in names if name not in _NAMES and not _SYMBOL.fullmatch(name)]
        if strange or re.search(r"[\[\]{}'\"\\:;@]|\.\D|\.$", bare):
            raise InputError(f"{path} was refused: '{formula[:60]}' is not a formula of a size.")


def _formulas(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr_str" and isinstance(inner, str):
                yield inner
            else:
                yield from _formulas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _formulas(inner)
