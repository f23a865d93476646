"""``hiast-data-new``: a scenario on your own data, filled in by looking at the files, or as templates."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-data-new images=DIR labels=DIR [target=DIR] [key=value ...]
hiast-data-new name=NAME

Write three commented files: dataset/NAME_source.yaml, dataset/NAME_target.yaml, scenario/NAME.yaml. No Python is
needed: file patterns, what the ids or colors in the labels mean, and the classes are enough.

With images=DIR the folders are looked at, and patterns, ids or colors, class names, sizes and crops are filled in;
without, the files are templates to fill in.

  name=NAME                     name of the scenario (with images=DIR: mine)
  images=DIR labels=DIR         the labeled source; labels=DIR may be the same folder. Label maps, or
                                annotations: JSON of COCO (also labels=FILE), labelme, Cityscapes or Label Studio;
                                or an export of CVAT, Datumaro, FiftyOne, COCO panoptic or PASCAL VOC
  target=DIR                    the unlabeled target: a folder of images or of videos
  target=video                  without images=DIR: a template for videos instead of a folder of images
  val_images=DIR val_labels=DIR labeled images of the target to measure with; val_labels=DIR alone: labels of a part of
                                the images in target=DIR
  names=[road,sky]              class names in the order of the ids; default: a list beside the labels, such as
                                classes.txt, the colors of Cityscapes or PASCAL VOC, or class_0, class_1, ...
  out=DIR                       folder to write to (default: my_conf); files that exist are never overwritten

Then: hiast-data-check --config-dir DIR +scenario=NAME, and hiast-train with the same words.
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(write_templates, "data_new", USAGE))


def write_templates(config: DictConfig) -> None:
    """Write the files and print the next commands.

    Raises:
        InputError: The name is not usable, a file exists, or the folders cannot be understood.
    """
    from omegaconf import OmegaConf
    from rich.console import Console

    from hiast.cli.config import require
    from hiast.files import write_atomically

    if config.images is not None and OmegaConf.is_missing(config, "name"):
        config.name = "mine"
    name = str(
        require(config, "name", "name=NAME is needed: a name for the scenario; or images=DIR labels=DIR.")
    )
    files = _destinations(name, Path(config.out))
    place = {"NAME": name, "FOLDER": shlex.quote(str(config.out))}
    console = Console(soft_wrap=True, highlight=False)
    if config.images is None:
        texts = _templates(config, place)
    else:
        texts, said = _filled_in(config, place)
        for line in said:
            console.print(line, markup=False)
    for role, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, texts[role].encode())
    console.print("Read through:" if config.images else "Fill in, from the top:")
    for path in files.values():
        console.print(f"  {path}", markup=False)
    root = "" if config.images else " data_root=DIR"
    console.print(
        f"Then: hiast-data-check --config-dir {place['FOLDER']} +scenario={name}{root}", markup=False
    )


def _destinations(name: str, out: Path) -> dict[str, Path]:
    """Role -> file to write.

    Raises:
        InputError: The name is not usable, or a file exists.
    """
    from hiast.cli.conf_files import conf_directory

    if out.is_file():
        raise InputError(f"out: {out} is a file; name a folder.")
    if not re.fullmatch(r"[A-Za-z]\w*(-\w+)*", name, re.ASCII):
        raise InputError(f"name is '{name}': use letters, digits, - and _, a letter first.")
    files = {
        "source": out / "dataset" / f"{name}_source.yaml",
        "target": out / "dataset" / f"{name}_target.yaml",
        "scenario": out / "scenario" / f"{name}.yaml",
    }
    for path in (*files.values(), conf_directory() / "scenario" / f"{name}.yaml"):
        if path.exists():
            raise InputError(f"{path} exists: choose another name with name=NAME, or remove it.")
    return files


def _template(name: str, place: Mapping[str, str]) -> str:
    """A template; ``place``: the words NAME and FOLDER in it, and what they stand for."""
    from hiast.cli.conf_files import conf_directory

    text = (conf_directory() / "template" / f"{name}.yaml").read_text(encoding="utf-8")
    return re.sub("|".join(place), lambda word: place[word[0]], text)


def _templates(config: DictConfig, place: Mapping[str, str]) -> dict[str, str]:
    """Role -> template.

    Raises:
        InputError: Something of the files is named without images=DIR, or ``target`` is neither word.
    """
    given = [key for key in ("labels", "val_images", "val_labels", "names") if config[key] is not None]
    if given or config.target not in ("folder", "video"):
        if not given and not Path(config.target).is_dir():
            raise InputError(f"target is '{config.target}': choose folder or video, or name a folder.")
        raise InputError(
            f"{given[0] if given else 'target'} is given without images: add images=DIR labels=DIR."
        )
    target = {"folder": "target", "video": "video"}[config.target]
    return {
        role: _template(name, place)
        for role, name in {"source": "source", "target": target, "scenario": "scenario"}.items()
    }


def _filled_in(config: DictConfig, place: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Role -> text of the file, and what was found, in lines."""
    from hiast.inspection.new_scenario import Folders, fill_in_scenario

    if config.labels is None:
        raise InputError("labels is missing: add labels=DIR, the folder of the labels of images=DIR.")
    target = config.target
    if target not in ("folder", "video") and not Path(target).is_dir():
        raise InputError(f"target: there is no folder {target}; name one, or choose folder or video.")
    folders = Folders(
        images=Path(config.images),
        labels=Path(config.labels),
        target=None if target in ("folder", "video") else Path(target),
        val_images=None if config.val_images is None else Path(config.val_images),
        val_labels=None if config.val_labels is None else Path(config.val_labels),
    )
    templates = {name: _template(name, place) for name in ("source", "target", "video", "scenario")}
    texts, said = fill_in_scenario(folders, templates, list(config.names or ()), video=target == "video")
    return texts, said


if __name__ == "__main__":
    main()
