"""Exported files: torch.export, ONNX, OpenVINO and TensorRT, each with its description, written whole or not at all."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiast.errors import InputError
from hiast.export.description import KEY, Description
from hiast.export.graph import MAX_SIDE, MIN_SIDE, ExportGraph
from hiast.files import write_atomically

_EXTRAS = {
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
}
_AXES: Mapping[str, tuple[str, ...]] = {
    "images": ("batch", "channels", "height", "width"),
    "labels": ("batch", "height", "width"),
    "confidence": ("batch", "height", "width"),
    "logits": ("batch", "classes", "height", "width"),
}
_EXAMPLE = (97, 130)
"""Size of the example image, of no multiple of any stride."""


def need(package: str) -> Any:
    """A package that an extra brings.

    Raises:
        InputError: It is not installed; the message says how to.
    """
    try:
        return import_module(package)
    except ImportError as error:
        if package == "tensorrt":
            raise InputError(
                "TensorRT is not installed here: pip install tensorrt, on a machine with its GPU."
            ) from error
        raise InputError(f"{package} is not installed: pip install 'hiast[{_EXTRAS[package]}]'.") from error


def trace(network: nn.Module, description: Description) -> torch.export.ExportedProgram:
    """The network as a program of torch.export, with a free batch, height and width.

    Raises:
        InputError: The network cannot be followed for images of any size; ``fixed`` then helps.
    """
    graph = ExportGraph(
        network,
        description.mean,
        description.std,
        description.outputs,
        size=description.size,
        half=description.precision == 16,
        any_size=description.fixed is None,
    ).eval()
    height, width = description.fixed or _EXAMPLE
    example = torch.randint(256, (2, 3, height, width), dtype=torch.uint8)
    axes: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=4096)}
    if description.fixed is None:
        least = 1 if graph.pads or graph.size is not None else MIN_SIDE
        axes |= {
            at: torch.export.Dim(name, min=least, max=MAX_SIDE) for at, name in ((2, "height"), (3, "width"))
        }
    try:
        with torch.no_grad():
            return torch.export.export(graph, (example,), dynamic_shapes=(axes,))
    # What torch.export raises is anything, from constraints of sizes to operators that it does not know.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        advice = "" if description.fixed else ": add fixed=[height,width] to export it for one size"
        raise InputError(
            f"torch.export cannot follow this network{advice} ({type(error).__name__}: {reason})."
        ) from error


def write_torch(program: torch.export.ExportedProgram, description: Description, path: Path) -> None:
    """Write a file ``.pt2`` of torch.export."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={f"{KEY}.json": description.to_json()})
    write_atomically(path, buffer.getvalue())


def write_onnx(program: torch.export.ExportedProgram, description: Description, path: Path) -> None:
    """Write an ONNX file; the description is its metadata, and class names are readable there too.

    The program is used up: torch's converter cannot follow a free size a second time.
    """
    onnx = need("onnx")
    need("onnxscript")
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / "model.onnx"
        torch.onnx.export(
            program,
            (),
            str(partial),
            input_names=["images"],
            output_names=list(description.outputs),
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(partial))
    _name_axes(model)
    entries = {
        KEY: description.to_json(),
        "names": json.dumps(dict(enumerate(description.classes.names)), ensure_ascii=False),
        "mean": json.dumps(description.mean),
        "std": json.dumps(description.std),
    }
    for key, value in entries.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name = KEY
    onnx.checker.check_model(model)
    write_atomically(path, model.SerializeToString())


def _name_axes(model: Any) -> None:
    """Call free axes by their meaning; the exporter names them by formulas."""
    for value in [*model.graph.input, *model.graph.output]:
        for dimension, name in zip(value.type.tensor_type.shape.dim, _AXES[value.name], strict=True):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = name


def write_openvino(program: torch.export.ExportedProgram, description: Description, path: Path) -> None:
    """Write OpenVINO's ``.xml`` and, beside it, ``.bin``, by way of ONNX."""
    openvino = need("openvino")
    with tempfile.TemporaryDirectory() as folder:
        middle = Path(folder) / "model.onnx"
        write_onnx(program, description, middle)
        model = openvino.convert_model(str(middle))
        model.set_rt_info(description.to_json(), [KEY])
        place = Path(folder) / "model.xml"
        openvino.save_model(model, str(place), compress_to_fp16=description.precision == 16)
        write_atomically(path.with_suffix(".bin"), place.with_suffix(".bin").read_bytes())
        write_atomically(path, place.read_bytes())


def write_tensorrt(program: torch.export.ExportedProgram, description: Description, path: Path) -> None:
    """Write an engine of TensorRT for the GPU of this machine, by way of ONNX, and its description beside it.

    This function has never run: no machine with TensorRT was at hand.
    """
    trt = need("tensorrt")
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network, settings = builder.create_network(0), builder.create_builder_config()
    parser = trt.OnnxParser(network, logger)
    with tempfile.TemporaryDirectory() as folder:
        middle = Path(folder) / "model.onnx"
        write_onnx(program, description, middle)
        if not parser.parse(middle.read_bytes()):
            raise InputError(f"TensorRT cannot read the network: {parser.get_error(0)}.")
    height, width = description.fixed or (512, 1024)
    least, most = ((height, width), (height, width)) if description.fixed else ((64, 64), (2048, 2048))
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, 3, *least), (1, 3, height, width), (8, 3, *most))
    settings.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, settings)
    if engine is None:
        raise InputError("TensorRT cannot build an engine for this network on this machine.")
    write_atomically(path.with_name(path.name + ".json"), description.to_json().encode("utf-8"))
    write_atomically(path, bytes(engine))


def write_safetensors(network: nn.Module, config: Mapping[str, Any], path: Path, precision: int = 32) -> None:
    """Write the weights of a network, with the contents of config.json in the header; ``load_model`` takes the file."""
    from safetensors.torch import save

    state = {key: value.detach().cpu().clone().contiguous() for key, value in network.state_dict().items()}
    if precision == 16:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    write_atomically(
        path, save(state, metadata={"format": "pt", KEY: json.dumps(config, ensure_ascii=False)})
    )


WRITERS: Mapping[str, tuple[str, Callable[[torch.export.ExportedProgram, Description, Path], None]]] = {
    "onnx": (".onnx", write_onnx),
    "torch_export": (".pt2", write_torch),
    "openvino": (".xml", write_openvino),
    "tensorrt": (".engine", write_tensorrt),
}
"""Format -> suffix and writer."""
