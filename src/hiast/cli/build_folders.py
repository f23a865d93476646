"""Where datasets look for list files, and where what is derived from their files is kept."""

from __future__ import annotations

import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from hiast.cli.own_folder import source_file

if TYPE_CHECKING:
    from hiast.data import DatasetDataModule

log = logging.getLogger(__name__)


def dataset_folders(config: DictConfig, node: DictConfig, side: str) -> dict[str, Any]:
    """Where a dataset looks for list files, and where it keeps what is derived from its files.

    Args:
        config: Composed ``train.yaml``.
        node: The dataset's part of it.
        side: Its place below ``data``, such as "source".
    """
    from hiast.cli.signatures import find_target
    from hiast.data import VideoDataModule

    found: dict[str, Any] = {}
    file = source_file(f"data.{side}")
    if re.search(r"\b(train_list|val_list):", OmegaConf.to_yaml(node)):
        found["list_folders"] = [*([file.parent] if file is not None else []), Path(config.data_root)]
    target = find_target(str(node._target_), f"data.{side}._target_")
    if isinstance(target, type) and issubclass(target, VideoDataModule) and node.get("cache_folder") is None:
        root = Path(str(node.data_root))
        if config.data.cache_folder is not None or not is_writable(root):
            found["cache_folder"] = derived_folder(config, root) / str(node.get("name") or "video")
    return found


def derived_folder(config: DictConfig, root: Path) -> Path:
    """Folder for what is derived from data: ``data.cache_folder``, or ``cache`` in the folder of the data.

    If that folder cannot be written to, as on read-only media, it is ``cache`` beside the runs of the scenario.

    Args:
        config: Composed ``train.yaml``.
        root: Folder of the data.
    """
    if config.data.cache_folder is not None:
        return Path(config.data.cache_folder)
    if is_writable(root):
        return root / "cache"
    folder = Path("outputs") / str(config.name) / "cache"
    _log_once(
        f"{root} cannot be written to: what is derived from its files is kept in {folder} (data.cache_folder)."
    )
    return folder


def keep_counts(config: DictConfig, module: DatasetDataModule) -> None:
    """Let the counts of rare class sampling be kept where all is kept that is derived from data.

    Args:
        config: As of ``train.yaml``.
        module: A dataset of a run; one that names a folder itself (``statistics``) stays as it is.
    """
    if module.rare_class_sampling is not None and module.statistics is None:
        roots = (Path(config.data_root), module.data_root)
        root = next((root for root in roots if root.is_dir()), module.data_root)
        module.statistics = derived_folder(config, root) / "class_pixels"


@cache
def _log_once(sentence: str) -> None:
    """Several parts of a program ask where derived files are; the answer is worth one line."""
    log.info(sentence)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the one that it would be made in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
