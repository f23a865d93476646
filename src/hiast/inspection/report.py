"""All that was found about a scenario's data, as one object and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hiast.classes import LabelSpace
from hiast.inspection.estimate import Need
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.findings import Checked, Finding, Severity
from hiast.inspection.value_rows import value_rows


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        scenario: Name of the scenario.
        data_root: Where its data lies.
        classes: The scenario's classes.
        parts: Files in each role, with what they add up to.
        findings: The worst first.
        needs: Estimated disk and memory.
    """

    scenario: str
    data_root: str
    classes: LabelSpace
    parts: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    needs: tuple[Need, ...]

    def __post_init__(self) -> None:
        order = {"error": 0, "warning": 1, "note": 2}
        object.__setattr__(
            self, "findings", tuple(sorted(self.findings, key=lambda finding: order[finding.severity]))
        )

    @property
    def would_fail(self) -> bool:
        """Whether a training on this data would stop with an error."""
        return self.count("error") > 0

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """Plain values, as ``report.json`` holds them."""
        return {
            "scenario": self.scenario,
            "data_root": self.data_root,
            "would_fail": self.would_fail,
            "findings": [asdict(finding) for finding in self.findings],
            "parts": [_part(part, summary) for part, summary in self.parts],
            "needs": [asdict(need) for need in self.needs],
        }


def _values(part: Part, summary: Summary) -> list[dict[str, object]]:
    """Every id or color in the labels, with its share."""
    return [
        {
            "value": row.value,
            "share": row.share,
            "images": row.images,
            "class": row.meaning,
            "named": row.named,
        }
        for row in value_rows(part, summary, thumbnails=False)
    ]


def _part(part: Part, summary: Summary) -> dict[str, object]:
    names = part.classes.names
    return {
        "title": part.title,
        "domain": part.domain,
        "split": part.split,
        "labeled": part.labeled,
        "images": summary.images,
        "bytes": summary.bytes,
        "sizes": {f"{w}x{h}": count for (h, w), count in summary.sizes.most_common()},
        "unreadable": {str(file.path): file.error for file in summary.unreadable},
        "without_label": [str(path) for path in summary.without_label],
        "without_image": [str(path) for path in part.listing.orphans],
        "size_mismatches": [str(pair.image.path) for pair in summary.mismatches],
        "labels_without_class": [str(path) for path in summary.nothing_known],
        "class_pixels": dict(zip(names, summary.class_pixels.tolist(), strict=True)),
        "class_images": dict(zip(names, summary.class_images.tolist(), strict=True)),
        "void_pixels": summary.void_pixels,
        "unknown_ids": {str(raw): pixels for raw, pixels in sorted(summary.unknown.items())},
        "values": _values(part, summary),
        "copies": [[str(path) for path in paths] for paths in summary.copies],
    }
