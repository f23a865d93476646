"""``hiast-report``: the report of a run, or several runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hiast.cli.command import run_command
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console
    from rich.table import Table

    from hiast.report.compare import Comparison

USAGE = """
hiast-report run=DIR
hiast-report run=DIR,DIR,... [out=comparison.html]

Write report.html of a run again, or compare several runs on one page. The pages need no network.

  run=DIR                       a run directory: its report.html is written
  run=A,B                       several runs are compared
  run=DIR                       a folder with several runs in it, such as that of a sweep: they are compared
  run='outputs/demo/*'          likewise; a pattern
  out=FILE.html                 the comparison (default: comparison.html)

Runs that differ in nothing but the seed are one group, with mean and standard deviation.
"""


COMPARISON = "comparison.html"
"""Default of ``out``."""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(report, "report", USAGE, bare=("run",)))


def report(config: DictConfig) -> int:
    """Write the page and say where it is.

    Raises:
        InputError: ``run`` names no run.
    """
    from rich.console import Console

    from hiast.cli.config import require
    from hiast.report.compare import find_runs
    from hiast.report.write import write_report

    text = str(require(config, "run", "Which run? Write hiast-report run=DIR, or run=DIR,DIR to compare."))
    words = [text] if Path(text).exists() else [word for word in text.split(",") if word]
    folders = find_runs(words)
    console = Console()
    if len(folders) == 1 and config.out != COMPARISON:
        raise InputError(
            f"out names the file of a comparison, and {text} is one run, whose page is {folders[0]}/report.html: do "
            "without out=, or name several runs."
        )
    path = write_report(folders[0]) if len(folders) == 1 else _several(folders, Path(config.out), console)
    console.print(f"Report: {path}", soft_wrap=True, markup=False, highlight=False)
    return 0


def _several(folders: list[Path], out: Path, console: Console) -> Path:
    from hiast.cli.places import check_file
    from hiast.files import write_atomically
    from hiast.report.compare import compare
    from hiast.report.comparison_page import comparison_page

    check_file("out", out, COMPARISON)
    comparison = compare(folders)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, comparison_page(comparison).encode(errors="backslashreplace"))
    console.print(_table(comparison))
    return out


def _table(comparison: Comparison) -> Table:
    from rich import box
    from rich.table import Table

    from hiast.report.comparison_page import figure

    table = Table(title="mIoU on the labeled target images, in percent", box=box.SIMPLE_HEAD)
    if any(group.chosen.count for group in comparison.groups):
        table.caption = (
            "chosen: the candidate that was selected without labels, on its sample of labeled images"
        )
    table.add_column("group")
    for title in ("runs", *comparison.titles, "chosen"):
        table.add_column(title, justify="right")
    for group in comparison.groups:
        figures = [figure(group.mean(title)) for title in comparison.titles]
        table.add_row(group.name, group.count, *figures, figure(group.chosen))
    return table


if __name__ == "__main__":
    main()
