"""``hiast-data-new``: templates of a scenario on your own data."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-data-new name=NAME [key=value ...]

Write three commented files to fill in: dataset/NAME_source.yaml, dataset/NAME_target.yaml, scenario/NAME.yaml.
No Python is needed: file patterns, what the ids or colors in the labels mean, and the classes are enough.

  out=DIR                       folder to write to (default: my_conf); files that exist are never overwritten
  target=video                  the target is frames of videos instead of a folder of images

Then: hiast-data-check --config-dir DIR +scenario=NAME, and hiast-train with the same words.
"""

_TEMPLATES = {"folder": "target", "video": "video"}


def main() -> None:
    """Entry point."""
    sys.exit(run_command(write_templates, "data_new", USAGE))


def write_templates(config: DictConfig) -> None:
    """Write the templates and print the next commands.

    Raises:
        InputError: The name is not usable, or a file exists.
    """
    from rich.console import Console

    from hiast.cli.conf_files import conf_directory
    from hiast.cli.config import require
    from hiast.files import write_atomically

    name = str(require(config, "name", "name=NAME is needed: a name for the scenario."))
    if not re.fullmatch(r"[A-Za-z]\w*(-\w+)*", name, re.ASCII):
        raise InputError(f"name is '{name}': use letters, digits, - and _, a letter first.")
    out = Path(config.out)
    files = {
        out / "dataset" / f"{name}_source.yaml": "source",
        out / "dataset" / f"{name}_target.yaml": _TEMPLATES[config.target],
        out / "scenario" / f"{name}.yaml": "scenario",
    }
    shipped = conf_directory() / "scenario" / f"{name}.yaml"
    for path in (*files, shipped):
        if path.exists():
            raise InputError(f"{path} exists: choose another name or remove it.")
    for path, template in files.items():
        text = (conf_directory() / "template" / f"{template}.yaml").read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.replace("NAME", name).replace("FOLDER", shlex.quote(str(out))).encode())
    console = Console(soft_wrap=True, highlight=False)
    console.print("Fill in, from the top:")
    for path in files:
        console.print(f"  {path}", markup=False)
    folder = shlex.quote(str(out))
    console.print(
        f"Then: hiast-data-check --config-dir {folder} +scenario={name} data_root=DIR", markup=False
    )
