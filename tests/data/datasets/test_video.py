from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.video import VideoDataModule, extract_frames
from hiast.data.io.images import read_image
from hiast.errors import InputError


def write_video(path: Path, count: int = 25, coding: str = "MJPG") -> Path:
    """Frames of one gray value each: frame i has the value 10 * i modulo 251."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*coding), 10, (96, 64))
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.full((64, 96, 3), 10 * i % 251, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(("coding", "suffix"), [("MJPG", "avi"), ("mp4v", "mp4")])
@pytest.mark.parametrize("every", [1, 7, 100])
def test_every_nth_frame(tmp_path: Path, coding: str, suffix: str, every: int) -> None:
    video = write_video(tmp_path / f"drive 1.{suffix}", coding=coding)
    frames = extract_frames(video, tmp_path / "frames", every)
    assert [int(path.stem) for path in frames] == list(range(0, 25, every))
    for path in frames:
        image = read_image(path)
        assert image.shape == (64, 96, 3)
        assert abs(image.mean() - 10 * int(path.stem)) < 4


def test_finished_work_is_found_and_broken_off_work_goes_on(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi")
    frames = extract_frames(video, tmp_path / "frames", 10)
    times = [path.stat().st_mtime_ns for path in frames]
    assert extract_frames(video, tmp_path / "frames", 10) == frames
    record = tmp_path / "frames/frames.json"
    record.write_text(record.read_text().replace(', "frames": 25', ""))  # as left by a stopped run
    frames[1].unlink()
    assert extract_frames(video, tmp_path / "frames", 10) == frames
    assert [path.stat().st_mtime_ns for path in (frames[0], frames[2])] == [times[0], times[2]]
    assert frames[1].is_file()


def test_a_copied_video_is_known_by_its_content(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", count=200, coding="MJPG")
    frames = extract_frames(video, tmp_path / "frames", 100)
    content = video.read_bytes()
    copy = tmp_path / "copy" / "a.avi"
    copy.parent.mkdir()
    copy.write_bytes(content)
    os.utime(copy, (1, 1))
    assert extract_frames(copy, tmp_path / "frames", 100) == frames
    for place in (100, len(content) // 2, len(content) - 100):
        copy.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match="holds frames of another video"):
            extract_frames(copy, tmp_path / "frames", 100)


def test_folder_of_something_else(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi")
    extract_frames(video, tmp_path / "frames", 10)
    with pytest.raises(InputError, match="holds frames of another video"):
        extract_frames(video, tmp_path / "frames", 5)
    (tmp_path / "frames/frames.json").write_text("{")
    with pytest.raises(InputError, match=r"frames\.json is damaged"):
        extract_frames(video, tmp_path / "frames", 10)


@pytest.mark.parametrize("share", [0, 0.02, 0.1, 0.3, 0.5, 0.8])
def test_cut_off_video(tmp_path: Path, share: float) -> None:
    video = write_video(tmp_path / "a.avi", count=60)
    content = video.read_bytes()
    video.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"a\.avi (cannot be opened|ends at frame)"):
        extract_frames(video, tmp_path / "frames", 5)


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video at all")
    with pytest.raises(InputError, match=r"a\.mp4 cannot be opened"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "frames", 5)
    with pytest.raises(InputError, match=r"b\.mp4 is missing"):
        extract_frames(tmp_path / "b.mp4", tmp_path / "frames", 5)
    with pytest.raises(InputError, match="choose 1 or more"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "frames", 0)


def test_videos_as_target(tmp_path: Path) -> None:
    write_video(tmp_path / "drives/a.avi")
    write_video(tmp_path / "drives/night/a.avi", count=11)
    module = VideoDataModule(tmp_path, "drives/**/*.avi", CITYSCAPES_19, every=10)
    dataset = module.train_dataset(labeled=False)
    assert dataset.names == (
        *(f"a.avi-every-10/{i:08}" for i in (0, 10, 20)),
        *(f"night/a.avi-every-10/{i:08}" for i in (0, 10)),
    )
    assert abs(dataset.read_image(4).mean() - 100) < 4
    assert module.val_dataloader() == []
    with pytest.raises(InputError, match="no labels"):
        module.train_dataset()
