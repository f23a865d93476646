"""Every setting of a composed configuration is known and of its kind, or is refused with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from hiast.cli import signatures
from hiast.cli.kinds import Built, BuiltList, ByRound, Fields, Kind, Options, Table, UnfitError, flat
from hiast.cli.nearest import meant_by
from hiast.cli.settings import FORMS, SET_ELSEWHERE, TABLES
from hiast.errors import InputError

Place = Callable[[str], str | None]
"""Dotted key -> "FILE, line N" where a user has written it, or None."""

_HYDRA = frozenset({"_target_", "_partial_", "_args_", "_recursive_", "_convert_"})
_MISSING = object()


def check(
    config: DictConfig,
    command: str,
    place: Place = lambda key: None,
    groups: Iterable[str] = (),
    typed: Collection[str] = (),
) -> None:
    """Refuse unknown keys and values of another kind; convert what is clearly meant, in place.

    Values that are missing (``???``) are left to the commands, which know whether they need them.

    Args:
        config: The composed configuration.
        command: Name of the base configuration.
        place: Where a key was written, for messages.
        groups: Names of config groups, for suggestions.
        typed: Dotted keys of the command line.

    Raises:
        InputError: Names the key, the value, and the place or the nearest key.
    """
    table = TABLES[command]
    with read_write(config), open_dict(config):
        checker = _Checker(config, table, place, typed)
        # Keys that others refer to: a user may define some for that.
        used = set(re.findall(r"\$\{([A-Za-z_]\w*)", OmegaConf.to_yaml(config)))
        for name in config:
            if name not in table and name not in used:
                raise checker.unknown(str(name), [*table, *groups])
        checker.mapping(config, table, "")
        checker.rounds()


def check_built(node: DictConfig, key: str) -> None:
    """Check the keys of one node with ``_target_``.

    Raises:
        InputError: Names the key and what is wrong with it.
    """
    _Checker(node, {}).arguments(node, key)


class _Checker:
    def __init__(
        self, config: DictConfig, table: Table, place: Place = lambda key: None, typed: Collection[str] = ()
    ) -> None:
        self.config = config
        self.table = table
        self.place = place
        self.typed = typed
        self.incomplete = any(OmegaConf.is_missing(config, name) for name in config)

    def mapping(self, node: DictConfig, table: Table, outer: str) -> None:
        """Check what the table describes."""
        order = list(table)
        for name in sorted(node, key=lambda name: order.index(name) if name in table else -1):
            key = f"{outer}{name}"
            kind = table.get(str(name))
            if isinstance(kind, Kind):
                self.value(node, name, kind, key)
            elif kind is not None:
                inner = self.read(node, name, key)
                if not isinstance(inner, DictConfig):
                    raise self.error(key, f"{key} must hold {', '.join(kind)}, not {inner!r}.")
                self.mapping(inner, kind, f"{key}.")
            elif outer:
                raise self.unknown(key, table)

    def value(self, node: Any, name: Any, kind: Kind, key: str) -> None:
        """Check one value."""
        value = self.read(node, name, key)
        refers = OmegaConf.is_interpolation(node, name) and isinstance(value, DictConfig)
        if value is _MISSING or refers or isinstance(kind, ByRound):
            return  # What is referred to is checked where it stands; rounds come last.
        if isinstance(kind, BuiltList):
            if not isinstance(value, ListConfig):
                more = " Settings of logger=wandb are logger.wandb.KEY." if key == "logger.loggers" else ""
                raise self.error(key, f"{key} must be a list, not {value!r}.{more}")
            for index in range(len(value)):
                self.value(value, index, Built(), f"{key}.{index}")
        elif isinstance(kind, Built | Fields | Options):
            if value is None and kind.null:
                return
            if not isinstance(value, DictConfig):
                raise self.error(key, f"{key} must be a mapping, not {value!r}.")
            if isinstance(kind, Options):
                self.options(value, key, kind)
            elif isinstance(kind, Fields):
                self.fields(value, key, signatures.find(kind.of, key))
            elif "_target_" in value:
                self.arguments(value, key, kind.supplied)
        else:
            self.convert(node, name, key, kind.take)

    def convert(self, node: Any, name: Any, key: str, take: Callable[[Any], Any]) -> None:
        """Check a plain value, and write it back if it was converted."""
        value = self.read(node, name, key)
        if value is _MISSING:
            return
        if isinstance(value, DictConfig | ListConfig):
            try:
                value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
            except MissingMandatoryValue:
                return
        try:
            converted = take(value)
        except UnfitError as error:
            form = "" if key.startswith("selection.") else FORMS.get(key.rpartition(".")[2], "")
            hint = f"; write {form}" if form and form not in str(error) else ""
            raise self.error(key, error.sentence(key, value, hint)) from error
        if converted != value or type(converted) is not type(value):
            node[name] = converted

    def arguments(self, node: DictConfig, key: str, supplied: frozenset[str] = frozenset()) -> None:
        """Check the keys beside ``_target_`` against the signature of what it names."""
        try:
            target = signatures.find_target(self.read(node, "_target_", key), f"{key}._target_")
            if target is get_object:
                signatures.find(self.read(node, "path", key), f"{key}.path")
        except InputError as error:
            raise self.error(f"{key}._target_", str(error)) from error
        known, is_open = signatures.arguments(target)
        for name in [name for name in _names(node) if name not in _HYDRA]:
            inner = f"{key}.{name}"
            if name in known and name in supplied:
                raise self.error(inner, f"{inner} cannot be set here; set {SET_ELSEWHERE[str(name)]}.")
            if name not in known and not is_open:
                raise self.unknown(inner, known.keys() - supplied, f"{node['_target_']} takes ")
            self.argument(node, name, inner, known.get(str(name), Any))

    def argument(self, node: DictConfig, name: Any, key: str, annotation: Any) -> None:
        """Check an argument of a constructor against its annotation."""
        value = self.read(node, name, key)
        dataclass = signatures.dataclass_of(annotation)
        if isinstance(value, DictConfig):
            if OmegaConf.is_interpolation(node, name):
                return None
            if "_target_" in value:
                return self.arguments(value, key)
            if dataclass is not None:
                return self.fields(value, key, dataclass)
        items = list(value) if isinstance(value, ListConfig) else []
        if any(isinstance(item, DictConfig) for item in items):
            for index, item in enumerate(items):
                if isinstance(item, DictConfig) and "_target_" in item:
                    self.arguments(item, f"{key}.{index}")
            return None
        if value is None and OmegaConf.is_interpolation(node, name):
            return None  # Whether null is allowed here depends on what is built.
        return self.convert(node, name, key, lambda found: signatures.fitted(found, annotation))

    def fields(self, node: DictConfig, key: str, dataclass: type) -> None:
        """Check a mapping that stands for a dataclass."""
        known, _ = signatures.arguments(dataclass)
        for name in _names(node):
            if name not in known:
                raise self.unknown(f"{key}.{name}", known)
            self.argument(node, name, f"{key}.{name}", known[str(name)])

    def options(self, node: DictConfig, key: str, kind: Options) -> None:
        """Check names of arguments of Lightning."""
        known = signatures.of_lightning(kind.of)
        for name in _names(node):
            if name not in known:
                raise self.unknown(f"{key}.{name}", known)

    def rounds(self) -> None:
        """Check what differs in a round as if it stood in the settings of the stage."""
        for key, kind in flat(self.table).items():
            stage, _, name = key.rpartition(".")
            settings = OmegaConf.select(self.config, stage) if isinstance(kind, ByRound) else None
            node = None if settings is None else settings.get(name)
            if node is None:
                continue
            if not isinstance(node, DictConfig):
                raise self.error(
                    key, f"{key} must be a mapping, number of the round: settings, not {node!r}."
                )
            for number in sorted(_names(node), key=str):
                self.round(settings, node[number], f"{key}.{number}", stage)

    def round(self, settings: Any, differences: Any, key: str, stage: str) -> None:
        """Check one round."""
        number, count = key.rpartition(".")[2], settings.get("rounds", 1)
        if not number.isdigit() or int(number) < 1 or (int(number) > count and self.is_meant(key, stage)):
            raise self.error(key, f"{key}: there is no round {number}; {stage}.rounds is {count}.")
        if not isinstance(differences, DictConfig):
            raise self.error(key, f"{key} must be a mapping, settings of {stage}, not {differences!r}.")
        kinds = {name.removeprefix(f"{stage}."): kind for name, kind in flat(self.table).items()}
        kinds = {name: kinds[name] for name in settings if name in kinds}
        kinds = {
            name: kind for name, kind in kinds.items() if name != "rounds" and not isinstance(kind, ByRound)
        }
        try:
            plain: Any = OmegaConf.to_container(settings, resolve=True)
        except InterpolationToMissingValueError:
            return
        merged: Any = OmegaConf.merge(
            {name: value for name, value in plain.items() if name in kinds}, differences
        )
        for name in _names(differences):
            if name not in kinds:
                raise self.unknown(f"{key}.{name}", kinds)
            self.value(merged, name, kinds[str(name)], f"{key}.{name}")
        _copy(merged, differences)

    def is_meant(self, key: str, stage: str) -> bool:
        """Whether a user has written settings of a round, and not just asked for fewer rounds."""
        if any(
            key == typed or key.startswith(f"{typed}.") or typed.startswith(f"{key}.") for typed in self.typed
        ):
            return True
        return self.place(key) is not None and f"{stage}.rounds" not in self.typed

    def unknown(self, key: str, siblings: Iterable[str], prefix: str = "there are ") -> InputError:
        """The error about a key that does not exist."""
        names = sorted({str(name) for name in siblings} - _HYDRA - {"num_classes"})
        everywhere = dict.fromkeys([*flat(self.table), *_keys(self.config)])
        others = [k for k in everywhere if ".by_round." not in k and k != key and not k.startswith(f"{key}.")]
        found = meant_by(key, names, others)
        hint = (
            f"did you mean {' or '.join(found)}?"
            if found
            else f"{prefix}{', '.join(names) or 'no settings'}."
        )
        return self.error(key, f"{key}: there is no such key; {hint}")

    def error(self, key: str, text: str) -> InputError:
        """An error that names the place of a key."""
        place = self.place(key)
        number = re.search(r"\.by_round\.(\d+)\.", key)
        text = text if number is None else f"In round {number[1]}, {text}"
        return InputError(text if place is None else f"{place}: {text}")

    def read(self, node: Any, name: Any, key: str) -> Any:
        """A value with references resolved."""
        try:
            return _MISSING if OmegaConf.is_missing(node, name) else node[name]
        except InterpolationToMissingValueError:
            return _MISSING
        except OmegaConfBaseException as error:
            if self.incomplete:
                return _MISSING
            raise self.error(key, f"{key}: {' '.join(str(error).splitlines()[0].split())}.") from error


def _names(node: DictConfig) -> list[Any]:
    """Keys of a node, which may be changed meanwhile."""
    return list(node)


def _copy(source: DictConfig, target: DictConfig) -> None:
    """Take over values for the keys that ``target`` has."""
    for name in _names(target):
        if isinstance(target[name], DictConfig):
            _copy(source[name], target[name])
        elif not OmegaConf.is_interpolation(target, name) and not OmegaConf.is_missing(target, name):
            target[name] = source[name]


def _keys(node: Any, outer: str = "") -> list[str]:
    """All dotted keys of a configuration, without following references."""
    found = []
    for name in _names(node) if isinstance(node, DictConfig) else ():
        found.append(f"{outer}{name}")
        if not OmegaConf.is_interpolation(node, name) and not OmegaConf.is_missing(node, name):
            found += _keys(node[name], f"{outer}{name}.")
    return found
