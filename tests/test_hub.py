from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from small_network import CLASSES, TinyNetwork, bare_trainer

from hiast import SegmentationModel, load_model
from hiast.errors import InputError
from hiast.export.card import card_text
from hiast.hub import run_facts
from hiast.models import DeepLabV2
from hiast.training import HIASTModule, SourceOnlyModule

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


def network(seed: int = 0) -> DeepLabV2:
    torch.manual_seed(seed)
    return DeepLabV2(len(CLASSES), None, layers=[1, 1, 1, 1], width=4)


@pytest.fixture
def model() -> SegmentationModel:
    facts = {
        "scenario": "gta5_cityscapes",
        "stage": "self_training",
        "source": "GTA5",
        "target": "Cityscapes",
    }
    return SegmentationModel(network(), CLASSES, (32, 48), facts)


def test_a_saved_folder_gives_the_model_back(tmp_path: Path, model: SegmentationModel):
    model.save_pretrained(tmp_path / "model", model_card_kwargs={"metrics": {"mIoU-4": 0.5612}})
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert len(modes) == 1, "the weights can be read by those who can read the card"
    for loaded in (SegmentationModel.from_pretrained(tmp_path / "model"), load_model(tmp_path / "model")):
        assert loaded.classes == CLASSES and loaded.validation_size == (32, 48) and not loaded.training
        assert loaded.facts["target"] == "Cityscapes"
        one, other = model.predict(IMAGE), loaded.predict(IMAGE)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.confidence, other.confidence)


def test_facts_and_sizes_may_be_numbers_of_numpy(tmp_path: Path):
    facts = {"round": np.int64(3), "metrics": {"mIoU-4": np.float32(0.5)}}
    model = SegmentationModel(network(), CLASSES, np.array([32, 48]), facts)
    loaded = load_model(model.save_pretrained(tmp_path / "model") or tmp_path / "model")
    assert loaded.validation_size == (32, 48)
    assert loaded.facts == {"round": 3, "metrics": {"mIoU-4": 0.5}}


@pytest.mark.parametrize("size", [32, (32, 48, 3), (0, 48), (32.5, 48), "ab"])
def test_a_size_of_another_form_is_refused_when_the_model_is_made(size: object):
    with pytest.raises(InputError, match=r"validation_size: .* is not \(height, width\)"):
        SegmentationModel(network(), CLASSES, size)


@pytest.mark.parametrize("classes", [4, ["a", "b", "c", "d"]])
def test_classes_are_a_label_space(classes: object):
    with pytest.raises(InputError, match=r"give a hiast\.classes\.LabelSpace"):
        SegmentationModel(network(), classes)


def test_the_config_names_the_classes_as_transformers_does(tmp_path: Path, model: SegmentationModel):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "road", "1": "sky", "2": "car", "3": "person"}
    assert config["label2id"] == {"road": 0, "sky": 1, "car": 2, "person": 3}
    assert config["image_mean"] == list(model.network.mean) and config["inference_size"] == [32, 48]
    assert config["network_recipe"] == model.network.recipe


