"""Frames of videos: every n-th one, whole ones only, upright, and extracted once."""

from __future__ import annotations

import errno
import os
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.video import VideoDataModule
from hiast.data.io.frames import extract_frames, find_frames
from hiast.data.io.images import read_image
from hiast.errors import InputError

av = pytest.importorskip("av")


def write_video(path: Path, count: int = 25, coding: str = "MJPG") -> Path:
    """Frames of one gray value each: frame i has the value 10 * i modulo 251."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*coding), 10, (96, 64))
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.full((64, 96, 3), 10 * i % 251, np.uint8))
    writer.release()
    return path


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for options, folder in (
        ({}, "a/frames"),
        ({"cache_folder": "~/b"}, "b/frames"),
        ({"frames": "~/c"}, "c"),
    ):
        module = VideoDataModule("~/a", "*.mp4", CITYSCAPES_19, statistics="~/d", **options)
        assert (module.frames, module.statistics) == (tmp_path / folder, tmp_path / "d")


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


def test_finished_work_is_found_and_interrupted_work_resumes(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi")
    frames = extract_frames(video, tmp_path / "frames", 10)
    times = [path.stat().st_mtime_ns for path in frames]
    assert extract_frames(video, tmp_path / "frames", 10) == frames
    record = tmp_path / "frames/frames.json"
    record.write_text(
        record.read_text().replace('"frames": 25', '"frames": null')
    )  # as left by a stopped run
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
def test_cut_off_video(tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture) -> None:
    video = write_video(tmp_path / "a.avi", count=60)
    content = video.read_bytes()
    video.write_bytes(content[: int(share * len(content))])
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"a\.avi (cannot be opened|holds no|is damaged or cut off at frames)"
        ):
            extract_frames(video, tmp_path / "frames", 5)
    frames = extract_frames(video, tmp_path / "frames", 5, "skip")
    assert frames == find_frames(video, tmp_path / "frames", 5, "skip")
    assert "this is left out" in caplog.text
    assert len(frames) <= 12 * share + 1
    for path in frames:
        assert abs(read_image(path).mean() - 10 * int(path.stem) % 251) < 6


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video at all")
    with pytest.raises(InputError, match=r"a\.mp4 cannot be opened"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "frames", 5)
    with pytest.raises(InputError, match=r"b\.mp4 is missing"):
        extract_frames(tmp_path / "b.mp4", tmp_path / "frames", 5)
    with pytest.raises(InputError, match="choose a whole number from 1"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "frames", 0)
    write_video(tmp_path / "c.avi").replace(
        tmp_path / "a.mp4"
    )  # A repaired file takes the place of the damaged one.
    assert len(extract_frames(tmp_path / "a.mp4", tmp_path / "frames", 5)) == 5


def encode(path: Path, count: int = 40, first_time: int = 0, rotation: int = 0) -> Path:
    """H.264 with a key frame every 10 frames; frame i has gray value 5 * i. Earlier times than 0 are hidden."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=30, options={"g": "10", "keyint_min": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(count):
            pixels = np.full((64, 96, 3), 5 * number, np.uint8)
            pixels[:16, :16] = 255  # A white corner at the top left.
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number + first_time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_what_an_edit_list_hides_is_not_damage(tmp_path: Path) -> None:
    """A trimmed video: 10 of 40 frames lie before time 0, and a player shows 30."""
    video = encode(tmp_path / "a.mp4", first_time=-10)
    with av.open(str(video)) as container:
        assert container.streams.video[0].frames == 40
    frames = extract_frames(video, tmp_path / "frames", 5)
    assert [int(path.stem) for path in frames] == [0, 5, 10, 15, 20, 25]
    for path in frames:
        assert abs(int(read_image(path)[40, 60, 0]) - 5 * (int(path.stem) + 10)) < 6


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_videos_are_upright(tmp_path: Path, rotation: int) -> None:
    if not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this version of PyAV does not write rotated videos")
    video = encode(tmp_path / "a.mp4", 2, rotation=rotation)
    image = read_image(extract_frames(video, tmp_path / "frames", 5)[0])
    upright = np.rot90(np.pad(np.ones((16, 16)), ((0, 48), (0, 80))), rotation // 90)
    assert image.shape[:2] == upright.shape
    assert ((image[..., 0] > 128) == (upright > 0)).mean() > 0.99


def test_a_damaged_stretch_is_reported_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = encode(tmp_path / "a.mp4")
    with av.open(str(video)) as container:
        (packet,) = [
            p for p in container.demux(video=0) if p.pts is not None and p.pts * p.time_base == Fraction(2, 5)
        ]
    content = bytearray(video.read_bytes())
    content[packet.pos + 8 : packet.pos + packet.size] = bytes(
        b ^ 0x5A for b in content[packet.pos + 8 : packet.pos + packet.size]
    )
    video.write_bytes(content)
    with pytest.raises(
        InputError, match=r"a\.mp4 is damaged or cut off at frames 12 to 19 of 40.*data\.unreadable=skip"
    ):
        extract_frames(video, tmp_path / "frames", 1)
    frames = extract_frames(video, tmp_path / "frames", 1, "skip")
    assert [int(path.stem) for path in frames] == [*range(12), *range(20, 40)]
    assert "frames 12 to 19 of 40; this is left out" in caplog.text


def test_videos_as_target(tmp_path: Path) -> None:
    write_video(tmp_path / "drives/a.avi")
    write_video(tmp_path / "drives/night/a.AVI", count=11)
    module = VideoDataModule(tmp_path, "drives/**/*.avi", CITYSCAPES_19, every=10)
    with pytest.raises(InputError, match=r"a\.avi are not extracted yet: call prepare_data"):
        module.train_dataset(labeled=False)
    assert not (tmp_path / "frames").exists()
    module.prepare_data()
    dataset = module.train_dataset(labeled=False)
    assert dataset.names == (
        *(f"a.avi-every-10/{i:08}" for i in (0, 10, 20)),
        *(f"night/a.AVI-every-10/{i:08}" for i in (0, 10)),
    )
    assert abs(dataset.read_image(4).mean() - 100) < 4
    assert module.val_dataloader() == []
    with pytest.raises(InputError, match="no labels"):
        module.train_dataset()
    dataset.listing.pairs[1].image.unlink()
    with pytest.raises(InputError, match=r"frames of .*a\.avi in .* are missing"):
        module.listing("train", labeled=False)
    module.prepare_data()
    assert len(module.listing("train", labeled=False).pairs) == 5


def test_videos_that_cannot_be_read_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "a.avi")
    (tmp_path / "b.avi").write_bytes(bytes(3000))
    for unreadable in ("stop", "skip"):
        module = VideoDataModule(tmp_path, "*.avi", CITYSCAPES_19, every=10, unreadable=unreadable)
        if unreadable == "stop":
            with pytest.raises(InputError, match=r"b\.avi cannot be opened as a video"):
                module.prepare_data()
    module.prepare_data()
    assert len(module.train_dataset(labeled=False)) == 3
    assert "b.avi cannot be opened" in caplog.text
    (tmp_path / "a.avi").unlink()
    with pytest.raises(InputError, match=r"none of the videos that match '\*\.avi' can be read"):
        module.listing("train", labeled=False)


def test_frames_go_to_the_cache_folder_and_the_message_names_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "data/a.avi")
    module = VideoDataModule(tmp_path / "data", "*.avi", CITYSCAPES_19, cache_folder=tmp_path / "cache")
    module.prepare_data()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a.avi"]
    assert (tmp_path / "cache/frames/a.avi-every-30/00000000.png").is_file()

    def read_only(path: Path, content: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("hiast.data.io.frames.write_atomically", read_only)
    with pytest.raises(InputError, match=r"Read-only file system.*set cache_folder in the dataset file"):
        VideoDataModule(tmp_path / "data", "*.avi", CITYSCAPES_19).prepare_data()


def test_videos_need_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "a.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'hiast\[video\]'"):
        extract_frames(video, tmp_path / "frames")
