"""hiast-predict and hiast-export as a person types them."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hiast import load_model
from hiast.classes import LabelSpace
from hiast.cli.build import existing
from hiast.cli.command import run_command
from hiast.cli.eval import evaluate
from hiast.cli.export import USAGE as EXPORT_USAGE
from hiast.cli.export import export
from hiast.cli.export import main as export_main
from hiast.cli.label import label
from hiast.cli.predict import USAGE, predict
from hiast.cli.predict import main as predict_main
from hiast.errors import InputError
from hiast.hub import SegmentationModel
from hiast.locks import lock_folder
from hiast.models import DeepLabV2

CLASSES = LabelSpace(("road", "sky", "car"), ((128, 64, 128), (70, 130, 180), (0, 0, 142)))


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of a trained network, and images beside it."""
    torch.manual_seed(0)
    network = DeepLabV2(len(CLASSES), None, layers=[1, 1, 1, 1], width=4)
    SegmentationModel(network, CLASSES, (48, 64)).save_pretrained(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for seed, size in enumerate([(40, 60), (40, 60), (70, 50)]):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{seed}.png")
    return tmp_path


def call_predict(*words: str) -> int:
    return run_command(predict, "predict", USAGE, ["trainer.accelerator=cpu", *words])


def call_export(*words: str) -> int:
    return run_command(export, "export", EXPORT_USAGE, list(words))


def test_predict_writes_what_python_predicts_and_resumes(shared: Path, capsys):
    words = [f"checkpoint={shared}/model", f"input={shared}/in", f"output={shared}/out", "batch_size=2"]
    assert call_predict(*words) == 0
    model = load_model(shared / "model")
    for path in sorted((shared / "in").iterdir()):
        labels = np.asarray(Image.open(shared / "out" / "labels" / path.name))
        assert (labels == model.predict(path).labels).mean() > 0.999
    assert (shared / "out" / "shares.csv").read_text().count("\n") == 4
    before = {path: path.stat().st_mtime_ns for path in (shared / "out" / "labels").iterdir()}
    assert call_predict(*words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (shared / "out" / "labels").iterdir()}
    assert json.loads((shared / "out" / "predict.json").read_text())["sizes"] == [[48, 64]]
    capsys.readouterr()
    assert call_predict(*words, "flip=true") == 2
    assert "flip" in capsys.readouterr().err
    assert call_predict(*words, "flip=true", "overwrite=true") == 0


def test_two_calls_do_not_write_to_one_folder(shared: Path, capsys):
    words = [f"checkpoint={shared}/model", f"input={shared}/in", f"output={shared}/out"]
    (shared / "out").mkdir()
    lock = lock_folder(shared / "out", "busy")
    assert call_predict(*words) == 2
    assert "Another hiast-predict writes to" in capsys.readouterr().err
    lock.release()
    assert call_predict(*words) == 0
    assert call_predict(*words, "flip=true") == 2
    assert "other settings" in capsys.readouterr().err, "a call that fails holds no lock"


def test_videos_alone_are_no_images_for_annotation_tools(shared: Path, capsys):
    (shared / "drive.mp4").write_bytes(b"never opened")
    words = [f"checkpoint={shared}/model", f"input={shared}/drive.mp4", f"output={shared}/out"]
    assert call_predict(*words, "format=coco") == 2
    assert "videos alone" in capsys.readouterr().err
    assert not (shared / "out" / "coco").exists()


def test_class_names_that_cvat_cannot_hold_are_refused_before_the_first_image(shared: Path, capsys):
    classes = LabelSpace(("road", "sky:blue"), CLASSES.colors[:2])
    network = DeepLabV2(len(classes), None, layers=[1, 1, 1, 1], width=4)
    SegmentationModel(network, classes, (48, 64)).save_pretrained(shared / "other")
    words = [f"checkpoint={shared}/other", f"input={shared}/in", f"output={shared}/out", "format=cvat"]
    assert call_predict(*words) == 2
    assert "cannot hold the class name 'sky:blue'" in capsys.readouterr().err
    assert not (shared / "out").exists()


def test_paths_need_no_keys(shared: Path, monkeypatch: pytest.MonkeyPatch):
    model = str(shared / "model")
    words = [model, str(shared / "in"), str(shared / "out"), "num_workers=0", "trainer.accelerator=cpu"]
    monkeypatch.setattr("sys.argv", ["hiast-predict", *words])
    with pytest.raises(SystemExit) as ended:
        predict_main()
    assert ended.value.code == 0
    assert len(list((shared / "out" / "labels").iterdir())) == 3
    monkeypatch.setattr(
        "sys.argv", ["hiast-export", model, "format=safetensors", f"output={shared}/x.safetensors"]
    )
    with pytest.raises(SystemExit) as ended:
        export_main()
    assert ended.value.code == 0 and (shared / "x.safetensors").is_file()


@pytest.mark.parametrize("name", ["a.safetensors", "p=3,x/a.safetensors", "./p=3/a,b.safetensors"])
def test_the_output_of_an_export_needs_no_key(shared: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(shared)
    monkeypatch.setattr("sys.argv", ["hiast-export", "model", name, "format=safetensors"])
    with pytest.raises(SystemExit) as ended:
        export_main()
    assert ended.value.code == 0 and Path(name).is_file()


def test_predict_through_windows_at_the_own_size(shared: Path):
    words = [f"checkpoint={shared}/model", f"input={shared}/in", f"output={shared}/out"]
    assert call_predict(*words, "size=native", "window=[32,32,16]", "scales=[1.0,0.5]", "flip=true") == 0
    (found,) = load_model(shared / "model").predict(
        [shared / "in" / "0.png"], sizes="native", window=(32, 32, 16), scales=(1.0, 0.5), flip=True
    )
    labels = np.asarray(Image.open(shared / "out" / "labels" / "0.png"))
    assert (labels == found.labels).mean() > 0.999


@pytest.mark.parametrize(
    ("word", "printed"),
    [
        ("save=[label]", "save"),
        ("ids=mars", "ids"),
        ("window=[3,3]", "window"),
        ("size=big", "[height, width] or native"),
        ("opacity=2", "opacity"),
        ("scales=abc", "scales is abc"),
        ("batch_size=0", "batch_size"),
        ("unreadable=never", "unreadable"),
        ("input=nowhere", "nowhere"),
        ("checkpoint=nowhere.ckpt", "nowhere.ckpt"),
        ("ids=dataset", "ids=dataset"),
    ],
)
def test_wrong_words_are_one_sentence(shared: Path, capsys, word: str, printed: str):
    words = {"checkpoint": f"{shared}/model", "input": f"{shared}/in", "output": f"{shared}/out"}
    key, _, value = word.partition("=")
    assert call_predict(*(f"{k}={v}" for k, v in (words | {key: value}).items())) == 2
    error = capsys.readouterr().err.strip()
    assert printed in error and "Traceback" not in error


def test_output_within_input_is_refused(shared: Path, capsys):
    assert call_predict(f"checkpoint={shared}/model", f"input={shared}/in", f"output={shared}/in/out") == 2
    assert "inside of input" in capsys.readouterr().err


def test_an_output_that_is_named_as_an_image_is_refused(shared: Path, capsys):
    words = [f"checkpoint={shared}/model", f"input={shared}/in/0.png", f"output={shared}/out.png"]
    assert call_predict(*words) == 2
    assert "out.png is named as an image; name a folder" in capsys.readouterr().err


def test_a_foreign_model_and_a_run_are_not_written_over(shared: Path, capsys):
    for name, file, text in (("hf", "config.json", '{"model_type": "x"}'), ("run", "config.yaml", "name: x")):
        (shared / name).mkdir()
        (shared / name / file).write_text(text)
    for name, words in (("hf", "holds a model of another program"), ("run", "is a run directory")):
        assert call_export(f"checkpoint={shared}/model", "format=pretrained", f"output={shared}/{name}") == 2
        assert words in capsys.readouterr().err
        assert len(list((shared / name).iterdir())) == 1
    assert call_export(f"checkpoint={shared}/model", "format=pretrained", f"output={shared}/again") == 0
    assert call_export(f"checkpoint={shared}/model", "format=pretrained", f"output={shared}/again") == 0


def test_torch_export_is_written_compared_and_predicts(shared: Path, capsys):
    assert call_export(f"checkpoint={shared}/model", "format=torch_export", f"output={shared}/m.pt2") == 0
    assert "confidence differs by at most" in capsys.readouterr().out
    assert call_predict(f"checkpoint={shared}/m.pt2", f"input={shared}/in", f"output={shared}/out") == 0
    labels = np.asarray(Image.open(shared / "out" / "labels" / "0.png"))
    assert (labels == load_model(shared / "model").predict(shared / "in" / "0.png").labels).mean() > 0.999


def test_a_call_that_failed_early_does_not_stand_in_the_way(shared: Path, capsys):
    words = [f"checkpoint={shared}/m.pt2", f"input={shared}/in", f"output={shared}/out"]
    export_words = [f"checkpoint={shared}/model", "format=torch_export", f"output={shared}/m.pt2"]
    assert call_export(*export_words, "fixed=[40,60]", "size=native", "outputs=[logits]") == 0
    assert call_predict(*words, "size=[32,48]") == 2
    assert "takes images of 40 x 60 pixels" in capsys.readouterr().err
    assert not (shared / "out").exists(), "options are checked before the folder is made"
    (shared / "in/1.png").unlink()
    (shared / "in/0.png").unlink()
    assert call_predict(*words) == 2
    assert "not of 70 x 50" in capsys.readouterr().err
    assert call_predict(*words, "size=[40,60]") == 0
    assert call_predict(*words) == 2
    assert "made with other settings (sizes)" in capsys.readouterr().err


def test_safetensors_and_folders(shared: Path, capsys):
    assert (
        call_export(f"checkpoint={shared}/model", "format=safetensors", f"output={shared}/m.safetensors") == 0
    )
    words = ["format=pretrained", f"output={shared}/again", "metrics={mIoU-3: 0.5}"]
    assert call_export(f"checkpoint={shared}/m.safetensors", *words) == 0
    before = (shared / "m.safetensors").read_bytes()
    assert call_export(f"checkpoint={shared}/m.safetensors", "format=safetensors", "precision=16") == 2
    assert (
        "would take the place of" in capsys.readouterr().err
        and (shared / "m.safetensors").read_bytes() == before
    )
    assert "50.00" in (shared / "again" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["format=onyx"], "onyx"),
        (["format=torch_export", "outputs=[label]"], "outputs"),
        (["format=torch_export", "precision=8"], "precision"),
        (["format=torch_export", "output=m.onnx"], r".pt2"),
        (["format=tensorrt"], "TensorRT"),
        (["format=pretrained", "output=m", "metrics=0.5"], "metrics must be {NAME: number from 0 to 1, ...}"),
        (["format=pretrained", "output=m", "metrics={mIoU-3: 55}"], "such as {mIoU-19: 0.56}"),
    ],
)
def test_exports_that_cannot_be(shared: Path, capsys, words: list[str], printed: str):
    assert call_export(f"checkpoint={shared}/model", *words) == 2
    assert printed in capsys.readouterr().err


