"""The report as one page of HTML without anything outside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hiast.classes import LabelSpace
from hiast.evaluation.pictures import jpeg
from hiast.inspection.estimate import readable
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.findings import Checked, Finding
from hiast.inspection.report import Report
from hiast.inspection.value_rows import as_yaml, value_rows
from hiast.pages import data_uri, framed

_SHOWN = 20
"""Details of a finding on the page; the JSON file has all."""

_WORDS = {"error": "stops training", "warning": "warning", "note": "note"}
_PLACES = {"disk": "disk", "cache": "disk (cache)", "memory": "memory", "device": "device memory, at least"}


def render(report: Report, sheet: NDArray[np.uint8] | None) -> str:
    """The page.

    Args:
        report: What was found.
        sheet: Contact sheet uint8 [H, W, 3], RGB; None: without.
    """
    body = "\n".join(
        [
            f"<h1>{escape(report.scenario)}</h1>",
            f'<p class="soft">data_root: {escape(report.data_root)}</p>',
            _verdict(report),
            *_findings(report.findings),
            _parts(report.parts),
            *_histogram(report),
            *(_values(part, summary) for part, summary in report.parts if summary.found.values),
            *_needs(report),
            *_picture(sheet, report.classes),
        ]
    )
    return framed(f"Data of {report.scenario}", Markup(body))


def _verdict(report: Report) -> str:
    fails = report.would_fail
    word = "Training would fail." if fails else "Ready for training."
    errors, warnings, notes = (report.count(severity) for severity in ("error", "warning", "note"))
    counts = f"{errors} to fix, {warnings} to look at, {notes} to know"
    style = "verdict fails" if fails else "verdict"
    return f'<section class="{style}"><strong>{word}</strong><p class="soft">{counts}</p></section>'


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield "<section><h2>Findings</h2>" + "".join(map(_finding, findings)) + "</section>"


def _finding(finding: Finding) -> str:
    more = len(finding.details) - _SHOWN
    lines = "".join(f"<div>{escape(line)}</div>" for line in finding.details[:_SHOWN])
    lines += f"<div>and {more} more, in report.json</div>" if more > 0 else ""
    details = f'<div class="details">{lines}</div>'
    if len(finding.details) > 3:
        details = f"<details><summary>{len(finding.details)} in all</summary>{lines}</details>"
    return (
        f'<div class="finding"><div><span class="tag {finding.severity}">{_WORDS[finding.severity]}</span></div>'
        f'<div><p>{escape(finding.text)}</p><p class="soft">{escape(finding.part)}</p>{details}</div></div>'
    )


def _parts(parts: Sequence[Checked]) -> str:
    rows = []
    for part, summary in parts:
        sizes = ", ".join(f"{w} x {h} ({count:,})" for (h, w), count in summary.sizes.most_common(3))
        more = len(summary.sizes) - 3
        rows.append(
            f'<tr><td>{escape(part.title)}</td><td class="number">{summary.images:,}</td>'
            f"<td>{'read' if part.labeled else 'not read'}</td>"
            f"<td>{sizes}{f' and {more} more' if more > 0 else ''}</td>"
            f'<td class="number">{readable(summary.bytes)}</td><td class="number">{len(summary.unreadable)}</td></tr>'
        )
    head = (
        '<tr><th>files</th><th class="number">images</th><th>labels</th><th>sizes</th>'
        '<th class="number">on disk</th><th class="number">unreadable</th></tr>'
    )
    return f"<section><h2>Files</h2><table>{head}{''.join(rows)}</table></section>"


def _histogram(report: Report) -> Iterator[str]:
    sides = {"source": ("source", "train"), "target": ("target", "val")}
    pixels, images = {}, {}
    for side, role in sides.items():
        chosen = [s for p, s in report.parts if (p.domain, p.split) == role and s.class_pixels.any()]
        if chosen:
            pixels[side] = np.sum([summary.class_pixels for summary in chosen], 0)
            images[side] = np.sum([summary.class_images for summary in chosen], 0)
    if not pixels:
        return
    names = {"source": "source", "target": "target validation"}
    heads = "".join(
        f'<th class="number"><span class="swatch" style="background:var(--{side})"></span>{names[side]}, %</th>'
        '<th class="number">in images</th>'
        for side in pixels
    )
    rows = []
    for index, (name, color) in enumerate(zip(report.classes.names, report.classes.colors, strict=True)):
        cells, bars = "", ""
        for side, counts in pixels.items():
            share = counts[index] / counts.sum()
            shown = f"{100 * share:.2f}" if counts[index] else '<span class="none">none</span>'
            cells += f'<td class="number">{shown}</td><td class="number">{images[side][index]:,}</td>'
            bars += f'<div class="bar {side}" style="width:{100 * share**0.5:.1f}%"></div>' if share else ""
        swatch = f'<span class="swatch" style="background:rgb{color}"></span>'
        rows.append(
            f'<tr><td class="name">{swatch}{escape(name)}</td>{cells}<td class="bars">{bars}</td></tr>'
        )
    yield (
        "<section><h2>Classes</h2><table><tr><th>class</th>"
        + heads
        + "<th>share of the labeled pixels</th></tr>"
        f"{''.join(rows)}</table><p class='soft'>Length of a bar: square root of the share. "
        "Labels of the target's training images are never read.</p></section>"
    )


def _values(part: Part, summary: Summary) -> str:
    """All ids or colors in the labels of a part."""
    rows = []
    for row in value_rows(part, summary):
        swatch = (
            "" if row.color is None else f'<span class="swatch" style="background:rgb{row.color}"></span>'
        )
        meaning = escape(row.meaning or "ignored") if row.named else '<span class="none">not named</span>'
        picture = (
            "" if row.thumbnail is None else f'<img alt="" src="{data_uri(jpeg(row.thumbnail), "jpeg")}">'
        )
        rows.append(
            f'<tr><td class="name">{swatch}{escape(str(row.value))}</td><td>{meaning}</td>'
            f'<td class="number">{100 * row.share:.3f}</td><td class="number">{row.images:,}</td>'
            f"<td>{picture}</td></tr>"
        )
    what = "colors" if summary.found.colors else "ids"
    more = len(summary.found.values) - len(rows)
    rest = f"<p class='soft'>and {more:,} more {what}, which are rarer</p>" if more > 0 else ""
    head = (
        f"<tr><th>{what[:-1]}</th><th>class</th><th class='number'>share, %</th><th class='number'>in images</th>"
        "<th>where most of it is</th></tr>"
    )
    return (
        f"<section><h2>Values in the labels of {escape(part.title)}</h2><details{' open' if len(rows) <= 40 else ''}>"
        f"<summary>{len(rows)} {what}</summary><table>{head}{''.join(rows)}</table>{rest}</details>"
        f"<details><summary>as YAML, to copy into the dataset file</summary><pre>{escape(as_yaml(part, summary))}</pre>"
        "</details></section>"
    )


def _needs(report: Report) -> Iterator[str]:
    if report.needs:
        rows = "".join(
            f'<tr><td>{_PLACES[need.place]}</td><td>{escape(need.what)}</td><td class="number">'
            f"{readable(need.bytes)}</td></tr>"
            for need in report.needs
        )
        yield f"<section><h2>What the run will need, about</h2><table>{rows}</table></section>"


def _picture(sheet: NDArray[np.uint8] | None, classes: LabelSpace) -> Iterator[str]:
    if sheet is not None:
        picture = data_uri(jpeg(sheet), "jpeg")
        legend = " ".join(
            f'<span style="white-space:nowrap"><span class="swatch" style="background:rgb{color};margin:0 4px 0 10px">'
            f"</span>{escape(name)}</span>"
            for name, color in zip(classes.names, classes.colors, strict=True)
        )
        yield (
            f'<section><h2>Images and labels</h2><img alt="contact sheet" src="{picture}">'
            f'<p class="soft">{legend}</p></section>'
        )