def test_the_card_says_what_it_is_and_whose_data(tmp_path: Path, model: SegmentationModel):
    model.save_pretrained(
        tmp_path, model_card_kwargs={"metrics": {"mIoU-4": 0.5612}, "license": "cc-by-nc-4.0"}
    )
    text = (tmp_path / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["library_name"] == "hiast" and head["pipeline_tag"] == "image-segmentation"
    assert head["license"] == "cc-by-nc-4.0"
    assert head["model-index"][0]["results"][0]["metrics"][0] == {
        "type": "mean_iou",
        "name": "mIoU-4",
        "value": 0.5612,
    }
    for words in ("| 2 | car | 0, 0, 142 |", "56.12", "GTA5", "non-commercial", "load_model", "DeepLabV2"):
        assert words in text, words


def test_push_to_hub_uploads_the_folder(monkeypatch, model: SegmentationModel):
    uploaded: dict[str, set[str]] = {}

    class Api:
        def __init__(self, token=None) -> None:
            pass

        def create_repo(self, repo_id, **_):
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **_):
            uploaded[repo_id] = {path.name for path in Path(folder_path).iterdir()}
            return "url"

    monkeypatch.setattr(sys.modules["huggingface_hub.hub_mixin"], "HfApi", Api)
    assert model.push_to_hub("someone/model") == "url"
    assert uploaded == {"someone/model": {"README.md", "config.json", "model.safetensors"}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    module = HIASTModule(network(), CLASSES, ema_decay=0.5, validation_size=(32, 48), max_steps=1)
    module.run_config = {
        "name": "mine",
        "data": {
            "source": {"_target_": "hiast.GTA5DataModule"},
            "target": {"_target_": "hiast.FolderDataModule", "name": "yard"},
        },
    }
    trainer = bare_trainer(max_steps=1)
    trainer.strategy.connect(module)
    with torch.no_grad():
        for weight in module.teacher.parameters():
            weight.mul_(0.5)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


@pytest.mark.parametrize("kind", ["checkpoint", "folder"])
def test_loading_leaves_the_random_state_alone(
    tmp_path: Path, checkpoint: Path, model: SegmentationModel, kind: str
):
    model.save_pretrained(tmp_path / "folder")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_model(checkpoint if kind == "checkpoint" else tmp_path / "folder")
    torch.testing.assert_close(torch.rand(3), wanted)


def test_the_card_of_the_demo_claims_no_real_data():
    gta5 = {
        "source": {"_target_": "hiast.GTA5DataModule"},
        "target": {"_target_": "hiast.CityscapesDataModule"},
    }
    facts = run_facts({"name": "demo", "data": gta5})
    assert facts["source"] == "drawn scenes of a game"
    model = SegmentationModel(network(), CLASSES, (32, 48), facts)
    text = card_text(model.to_config(), facts)
    assert "Adapted from drawn scenes of a game to drawn scenes of a hazy camera." in text
    assert "GTA5" not in text and "Cityscapes" not in text and "made by hiast-data-demo" in text


def test_a_checkpoint_is_a_model_too(checkpoint: Path, tmp_path: Path):
    student, teacher = load_model(checkpoint), load_model(checkpoint, teacher=True)
    assert student.facts == {
        "scenario": "mine",
        "source": "GTA5",
        "target": "yard",
        "stage": "self_training",
        "round": 1,
    }
    assert not np.array_equal(student.predict(IMAGE).confidence, teacher.predict(IMAGE).confidence)
    student.save_pretrained(tmp_path / "shared")
    again = load_model(tmp_path / "shared").predict(IMAGE)
    np.testing.assert_array_equal(student.predict(IMAGE).confidence, again.confidence)


def test_a_run_directory_is_its_selected_checkpoint(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(checkpoint, run / "selected.ckpt")
    with caplog.at_level("INFO", "hiast"):
        found = load_model(run, teacher=True).predict(IMAGE)
    assert caplog.messages == [f"{run} is a run directory: its selected.ckpt is used."]
    np.testing.assert_array_equal(found.labels, load_model(checkpoint, teacher=True).predict(IMAGE).labels)
    with pytest.raises(InputError, match="holds a single network"):
        SegmentationModel(network(), CLASSES).save_pretrained(tmp_path / "shared")
        load_model(tmp_path / "shared", teacher=True)


def test_a_network_of_your_own_cannot_be_shared(tmp_path: Path):
    with pytest.raises(InputError, match="your own class"):
        SegmentationModel(TinyNetwork(), CLASSES).save_pretrained(tmp_path)


@pytest.mark.parametrize(
    "damage", ["no config", "no weights", "cut", "other network", "strange", "no classes"]
)
def test_damaged_folders_are_refused_in_a_sentence(tmp_path: Path, model: SegmentationModel, damage: str):
    model.save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    content = json.loads(config.read_text())
    if damage == "no config":
        config.unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "other network":
        config.write_text(json.dumps(content | {"network_recipe": content["network_recipe"] | {"width": 8}}))
    elif damage == "strange":
        config.write_text(json.dumps(content | {"network_recipe": {"network": "os.system"}}))
    else:
        config.write_text(json.dumps(content | {"id2label": {"0": "a"}}))
    with pytest.raises(InputError):
        load_model(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_config_is_one_sentence(tmp_path: Path, model: SegmentationModel, content: str):
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        load_model(tmp_path)


def test_weights_that_cannot_be_written_leave_nothing(
    tmp_path: Path, model: SegmentationModel, monkeypatch: pytest.MonkeyPatch
):
    def full(state, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hiast.hub.save_file", full)
    with pytest.raises(OSError, match="No space"):
        model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_teacher_is_asked_of_checkpoints_only(tmp_path: Path, model: SegmentationModel):
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="single network"):
        load_model(tmp_path, teacher=True)


def test_modes_of_all_parts_are_kept_and_lists_give_lists(tmp_path: Path):
    module = SourceOnlyModule(TinyNetwork(), CLASSES).train()
    module.network.head.eval()
    before = [part.training for part in module.modules()]
    single, several = (
        module.predict(IMAGE),
        module.predict([IMAGE, IMAGE[:20], torch.zeros(3, 20, 56)], batch_size=2),
    )
    assert [one.labels.shape for one in several] == [(40, 56), (20, 56), (20, 56)]
    np.testing.assert_array_equal(single.labels, several[0].labels)
    assert module.predict([]) == [] and len(module.predict(np.stack([IMAGE, IMAGE]))) == 2
    with pytest.raises(InputError):
        module.predict([IMAGE, tmp_path / "nothing.png"])
    module.network.forward = lambda images: 1 / 0
    with pytest.raises(ZeroDivisionError):
        module.predict(IMAGE)
    assert [part.training for part in module.modules()] == before


def test_how_images_are_read_is_kept(tmp_path: Path):
    """A network for images of 12 bits reads them alike wherever it is loaded."""
    settings = {"value_range": [0, 4095]}
    model = SegmentationModel(network(), CLASSES, (32, 48), image_settings=settings)
    model.save_pretrained(tmp_path / "model")
    loaded = SegmentationModel.from_pretrained(tmp_path / "model")
    assert loaded.image_settings == settings
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 50)).astype(np.uint16)
    path = tmp_path / "shot.png"
    assert cv2.imwrite(str(path), pixels)
    scaled = np.repeat(np.rint(pixels / 4095 * 255).astype(np.uint8)[..., None], 3, 2)
    for each in (model, loaded):
        found = each.predict(path)
        assert np.abs(found.confidence - each.predict(scaled).confidence).max() < 0.02
    plain = SegmentationModel(network(), CLASSES, (32, 48))
    with pytest.raises(InputError, match=r"16-bit values.*set value_range to what.* such as \[0, 4095\]"):
        plain.predict(path)
    given = plain.predict(path, value_range=[0, 4095])
    assert np.array_equal(given.confidence, plain.predict(scaled).confidence)


@pytest.mark.parametrize(
    "name",
    ["run/other", "a/b/c", "/nowhere/model", "my model", "other", "~/nowhere/model", "../x", "-/y"],
)
def test_a_mistyped_path_is_not_looked_for_on_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(
        SegmentationModel, "from_pretrained", lambda *_, **__: pytest.fail("the Hub was asked")
    )
    with pytest.raises(InputError, match="There is no checkpoint and no folder"):
        load_model(name)


def test_a_repository_may_have_a_dot_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SegmentationModel, "from_pretrained", lambda name, **_: name)
    assert load_model("someone/hiast-v1.5") == "someone/hiast-v1.5"
    with pytest.raises(InputError, match=r"someone/hiast\.ckpt"):
        load_model("someone/hiast.ckpt")


