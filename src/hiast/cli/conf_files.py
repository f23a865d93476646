"""The shipped configurations: where they are, and what there is to choose from."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def conf_directory() -> Path:
    """The folder of configurations: inside the installed package, or of the checkout."""
    spec = find_spec("hiast")
    assert spec is not None and spec.submodule_search_locations
    package = Path(next(iter(spec.submodule_search_locations)))
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def choices(group: str, *folders: Path) -> list[str]:
    """Names of the files of a config group, sorted.

    Args:
        group: Such as "scenario".
        folders: Folders of the user's own configurations, looked up beside the shipped ones.
    """
    files = (path for folder in (conf_directory(), *folders) for path in (folder / group).glob("*.y*ml"))
    return sorted({path.stem for path in files})


def groups(*folders: Path) -> list[str]:
    """Names of the config groups, sorted."""
    paths = (path for folder in (conf_directory(), *folders) for path in folder.iterdir() if path.is_dir())
    return sorted({path.name for path in paths} - {"template", "hydra"})
