from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_network import CLASSES

from hiast.errors import InputError
from hiast.export.compare import largest_difference
from hiast.export.description import Description
from hiast.export.exported import load_exported
from hiast.export.graph import FixedPadding, with_fixed_padding
from hiast.export.samples import drawn_images
from hiast.export.write import WRITERS, trace, write_safetensors
from hiast.hub import SegmentationModel, load_model
from hiast.models import DeepLabV2, SegmentationNetwork, SmpNetwork
from hiast.prediction import InferenceSettings

PACKAGES = {
    "onnx": ["onnx", "onnxscript", "onnxruntime"],
    "torch_export": [],
    "openvino": ["openvino", "onnxscript"],
}


def deeplab() -> SegmentationNetwork:
    torch.manual_seed(0)
    return DeepLabV2(len(CLASSES), None, layers=[1, 1, 1, 1], width=4)


def unet() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SmpNetwork("Unet", "tu-resnet10t", None, len(CLASSES), decoder_channels=[16, 8, 8, 8, 4])


def description(network: SegmentationNetwork, **changes) -> Description:
    values = {"size": None, "outputs": ("labels", "confidence", "logits")} | changes
    return Description(CLASSES, tuple(network.mean), tuple(network.std), **values)


class Files:
    """Exported files of two networks, one that takes any size as it is and one that pads; each is written once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.networks = {"deeplab": deeplab().eval(), "unet": unet().eval()}
        self.programs: dict[str, torch.export.ExportedProgram] = {}

    def path(self, kind: str, name: str) -> Path:
        suffix, write = WRITERS[kind]
        path = self.folder / f"{name}{suffix}"
        if not path.exists():
            need(kind)
            about = description(self.networks[name])
            program = self.programs.get(name) or trace(self.networks[name], about)
            self.programs[name] = program
            write(program, about, path)
            if kind != "torch_export":
                del self.programs[name]  # It is used up.
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("exported"))


def need(kind: str) -> None:
    for package in PACKAGES[kind]:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'hiast[{kind}]'")


def written(program, about: Description, kind: str, folder: Path):
    need(kind)
    suffix, write = WRITERS[kind]
    write(program, about, folder / f"model{suffix}")
    return load_exported(folder / f"model{suffix}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("torch_export", "deeplab"),
        ("torch_export", "unet"),
        ("onnx", "deeplab"),
        ("openvino", "unet"),  # By way of ONNX.
    ],
)
def test_the_file_says_what_the_network_says_at_any_size(files: Files, kind: str, name: str):
    model = SegmentationModel(files.networks[name], CLASSES)
    found = load_exported(files.path(kind, name))
    assert found.classes == CLASSES
    difference = largest_difference(model, found, drawn_images(), None)
    assert difference.images == 5
    assert difference.confidence < 1e-4 and difference.labels < 1e-3
    batch = np.stack([image[:60, :60] for image in drawn_images()])
    for one, other in zip(model.predict(batch), found.predict(batch, batch_size=5), strict=True):
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-4)
    image = next(drawn_images())
    options = {"flip": True, "window": (64, 64, 32)}
    np.testing.assert_allclose(
        model.predict(image, **options).confidence, found.predict(image, **options).confidence, atol=1e-4
    )


def test_onnx_names_its_axes_and_classes(files: Files):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'hiast[onnx]'")
    model = onnx.load(str(files.path("onnx", "deeplab")))
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert axes["images"] == ["batch", 3, "height", "width"] and axes["labels"] == [
        "batch",
        "height",
        "width",
    ]
    assert '"1": "sky"' in {entry.key: entry.value for entry in model.metadata_props}["names"]


def test_a_size_within_the_graph_and_labels_alone(tmp_path: Path):
    network = deeplab().eval()
    about = description(network, size=(64, 96), outputs=("labels", "confidence"))
    found = written(trace(network, about), about, "torch_export", tmp_path)
    model = SegmentationModel(network, CLASSES, (64, 96))
    assert largest_difference(model, found, drawn_images(), (64, 96)).confidence < 1e-4
    with pytest.raises(InputError, match="outputs="):
        found.predict(next(drawn_images()), flip=True)


@pytest.mark.parametrize(("output", "other"), [("labels", "confidence"), ("confidence", "labels")])
def test_a_file_of_one_output_is_compared_by_it(tmp_path: Path, output: str, other: str):
    network = deeplab().eval()
    about = description(network, outputs=(output,))
    found = written(trace(network, about), about, "torch_export", tmp_path)
    difference = largest_difference(SegmentationModel(network, CLASSES), found, drawn_images(), None)
    assert getattr(difference, output) < 1e-3 and getattr(difference, other) is None
    with pytest.raises(InputError, match=rf"gives {output} only.*\[labels,confidence\]"):
        found.predict(next(drawn_images()))


def test_a_fixed_size_is_said(tmp_path: Path):
    network = deeplab().eval()
    about = description(network, fixed=(64, 96))
    found = written(trace(network, about), about, "torch_export", tmp_path)
    image = next(drawn_images())[:64, :96]
    assert found.predict(image).labels.shape == (64, 96)
    with pytest.raises(InputError, match=r"64 x 96 pixels .* not of 60 x 80: .*\[64,96\].*\[64,96,32\]"):
        found.predict(image[:60, :80])
    for advised in ({"sizes": [(64, 96)]}, {"window": (64, 96, 32)}):
        assert found.predict(image[:60, :80], **advised).labels.shape == (60, 80)
    for advised in (
        {"sizes": ((64, 96),), "flip": True},
        {"window": (64, 96, 32), "scales": (0.5, 1.0)},
        {"sizes": ((128, 192),), "scales": (0.5,)},
    ):
        found.check(InferenceSettings(**advised))
    for wrong in (
        {"window": (32, 32, 16)},
        {"sizes": ((64, 96), (32, 32))},
        {"sizes": ((64, 64),), "scales": (0.5,)},
    ):
        with pytest.raises(InputError, match=r"64 x 96 pixels .* not of 32 x 32"):
            found.check(InferenceSettings(**wrong))
        with pytest.raises(InputError, match=r"64 x 96 pixels .* not of 32 x 32"):
            found.predict(image, **wrong)


def test_windows_around_small_images_are_padded_as_those_of_the_network(tmp_path: Path):
    network = deeplab().eval()
    about = description(network)
    found = written(trace(network, about), about, "torch_export", tmp_path)
    image, options = next(drawn_images())[:50, :50], {"window": (64, 64, 32)}
    expected = SegmentationModel(network, CLASSES).predict(image, **options)
    # A mean color in whole numbers, so not the same to the last digit.
    np.testing.assert_allclose(found.predict(image, **options).confidence, expected.confidence, atol=5e-3)


@pytest.mark.parametrize("options", [{"window": (32, 32, 16)}, {"sizes": [(32, 48)]}, {"scales": (0.5, 1.0)}])
def test_a_size_within_the_graph_is_that_of_windows_and_scaled_images_too(tmp_path: Path, options: dict):
    network = deeplab().eval()
    about = description(network, size=(64, 96), outputs=("labels", "confidence", "logits"))
    found = written(trace(network, about), about, "torch_export", tmp_path)
    with pytest.raises(InputError, match=r"resizes every image to 64 x 96 .* size=native"):
        found.predict(next(drawn_images()), **options)
    with pytest.raises(InputError, match="sizes is 'nativ'"):
        found.predict(next(drawn_images()), sizes="nativ")


@pytest.mark.slow
def test_half_precision_is_close(tmp_path: Path):
    network = deeplab().eval()
    about = description(network, precision=16)
    found = written(trace(network, about), about, "onnx", tmp_path)
    assert (
        largest_difference(SegmentationModel(network, CLASSES), found, drawn_images(), None).confidence < 2e-2
    )


def test_fixed_padding_is_that_of_tensorflow():
    torch.manual_seed(0)
    network = SmpNetwork("FPN", "tu-tf_efficientnet_lite0", None, 3).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = network(images)
        with_fixed_padding(network)
        assert any(isinstance(part, FixedPadding) for part in network.modules())
        torch.testing.assert_close(network(images), wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", [32, 16])
def test_safetensors_rebuild_the_network(tmp_path: Path, precision: int):
    model = SegmentationModel(deeplab(), CLASSES, (64, 96))
    write_safetensors(model.network, model.to_config(), tmp_path / "model.safetensors", precision)
    image = next(drawn_images())
    found = load_model(tmp_path / "model.safetensors").predict(image)
    np.testing.assert_allclose(
        found.confidence, model.predict(image).confidence, atol=0 if precision == 32 else 1e-2
    )


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2", ".safetensors", ".engine"])
def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path, suffix: str):
    path = tmp_path / f"model{suffix}"
    with pytest.raises(InputError, match="no file"):
        load_model(path)
    path.write_bytes(b"nothing of use")
    with pytest.raises(InputError):
        load_model(path)


def test_a_description_of_another_version_is_refused():
    text = description(deeplab()).to_json()
    assert Description.from_json(text, "x").classes == CLASSES
    for wrong in (text.replace('"format": 1', '"format": 2'), "{}", None, "[]"):
        with pytest.raises(InputError):
            Description.from_json(wrong, "x")


@pytest.mark.parametrize("damage", ["pickle flag", "formula", "member", "objects"])
def test_a_strangers_program_is_refused(tmp_path: Path, files: Files, damage: str):
    with zipfile.ZipFile(files.path("torch_export", "deeplab")) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    top = next(iter(content)).partition("/")[0]
    weights, model = f"{top}/data/weights/model_weights_config.json", f"{top}/models/model.json"
    if damage == "pickle flag":
        content[weights] = content[weights].replace(b'"use_pickle": false', b'"use_pickle": true', 1)
    elif damage == "formula":
        changed = re.sub(rb'"expr_str": "[^"]*"', b'"expr_str": "eval(chr(49))"', content[model], count=1)
        assert changed != content[model]
        content[model] = changed
    elif damage == "member":
        content[f"{top}/data/weights/model.pt"] = b""
    else:
        buffer = io.BytesIO()
        torch.save(Path("x"), buffer)
        content[f"{top}/data/sample_inputs/model.pt"] = buffer.getvalue()
    with zipfile.ZipFile(tmp_path / "strange.pt2", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="refused"):
        load_exported(tmp_path / "strange.pt2")