@pytest.mark.parametrize("word", ["in", "in/0.png/x", "/proc/x"])
@pytest.mark.parametrize(
    ("kind", "suffix"), [("torch_export", ".pt2"), ("safetensors", ".safetensors"), ("pretrained", "")]
)
def test_the_place_of_an_export_is_checked_before_it(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys, word: str, kind: str, suffix: str
):
    monkeypatch.chdir(shared)
    monkeypatch.setattr("hiast.export.write.trace", lambda *_: pytest.fail("the network was exported"))
    if word == "in":
        if kind == "pretrained":
            return
        Path(f"in{suffix}").mkdir()
    assert call_export("checkpoint=model", f"format={kind}", f"output={word}{suffix}") == 2
    error = capsys.readouterr().err
    assert f"output: {word}{suffix} " in error and "Traceback" not in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(("kind", "package"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_a_missing_extra_is_named(shared: Path, capsys, monkeypatch, kind: str, package: str):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    assert call_export(f"checkpoint={shared}/model", f"format={kind}") == 2
    assert f"pip install 'hiast[{kind}]'" in capsys.readouterr().err


LAST = ["online/checkpoints/last.ckpt", "source_only/checkpoints/last.ckpt"]


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["config.yaml"], "run is a folder without checkpoints"),
        (
            LAST,
            "run is a folder without selected.ckpt: name one of its checkpoints, run/online/checkpoints/last.ckpt or "
            "run/source_only/checkpoints/last.ckpt.",
        ),
        (["one/selected.ckpt"], "name the checkpoint in it, run/one/selected.ckpt."),
        ([f"{n}.ckpt" for n in range(20)], "run/0.ckpt, run/1.ckpt, run/10.ckpt, run/11.ckpt and 16 more."),
        ([*LAST, "selected.ckpt"], "run/selected.ckpt is not a checkpoint, or only a part of one."),
    ],
)
def test_a_run_directory_stands_for_its_selected_checkpoint(
    shared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    files: list[str],
    wanted: str,
) -> None:
    monkeypatch.chdir(shared)
    for name in files:
        Path("run", name).parent.mkdir(parents=True, exist_ok=True)
        Path("run", name).write_bytes(b"x")
    evaluation = partial(evaluate, scenario=[])
    with_scenario = partial(evaluate, scenario=["+scenario=gta5_cityscapes"])
    for call in (
        lambda: call_predict("checkpoint=run", "input=in", "output=out"),
        lambda: call_export("checkpoint=run", "format=safetensors"),
        lambda: run_command(evaluation, "eval", "", ["checkpoint=run"]),
        lambda: run_command(label, "label", "", ["checkpoint=run", "input=in", "output=out"]),
    ):
        assert call() == 2
        assert wanted in capsys.readouterr().err
    if "selected.ckpt" in files:
        assert existing("run", "init_from") == Path("run/selected.ckpt")
        return
    with pytest.raises(InputError, match=f"^init_from: .*{re.escape(wanted)}"):
        existing("run", "init_from")
    assert run_command(with_scenario, "eval", "", ["checkpoint=run"]) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2", "m.xml", "m.safetensors", "model"])
