"""Writing the report of a run directory."""

from __future__ import annotations

from pathlib import Path

from hiast.files import write_atomically
from hiast.report.facts import read_run
from hiast.report.files import REPORT
from hiast.report.page import run_page


def write_report(folder: Path | str) -> Path:
    """Write ``report.html`` of a run, whole or not at all.

    Args:
        folder: The run directory.

    Returns:
        The file.

    Raises:
        InputError: The folder is not a run directory.
        OSError: The file cannot be written.
    """
    path = Path(folder) / REPORT
    # Names of files may hold bytes that are not text.
    write_atomically(path, run_page(read_run(folder)).encode(errors="backslashreplace"))
    return path
