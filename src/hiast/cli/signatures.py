"""What a constructor takes: the names of its arguments and what their annotations allow."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hiast.cli.kinds import FilePath, Flag, Kind, Number, Text, UnfitError, Whole, choose
from hiast.cli.nearest import closest, moved
from hiast.errors import InputError

_SCALARS: dict[Any, Kind] = {
    bool: Flag(),
    int: Whole(-(2**63)),
    float: Number(),
    str: Text(),
    Path: FilePath(),
}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_SEQUENCES = (list, tuple, Sequence)


def find_target(name: Any, key: str) -> Callable[..., Any]:
    """The class or function that ``_target_`` names.

    Raises:
        InputError: There is none of this name.
    """
    found = find(name, key)
    if not callable(found):
        raise InputError(f"{key}: {name} is neither a class nor a function.")
    return found  # type: ignore[no-any-return]


def find(name: Any, key: str) -> Any:
    """The object of a dotted name.

    Raises:
        InputError: There is none of this name.
    """
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise InputError(
            f"{key} is {name!r}: write the dotted name of a class, such as hiast.data.FolderDataModule."
        )
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module_name = ".".join(parts[:count])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                continue
            raise
        for at, part in enumerate(parts[count:], count):
            if not hasattr(found, part):
                raise InputError(_no_target(name, ".".join(parts[:at]), part, dir(found), key))
            found = getattr(found, part)
        return found
    raise InputError(_no_target(name, "", name, (), key))


def _no_target(name: str, holder: str, part: str, names: Sequence[str], key: str) -> str:
    new = moved(name) or ""
    if not new:
        close = closest(part, names)
        new = f"{holder}.{close}" if close else ""
    hint = f"; did you mean {new}?" if new else "; write the dotted name of a class or function that exists."
    return f"{key}: there is no {name}{hint}"


def arguments(target: Callable[..., Any]) -> tuple[dict[str, Any], bool]:
    """Annotations of the arguments that a target takes by name, and whether it takes others too.

    Arguments that a class passes on to the constructor of its base (``**options``) count as its own.
    """
    found: dict[str, Any] = {}
    owners = (
        [c for c in inspect.getmro(target) if "__init__" in vars(c)] if inspect.isclass(target) else [target]
    )
    for owner in owners:
        function = vars(owner)["__init__"] if inspect.isclass(owner) else owner
        try:
            parameters = list(inspect.signature(function).parameters.values())[inspect.isclass(owner) :]
        except (TypeError, ValueError):  # written in C
            return found, True
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if owner is not owners[0] and not named:
            return found, True  # The class keeps its **options for itself.
        hints = _hints(function)
        found = {p.name: hints.get(p.name, Any) for p in named} | found
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return found, False
    return found, True


def of_lightning(name: str) -> dict[str, Any]:
    """Arguments of ``pl.Trainer`` ("Trainer") or of ``Fabric``."""
    module = "pytorch_lightning" if name == "Trainer" else "lightning_fabric"
    return arguments(getattr(importlib.import_module(module), name))[0]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names that are imported for type checkers only
        return {}


def fitted(value: Any, annotation: Any) -> Any:
    """A plain value as an annotation wants it.

    Raises:
        UnfitError: It is of another type.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _fitted_one(value, inner)
    if origin is typing.Literal:
        if value not in inner:
            raise UnfitError(choose(inner), f"is {value!r}")
        return value
    if annotation is type(None):
        if value is not None:
            raise UnfitError("null")
        return None
    if annotation in _SCALARS:
        return _scalar(value, annotation)
    if (origin or annotation) in _SEQUENCES:
        return _sequence(value, inner)
    if (origin or annotation) in (dict, Mapping):
        return _mapping(value, inner)
    return value


def dataclass_of(annotation: Any) -> type | None:
    """The dataclass in an annotation, which a plain mapping may stand for."""
    choices = typing.get_args(annotation) or (annotation,)
    return next((choice for choice in choices if isinstance(choice, type) and is_dataclass(choice)), None)


def _fitted_one(value: Any, annotations: Sequence[Any]) -> Any:
    """As the first of several annotations that the value fits; exact types come before conversions."""
    exact = [annotation for annotation in annotations if type(value) is annotation]
    wanted, found = [], None
    for annotation in [*exact, *annotations]:
        try:
            return fitted(value, annotation)
        except UnfitError as error:
            wanted.append(str(error))
            found = found or error.found
    simple = [text for text in wanted if text != "null" or len(max(wanted, key=len)) < 20]
    raise UnfitError(" or ".join(dict.fromkeys(simple)), found)


def _scalar(value: Any, annotation: Any) -> Any:
    try:
        return _SCALARS[annotation].take(value)
    except UnfitError as error:
        raise UnfitError(_NAMES[annotation]) from error


def _sequence(value: Any, inner: tuple[Any, ...]) -> list[Any]:
    if not isinstance(value, list):
        raise UnfitError("a list")
    fixed = inner and Ellipsis not in inner and len(inner) > 1
    if fixed and len(value) != len(inner):
        raise UnfitError(f"a list of {len(inner)}")
    items = inner if fixed else (inner or (Any,))[:1] * len(value)
    try:
        return [fitted(item, annotation) for item, annotation in zip(value, items, strict=True)]
    except UnfitError as error:
        wanted = str(error).replace("choose", "one of")
        raise UnfitError(f"a list in which each item is {wanted}") from error


def _mapping(value: Any, inner: tuple[Any, ...]) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise UnfitError("a mapping (key: value)")
    keys, values = inner or (Any, Any)
    return {_part(k, keys, "key"): _part(v, values, "value") for k, v in value.items()}


def _part(value: Any, annotation: Any, part: str) -> Any:
    try:
        return fitted(value, annotation)
    except UnfitError as error:
        wanted = str(error).replace("choose", "one of")
        raise UnfitError(f"a mapping in which each {part} is {wanted}") from error