def test_an_evaluation_says_of_an_exported_network_what_it_is(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str
) -> None:
    monkeypatch.chdir(shared)
    if name == "m.pt2":
        assert call_export("checkpoint=model", "format=torch_export", "output=m.pt2", "compare=false") == 0
    elif name != "model":
        Path(name).write_bytes(b"x")
    capsys.readouterr()
    assert run_command(partial(evaluate, scenario=[]), "eval", "", [f"checkpoint={name}"]) == 2
    error = capsys.readouterr().err.strip()
    assert error == (
        f"{name} is an exported network, which hiast-predict reads: here, name the checkpoint that it was made of, "
        "such as RUN/selected.ckpt."
    )
    if not name.endswith((".safetensors", "model")):
        job = partial(evaluate, scenario=["+scenario=gta5_cityscapes"])
        assert run_command(job, "eval", "", [f"checkpoint={name}"]) == 2
        assert f"{name} is an exported network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pixels", "advice"),
    [
        (np.linspace(0, 1, 60, dtype=np.float32), "value_range=[0,1]"),
        (np.linspace(-20, 14.5, 60, dtype=np.float32), "value_range=[-20,14.5]"),
        (np.arange(60, dtype=np.int32) * 50, "value_range=[0,4095]"),
        (np.full(60, 1500000, np.int32), "value_range=[0,2097151]"),
        (np.arange(60, dtype=np.uint16), "value_range=[0,255]"),
    ],
)
def test_images_of_more_bits_are_advised_an_argument(
    shared: Path, capsys: pytest.CaptureFixture, pixels: np.ndarray, advice: str
) -> None:
    Image.fromarray(np.tile(pixels, (40, 1))).save(shared / "deep.tif")
    words = [f"checkpoint={shared}/model", f"input={shared}/deep.tif", f"output={shared}/out"]
    assert call_predict(*words) == 2
    error = capsys.readouterr().err
    assert "deep.tif holds values from" in error
    assert f"add {advice}" in error and "dataset file" not in error
    assert call_predict(*words, advice) == 0


