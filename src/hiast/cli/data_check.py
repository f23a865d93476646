"""``hiast-data-check``: finds what is wrong with a scenario's data before a training does."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.counted import counted
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.data import DatasetDataModule, JoinedDataModule
    from hiast.evaluation.pictures import Picture
    from hiast.inspection.file_set import Part, Summary
    from hiast.inspection.findings import Finding
    from hiast.inspection.report import Report

log = logging.getLogger(__name__)

WOULD_FAIL = 1

USAGE = """
hiast-data-check +scenario=NAME [key=value ...]

Open every file that the scenario would read and report what is wrong: unreadable files, missing labels, labels of
another size, ids that the table does not name, duplicate images, classes that a side lacks, a network that does not
take the batches, too little disk. Writes report.html, report.json and contact_sheet.png.

  data_root=DIR                 folder of the datasets (default: data)
  out=DIR                       folder of the report (default: outputs/NAME/data_check)
  threads=8                     files at a time (default: number of processors)
  --config-dir DIR              a folder with scenario/NAME.yaml files of your own

Exit code 0: ready for training; 1: training would fail, as the last lines say, or a fault of the machine such as a
full disk has stopped the check; 2: wrong input, nothing was checked.
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(check, "data_check", USAGE))


def check(config: DictConfig) -> int:
    """Check, write the report, print a summary."""
    from hiast.cli.build import build_classes, build_domains
    from hiast.cli.build_needs import build_needs
    from hiast.cli.config import plain
    from hiast.cli.hardware import settle
    from hiast.inspection.dry_run import of_order
    from hiast.inspection.findings import of_crops, of_domains
    from hiast.inspection.report import Report
    from hiast.inspection.sheet import contact_sheet

    classes = build_classes(config)
    plain(config)  # A value that is missing or refers to nothing is wrong input.
    settle(config, classes)
    source, target = build_domains(config, classes)
    _check_root(config, source, target)
    out = _make_folder(Path(config.out or Path("outputs") / config.name / "data_check"))
    parts, findings = _scan(config, source, target)
    findings += of_order(source, [finding for finding in findings if finding.part.startswith("source")])
    needs, shortages = build_needs(config, classes, parts)
    sheet, undecodable = contact_sheet(parts)
    findings += [*undecodable, *of_domains(parts, classes), *of_crops(parts, _smallest(config)), *shortages]
    report = Report(config.name, str(config.data_root), classes, tuple(parts), tuple(findings), tuple(needs))
    _write(report, sheet if parts else None, out)
    _print(report, out)
    return WOULD_FAIL if report.would_fail else 0


def _check_root(
    config: DictConfig,
    source: DatasetDataModule | JoinedDataModule,
    target: DatasetDataModule | JoinedDataModule,
) -> None:
    """Refuse a data_root that does not exist, if a dataset lies in it.

    Raises:
        InputError: Names the folder.
    """
    from hiast.cli.build import single_datasets

    root = Path(config.data_root)
    modules = (*single_datasets(source), *single_datasets(target))
    inside = any(module.data_root.is_relative_to(root) for module in modules)
    if inside and not root.is_dir():
        raise InputError(f"data_root: there is no folder {root}.")


def _make_folder(out: Path) -> Path:
    """The report's folder, made before the long look at the files.

    Raises:
        InputError: It cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"out: the folder {out} cannot be made ({error.strerror}); choose another with out=DIR."
        ) from error
    if not os.access(out, os.W_OK):
        raise InputError(f"out: the folder {out} cannot be written to; choose another with out=DIR.")
    return out


def _write(report: Report, sheet: Picture | None, out: Path) -> None:
    import cv2

    from hiast.files import write_atomically
    from hiast.inspection.page import render

    if sheet is not None:
        write_atomically(out / "contact_sheet.png", cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    write_atomically(out / "report.json", (json.dumps(report.to_json(), indent=1) + "\n").encode())
    # Names of files may hold bytes that are not text.
    write_atomically(out / "report.html", render(report, sheet).encode(errors="backslashreplace"))


def _smallest(config: DictConfig) -> dict[str, int]:
    """Domain -> height of the lowest window that is cut from its images, where the crop has one."""
    crops = {domain: config.crop[domain] for domain in ("source", "target")}
    return {domain: int(crop["min_height"]) for domain, crop in crops.items() if "min_height" in crop}


def _roles(
    config: DictConfig,
    source: DatasetDataModule | JoinedDataModule,
    target: DatasetDataModule | JoinedDataModule,
) -> Iterator[tuple[DatasetDataModule, Any, Any]]:
    from hiast.cli.build import single_datasets

    for module in single_datasets(source):
        yield module, "source", "train"
        if module.has_val and config.selection.images:  # candidates are measured on them
            yield module, "source", "val"
    for module in single_datasets(target):
        yield module, "target", "train"
        if module.has_val:
            yield module, "target", "val"


def _scan(
    config: DictConfig,
    source: DatasetDataModule | JoinedDataModule,
    target: DatasetDataModule | JoinedDataModule,
) -> tuple[list[tuple[Part, Summary]], list[Finding]]:
    from hiast.data import VideoDataModule
    from hiast.inspection.dry_run import of_start
    from hiast.inspection.file_set import find_part, summarize
    from hiast.inspection.findings import Finding
    from hiast.inspection.scan import scan
    from hiast.progress import Progress, track

    parts, findings = [], []
    for module, domain, split in _roles(config, source, target):
        if isinstance(module, VideoDataModule):
            log.info("%s: extracting the frames of its videos that are missing.", module.title)
        try:
            with Progress(f"{domain} {split}: looking for files", None):
                part = find_part(module, domain, split)
        except InputError as error:
            findings.append(Finding("error", f"{domain} {split}", str(error)))
            continue
        facts = scan(part.listing, threads=config.threads, max_pixels=part.max_pixels)
        summary = summarize(part, track(facts, len(part.listing.pairs), part.title))
        parts.append((part, summary))
        findings += of_start(module, part, summary)
    return parts, findings


def _print(report: Report, out: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)

    def text(line: str, style: str = "") -> Text:
        # Names of files may hold bytes that are not text, and a terminal may not know all letters.
        return Text(line.encode(console.encoding, "backslashreplace").decode(console.encoding), style)

    colors = {"error": "red", "warning": "yellow", "note": "blue"}
    for part, summary in report.parts:
        console.print(text(f"{part.title}: {counted(summary.images, 'image')}"))
    for finding in report.findings:
        console.print(
            text(f"{finding.severity:8}", colors[finding.severity]), text(f"{finding.part}: {finding.text}")
        )
        for line in finding.details[:3]:
            console.print(text(f"           {line}", "dim"))
        if len(finding.details) > 3:
            console.print(text(f"           and {len(finding.details) - 3:,} more", "dim"))
    verdict = "Training would fail." if report.would_fail else "Ready for training."
    console.print(text(verdict, "bold red" if report.would_fail else "bold green"))
    console.print(text(f"Report: {out / 'report.html'}"))


if __name__ == "__main__":
    main()
