from __future__ import annotations

import csv
import errno
import io
import json
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from small_network import CLASSES

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.errors import InputError
from hiast.evaluation.inference import Prediction
from hiast.formats import open_annotations
from hiast.prediction import InferenceSettings
from hiast.prediction.handover import WRITERS, check_format, hand_over
from hiast.prediction.ids import class_ids, id_lookup
from hiast.prediction.inputs import find_inputs
from hiast.prediction.job import Job
from hiast.prediction.outputs import Writer, check_kinds, overlay, polygon_json
from hiast.prediction.records import Records, open_folder
from hiast.prediction.video import VideoWriter, open_video


class Brightness:
    """Predicts the class by the red value, and counts the images that it has seen."""

    classes = CLASSES

    def __init__(self) -> None:
        self.seen = 0

    def predict_arrays(self, images, settings):
        self.seen += len(images)
        return [
            Prediction((image[..., 0] // 64).astype(np.uint8), np.full(image.shape[:2], 0.5, np.float32))
            for image in images
        ]


def picture(seed: int, size=(12, 16)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    (place / "sub").mkdir(parents=True)
    for seed, name in enumerate(["a.png", "b.png", "sub/ü c.PNG", "a.jpg"]):
        Image.fromarray(picture(seed, (12, 16 + seed // 2))).save(place / name)
    (place / "Thumbs.db").write_bytes(b"x")
    return place


def run(folder: Path, out: Path, kinds=("labels", "csv"), **options):
    model = Brightness()
    writer = Writer(out, check_kinds(kinds), CLASSES, tuple(range(4)))
    reported: list[tuple[int, int]] = []
    job = Job(model, InferenceSettings(), writer, Records(out, options.get("rank", 0)), **options)
    left_out = job.run(find_inputs(folder), lambda done, total: reported.append((done, total)))
    return model, left_out, reported


def test_every_image_is_predicted_once_and_files_are_named_like_images(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    model, left_out, reported = run(
        folder, out, ["labels", "overlay", "confidence", "polygons", "csv"], batch_size=2
    )
    assert model.seen == 4 and left_out == [] and reported[-1] == (4, 4)
    names = {path.relative_to(out / "labels").as_posix() for path in (out / "labels").rglob("*.png")}
    assert names == {"a.png.png", "a.jpg.png", "b.png", "sub/ü c.png"}
    labels = np.asarray(Image.open(out / "labels" / "b.png"))
    np.testing.assert_array_equal(labels, picture(1)[..., 0] // 64)
    assert (np.asarray(Image.open(out / "confidence" / "b.png")) == 128).all()
    assert Image.open(out / "overlay" / "b.jpg").size == (16, 12)


def test_a_second_call_does_what_is_missing_only(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(folder, out)
    assert run(folder, out)[0].seen == 0
    (out / "labels" / "b.png").unlink()
    assert run(folder, out)[0].seen == 1
    assert run(folder, out, ["labels", "confidence"])[0].seen == 4
    Image.fromarray(picture(9, (30, 30))).save(folder / "b.png")
    model, _, _ = run(folder, out)
    assert model.seen == 1 and Image.open(out / "labels" / "b.png").size == (30, 30)


def test_a_record_that_was_cut_off_is_made_again(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(folder, out)
    path = out / ".progress" / "0.jsonl"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert run(folder, out)[0].seen == 1
    assert run(folder, out)[0].seen == 0


def test_the_newest_record_of_an_image_counts(folder: Path, tmp_path: Path):
    """Another number of processes has divided the images otherwise."""
    out = tmp_path / "out"
    for rank in range(2):
        run(folder, out, rank=rank, world_size=2)
    lines = (out / ".progress/1.jsonl").read_bytes().split(b"\n")
    names = [json.loads(line)["name"] for line in lines if line]
    assert len(names) == 2
    for path in (each for each in folder.rglob("*") if each.suffix.lower() in (".png", ".jpg")):
        Image.fromarray(picture(9, (40, 40))).save(path)
    assert run(folder, out)[0].seen == 4
    assert all(Records(out).known[name]["height"] == 40 for name in names)
    assert run(folder, out)[0].seen == 0


def test_the_newest_record_counts_though_the_clock_went_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    run(folder, out)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 1e6)
    for path in (each for each in folder.rglob("*") if each.suffix.lower() in (".png", ".jpg")):
        Image.fromarray(picture(9, (40, 40))).save(path)
    assert run(folder, out)[0].seen == 4
    assert {record["height"] for record in Records(out).known.values()} == {40}
    assert run(folder, out)[0].seen == 0


def test_a_record_cut_within_a_letter_is_made_again(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(folder, out)
    path = out / ".progress" / "0.jsonl"
    content = path.read_bytes()
    assert "ü".encode() in content
    path.write_bytes(content[: content.index("ü".encode()) + 1])
    assert run(folder, out)[0].seen >= 1
    assert run(folder, out)[0].seen == 0


def test_processes_share_the_images(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    seen = [run(folder, out, rank=rank, world_size=3)[0].seen for rank in range(3)]
    assert seen == [2, 1, 1] and len(Records(out).known) == 4


def test_damaged_images_stop_or_are_left_out(folder: Path, tmp_path: Path):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"b\.png"):
        run(folder, tmp_path / "one")
    model, left_out, reported = run(folder, tmp_path / "two", skip_unreadable=True)
    assert model.seen == 3 and len(left_out) == 1 and reported[-1] == (4, 4)


def test_other_settings_are_refused_in_the_same_folder(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    for _ in range(2):
        open_folder(out, {"weights": "a", "sizes": ((1, 2),)}, overwrite=False)
        run(folder, out)
    with pytest.raises(InputError, match="weights"):
        open_folder(out, {"weights": "b", "sizes": ((1, 2),)}, overwrite=False)
    open_folder(out, {"weights": "b", "sizes": None}, overwrite=True)
    assert json.loads((out / "predict.json").read_text()) == {"weights": "b", "sizes": None}


def test_a_folder_without_predictions_takes_other_settings(tmp_path: Path):
    open_folder(tmp_path, {"weights": "a"}, overwrite=False)
    (tmp_path / "overlay").mkdir()
    open_folder(tmp_path, {"weights": "b"}, overwrite=False)
    assert json.loads((tmp_path / "predict.json").read_text()) == {"weights": "b"}
    # Written by a process that was killed before it recorded them.
    (tmp_path / "overlay/x.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="weights"):
        open_folder(tmp_path, {"weights": "c"}, overwrite=False)


def test_shares_are_those_of_the_labels(folder: Path, tmp_path: Path):
    from hiast.prediction.outputs import shares_csv

    run(folder, tmp_path / "out")
    text = shares_csv(list(Records(tmp_path / "out").known.values()), CLASSES).decode()
    row = next(row for row in csv.DictReader(io.StringIO(text)) if row["name"] == "b")
    labels = picture(1)[..., 0] // 64
    for index, name in enumerate(CLASSES.names):
        assert float(row[name]) == pytest.approx((labels == index).mean(), abs=1e-6)
    assert float(row["mean_confidence"]) == 0.5


@pytest.mark.parametrize("seed", range(6))
def test_polygons_drawn_in_order_give_the_labels_back(seed: int):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (7, 9)), np.ones((1 + seed % 3, 1 + seed % 2), int)).astype(np.uint8)
    content = json.loads(polygon_json(labels, CLASSES))
    canvas = Image.new("L", (content["imgWidth"], content["imgHeight"]), 255)
    draw = ImageDraw.Draw(canvas)
    for shape in content["objects"]:
        draw.polygon([tuple(point) for point in shape["polygon"]], fill=CLASSES.names.index(shape["label"]))
    np.testing.assert_array_equal(np.asarray(canvas), labels)


def test_overlay_mixes_image_and_colors():
    image, labels = np.full((2, 2, 3), 100, np.uint8), np.zeros((2, 2), np.uint8)
    np.testing.assert_array_equal(overlay(image, labels, CLASSES, 0), image)
    assert overlay(image, labels, CLASSES, 1)[0, 0].tolist() == list(CLASSES.colors[0])


def test_ids_of_datasets():
    assert class_ids("scenario", CLASSES) == (0, 1, 2, 3)
    official = class_ids("cityscapes", CITYSCAPES_19)
    assert all(CITYSCAPES_IDS[raw] == index for index, raw in enumerate(official))
    target = {"_target_": "hiast.data.CityscapesDataModule"}
    assert class_ids("dataset", CITYSCAPES_19, target) == official
    own = {
        "_target_": "hiast.data.FolderDataModule",
        "ids": {9: "a", 5: "a", 1: "sky", 2: "car", 300: "person", 3: None},
    }
    assert class_ids("dataset", CLASSES, own | {"class_map": {"a": "road"}}) == (5, 1, 2, 300)
    assert id_lookup((5, 1, 2, 300)).dtype == np.uint16 and id_lookup((5, 1))[255] == 255
    for wrong in ("mars", {"road": 1}, {"road": -1, "sky": 1, "car": 2, "person": 3}):
        with pytest.raises(InputError):
            class_ids(wrong, CLASSES)
    with pytest.raises(InputError, match="target dataset"):
        class_ids("dataset", CLASSES, None)


@pytest.mark.parametrize("kinds", [[], ["label"], "labels"])
def test_unknown_outputs_are_refused(kinds):
    with pytest.raises(InputError, match="save"):
        check_kinds(kinds)


def make_video(
    path: Path, rotation: int = 0, rate: Fraction = Fraction(30000, 1001), frames: int = 9
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'hiast[video]'")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 28, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_videos_give_an_mp4_of_the_same_rate_and_files_per_frame(tmp_path: Path):
    make_video(tmp_path / "drive.mp4")
    import av

    out = tmp_path / "out"
    model, _, reported = run(tmp_path / "drive.mp4", out, ["labels", "overlay", "csv"], batch_size=4)
    assert model.seen == 9 and reported[-1] == (1, 1)
    assert len(list((out / "labels" / "drive").glob("*.png"))) == 9
    with av.open(str(out / "overlay" / "drive.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", Fraction(30000, 1001))
        assert (stream.width, stream.height) == (64, 48) and sum(1 for _ in container.decode(stream)) == 9
    assert run(tmp_path / "drive.mp4", out, ["labels", "overlay", "csv"])[0].seen == 0
    assert not list((out / "overlay").glob(".*"))


def test_outputs_that_a_second_call_asks_for_are_written_for_each_frame(tmp_path: Path):
    make_video(tmp_path / "drive.mp4")
    out = tmp_path / "out"
    run(tmp_path / "drive.mp4", out, ["labels"])
    assert run(tmp_path / "drive.mp4", out, ["labels", "confidence"])[0].seen == 9
    assert len(list((out / "confidence" / "drive").iterdir())) == 9
    (out / "labels" / "drive" / "00000003.png").unlink()
    assert run(tmp_path / "drive.mp4", out, ["labels"])[0].seen == 9
    assert run(tmp_path / "drive.mp4", out, ["labels"])[0].seen == 0


def test_a_shorter_video_leaves_no_frames_of_the_longer_one(tmp_path: Path):
    make_video(tmp_path / "drive.mp4")
    out = tmp_path / "out"
    run(tmp_path / "drive.mp4", out, ["labels", "confidence"])
    make_video(tmp_path / "drive.mp4", frames=4)
    run(tmp_path / "drive.mp4", out, ["labels", "csv"])
    expected = [f"{number:08d}.png" for number in range(4)]
    for kind in ("labels", "confidence"):
        assert sorted(path.name for path in (out / kind / "drive").iterdir()) == expected
    assert set(Records(out).known) == {"drive/", *(f"drive/{number:08d}" for number in range(4))}


def test_a_video_beside_a_folder_of_its_name_keeps_its_suffix(tmp_path: Path):
    make_video(tmp_path / "in.mp4")
    (tmp_path / "clips/in").mkdir(parents=True)
    (tmp_path / "in.mp4").rename(tmp_path / "clips/in.mp4")
    Image.fromarray(picture(1)).save(tmp_path / "clips/in/00000000.png")
    found = find_inputs(tmp_path / "clips")
    assert [pair.name for pair in found.images + found.videos] == ["in/00000000", "in.mp4"]


def test_videos_beside_images_are_not_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    Image.fromarray(picture(1)).save(tmp_path / "shot.png")
    (tmp_path / "drive.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    found = find_inputs(tmp_path)
    assert [pair.name for pair in found.images + found.videos] == ["shot", "drive"] and not caplog.messages
    (tmp_path / "notes.doc").touch()
    find_inputs(tmp_path)
    (line,) = caplog.messages
    assert "1 file is not an image and is passed over: notes.doc" in line


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_that_is_named_as_a_video_is_an_image(tmp_path: Path, kind: str):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(1)).save(tmp_path / "in/shot.mp4", format=kind)
    (tmp_path / "in/drive.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    found = find_inputs(tmp_path / "in")
    assert [pair.name for pair in found.images] == ["shot"] and [v.name for v in found.videos] == ["drive"]
    found = find_inputs(tmp_path / "in/shot.mp4")
    assert [pair.name for pair in found.images] == ["shot"] and not found.videos
    model, left_out, _ = run(tmp_path / "in/shot.mp4", tmp_path / "out")
    assert model.seen == 1 and left_out == []


def test_a_full_disk_is_no_damaged_video(tmp_path: Path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'hiast[video]'")
    make_video(tmp_path / "drive.mp4")
    with pytest.raises(OSError, match="out") as raised:  # noqa: SIM117
        with (
            open_video(tmp_path / "drive.mp4") as (facts, frames),
            VideoWriter(tmp_path / "out.mp4", facts) as out,
        ):
            for frame in frames:
                out.write(frame.image, frame.time)
                with out._writing():
                    raise av.error.FFmpegError(errno.ENOSPC, "No space left on device")
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.glob("*out*"))


def test_a_damaged_video_leaves_no_file(tmp_path: Path):
    pytest.importorskip("av", reason="PyAV is not installed: pip install 'hiast[video]'")
    (tmp_path / "drive.mp4").write_bytes(b"nothing of use")
    with pytest.raises(InputError, match="drive"):
        run(tmp_path / "drive.mp4", tmp_path / "out", ["overlay"])
    assert not list((tmp_path / "out").rglob("*.mp4"))


@pytest.mark.parametrize("name", list(WRITERS))
def test_exports_for_annotation_tools_hold_the_labels(folder: Path, tmp_path: Path, name: str):
    out, ids = tmp_path / "out", (7, 300, 5, 0)
    inputs = find_inputs(folder)
    writer = Writer(out, check_kinds(["labels", "confidence"]), CLASSES, ids)
    Job(Brightness(), InferenceSettings(), writer, Records(out)).run(inputs, lambda done, total: None)
    check_format(name, ["labels"])
    for _ in range(2):
        place = hand_over(name, out, inputs.images, CLASSES, ids, "last.ckpt")
    options = {"use": "predictions"} if name == "label_studio" else {}
    kind = "cityscapes_polygons" if name == "cityscapes" else name
    reader = open_annotations(kind, place, CLASSES.names, **options)
    found = next(item for item in reader.items() if item.startswith("b"))
    np.testing.assert_array_equal(reader.read(found), picture(1)[..., 0] // 64)


def test_a_format_needs_labels():
    check_format(None, [])
    with pytest.raises(InputError, match="choose cvat"):
        check_format("mars", ["labels"])
    with pytest.raises(InputError, match="add labels"):
        check_format("cvat", ["csv"])
