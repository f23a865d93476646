"""Reported: videos as a target, of phones and dashboard cameras, whole and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from projects import Project, scene

from hiast.inspection.findings import Finding

av = pytest.importorskip("av")

TARGET = """_target_: hiast.data.VideoDataModule
data_root: ${data_root}/camera
name: camera
videos: "**/*.SUFFIX"
every: 5
"""


def film(path: Path, frames: int = 20, codec: str = "mpeg4", rotation: int = 0) -> Path:
    """A video of one drawn picture with a bar that moves, 10 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"avi": "avi", "mp4": "mp4", "webm": "webm"}[path.suffix[1:].lower()]
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            pixels = scene(7)[0].copy()
            pixels[:6, 2 * number : 2 * number + 4] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def cut(path: Path) -> None:
    film(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.7 * len(content))])


def two_good_one_bad(path: Path) -> None:
    film(path)
    film(path.with_name("b.mp4"))
    path.with_name("c.mp4").write_bytes(bytes(3000))


def target_findings(project: Project, **changes: object) -> list[Finding]:
    found = project.findings(changes=changes)
    return [one for one in found if one.part.startswith("target") and one.severity == "error"]


@pytest.mark.parametrize(
    ("name", "make", "frames"),
    [
        ("a.mp4", film, 4),
        ("GOPR0001.MP4", film, 4),
        ("a.avi", lambda path: film(path, codec="mjpeg"), 4),
        ("a.webm", lambda path: film(path, codec="libvpx"), 4),
        ("a.mp4", lambda path: film(path, frames=1), 1),
    ],
)
def test_whole_videos(project: Project, name: str, make: Callable[[Path], object], frames: int) -> None:
    make(project.root / "data/camera/drives" / name)
    project.write_conf(target=TARGET.replace("SUFFIX", name.rpartition(".")[2].lower()))
    assert target_findings(project) == []
    dataset = project.module("target").train_dataset(labeled=False)
    assert len(dataset) == frames
    assert np.abs(dataset.read_image(0)[8:].astype(int) - scene(7)[0][8:]).mean() < 25


@pytest.mark.parametrize(
    ("make", "named", "left"),
    [
        (cut, "a.mp4", 0),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500)), "a.mp4", 0),
        (two_good_one_bad, "c.mp4", 8),
    ],
)
def test_broken_videos_are_named_or_left_out(
    project: Project, make: Callable[[Path], object], named: str, left: int
) -> None:
    (project.root / "data/camera/drives").mkdir()
    make(project.root / "data/camera/drives/a.mp4")
    project.write_conf(target=TARGET.replace("SUFFIX", "mp4"))
    (error,) = target_findings(project)
    assert f"drives/{named}" in error.text and "data.unreadable=skip" in error.text
    if left:
        assert target_findings(project, unreadable="skip") == []
        assert (
            len(project.module("target", changes={"unreadable": "skip"}).train_dataset(labeled=False)) == left
        )
    else:
        assert "none of the videos" in target_findings(project, unreadable="skip")[0].text


def test_videos_of_another_suffix_are_named(project: Project) -> None:
    film(project.root / "data/camera/drives/a.avi", codec="mjpeg")
    project.write_conf(target=TARGET.replace("SUFFIX", "mov"))
    assert "1 with .avi" in target_findings(project)[0].text
