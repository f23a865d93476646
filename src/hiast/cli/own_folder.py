"""Folders of a user's own configurations (``--config-dir``) as a source of Hydra, searched before the shipped ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from hiast.cli.yaml_text import Document, read_document

log = logging.getLogger(__name__)

GLOBAL_GROUPS = ("scenario", "method", "experiment", "debug", "hparams_search")
"""Groups whose files set keys of the whole configuration; each may change what those before it set."""

_SUFFIXES = (".yaml", ".yml")


class OwnFolder(ConfigSource):
    """A folder of configurations whose files are read by ``hiast.cli.yaml_text``.

    Only groups are looked up in it (``scenario/mine``), never the base configurations.
    """

    loaded: ClassVar[dict[str, Document]] = {}
    """Configuration ("scenario/mine") -> the file that was read for it last."""

    choices: ClassVar[Mapping[str, Any]] = {}
    """Group or group@package -> configuration, as Hydra chose when it composed last."""

    @staticmethod
    def scheme() -> str:
        """Scheme of the source in a search path."""
        return "own"

    def available(self) -> bool:
        """Whether the folder exists."""
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder below."""
        return Path(self.path, config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a file."""
        return self._find(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> Any:
        """Names of the groups and configurations in a group."""
        found: Any = []
        for path in sorted(Path(self.path, config_path).iterdir()):
            name = path.stem if path.suffix in _SUFFIXES else path.name
            if not path.name.startswith("."):
                self._list_add_result(found, str(Path(config_path, name)), path.name, results_filter)
        return sorted(set(found))

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a configuration.

        Raises:
            InputError: The file cannot be read as YAML.
        """
        path = self._find(config_path)
        if path is None:
            raise ConfigLoadError(f"There is no configuration {config_path}.")
        document = read_document(_shown(path))
        name = config_path.removesuffix(".yaml")
        if document.package is None and name.partition("/")[0] in GLOBAL_GROUPS:
            if self.loaded.get(name) is None:
                log.warning(
                    "%s: the first line '# @package _global_' is missing; it is taken as meant.", path
                )
            document = replace(document, package="_global_")
        self.loaded[name] = document
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create(document.text),
            header={"package": document.package},
        )

    def _find(self, config_path: str) -> Path | None:
        path = Path(self.path, config_path)
        if "/" not in config_path:
            return None
        files = [path] if path.suffix in _SUFFIXES else [path.with_name(path.name + end) for end in _SUFFIXES]
        return next((file for file in files if file.is_file()), None)


def _shown(path: Path) -> Path:
    """A path as short as the user may have written it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class _OwnFolders(SearchPathPlugin):
    """Puts the folders of ``searched`` in front of the shipped configurations."""

    folders: ClassVar[Sequence[Path]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in self.folders:
            search_path.prepend("--config-dir", f"{OwnFolder.scheme()}://{folder.resolve()}", anchor="main")


@contextmanager
def searched(folders: Sequence[Path]) -> Iterator[None]:
    """Have Hydra search these folders, the last one first."""
    for plugin in (OwnFolder, _OwnFolders):
        Plugins.instance().register(plugin)
    before, _OwnFolders.folders = _OwnFolders.folders, folders
    OwnFolder.loaded.clear()
    try:
        yield
    finally:
        _OwnFolders.folders = before


def folders_searched() -> list[Path]:
    """The folders that Hydra searches now, as ``searched`` was given them."""
    return list(_OwnFolders.folders)


def place(key: str) -> str | None:
    """File and line that set a dotted key of the composed configuration, if one of the user's files does."""
    for name, document in OwnFolder.loaded.items():
        for prefix in _packages(name, document.package):
            inner = tuple(key.removeprefix(prefix).split(".")) if key.startswith(prefix) else ()
            if inner in document.lines:
                return f"{document.path}, line {document.lines[inner]}"
    return None


def source_file(key: str) -> Path | None:
    """The user's file whose content is the value of a key such as ``data.source``, or holds it.

    Args:
        key: Dotted key; "": the scenario.
    """
    files = {
        prefix: document.path
        for name, document in OwnFolder.loaded.items()
        for prefix in _packages(name, document.package)
        if prefix or not key or (key,) in document.lines
    }
    return files.get(f"{key}.", files.get("")) if key else files.get("")


def _packages(name: str, package: str | None) -> list[str]:
    """Where a configuration stands in the composed one: prefixes of dotted keys."""
    group, _, choice = name.rpartition("/")
    if package == "_global_":
        return [""]
    chosen = [k for k, value in OwnFolder.choices.items() if value == choice and k.partition("@")[0] == group]
    return [f"{(key.partition('@')[2] or group).replace('/', '.')}." for key in chosen]