def test_images_to_compare_on_are_read_as_in_training(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(shared)
    settings = {"value_range": [300, 2799]}
    network = DeepLabV2(len(CLASSES), None, layers=[1, 1, 1, 1], width=4)
    SegmentationModel(network, CLASSES, (48, 64), image_settings=settings).save_pretrained("deep")
    Image.fromarray(np.linspace(300, 2799, 40 * 60).reshape(40, 60).astype(np.uint16)).save("deep.tif")
    words = ["checkpoint=deep", "format=torch_export", "output=x.pt2", "compare=deep.tif"]
    assert call_export(*words) == 0, capsys.readouterr().err
    assert "Compared with PyTorch on 1 image:" in capsys.readouterr().out
    labels = load_model("deep").predict("deep.tif").labels
    assert len(np.unique(labels)) > 1
    exported = load_model("x.pt2")
    np.testing.assert_array_equal(exported.predict("deep.tif").labels, labels)
    assert (exported.predict("deep.tif", value_range=[0, 1]).labels != labels).any()
    assert call_predict("checkpoint=x.pt2", "input=deep.tif", "output=out") == 0, capsys.readouterr().err
    np.testing.assert_array_equal(np.asarray(Image.open("out/labels/deep.png")), labels)


def test_places_of_an_evaluation_are_checked_before_it(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(shared)
    for word, wanted in (("output=in", "in is a folder"), ("masks=in/0.png", "in/0.png is a file")):
        assert run_command(partial(evaluate, scenario=[]), "eval", "", ["checkpoint=x.ckpt", word]) == 2
        assert wanted in capsys.readouterr().err


def test_images_to_compare_on_are_looked_for_before_the_export(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(shared)
    assert call_export("checkpoint=model", "format=torch_export", "output=x.pt2", "compare=nowhere") == 2
    assert "nowhere" in capsys.readouterr().err and not Path("x.pt2").exists()