def test_a_repository_that_cannot_be_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(SegmentationModel, "from_pretrained", unreachable)
    with pytest.raises(InputError, match="no repository of that name can be reached"):
        load_model("someone/model")


@pytest.mark.parametrize(
    ("device", "words"), [("gpu", "there is no 'gpu'"), ("cuda:99", "not there|no such device")]
)
def test_a_device_that_is_not_there_is_named(
    device: str, words: str, tmp_path: Path, model: SegmentationModel
):
    model.save_pretrained(tmp_path / "m")
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    with pytest.raises(InputError, match=f"device: .*({words})"):
        load_model(tmp_path / "m", device)


def test_a_model_is_called_as_a_network(model: SegmentationModel):
    images = torch.randint(256, (2, 3, 40, 56), dtype=torch.uint8)
    with torch.inference_mode():
        assert model.eval()(images).shape == (2, len(model.classes), 40, 56)


@pytest.mark.parametrize("sizes", [(32, 64), 32])
def test_sizes_of_another_form_are_one_sentence(model: SegmentationModel, sizes: object):
    with pytest.raises(InputError, match=r"sizes.* \[height, width\]"):
        model.predict(IMAGE, sizes=sizes)


def test_weights_of_half_precision_are_said(model: SegmentationModel):
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(
        InputError, match=r"float16: .* model.float\(\).*torch.autocast\('cpu', torch.float16\)"
    ):
        model.half().predict(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.float().predict(image).labels.shape == (64, 64)
