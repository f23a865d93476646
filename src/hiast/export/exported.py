"""Inference with exported files: ONNX by onnxruntime, OpenVINO, and torch.export, behind the same ``predict``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.errors import InputError
from hiast.evaluation.inference import Prediction
from hiast.export.archive import check_archive
from hiast.export.description import KEY, Description
from hiast.export.write import need
from hiast.prediction.image_settings import target_reader
from hiast.prediction.images import as_images, is_several
from hiast.prediction.inference import (
    InferenceSettings,
    Sizes,
    equal_sized,
    predict_arrays,
    to_predictions,
)
from hiast.prediction.windows import Blend

Run = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]
"""Images uint8 [B, 3, H, W] -> outputs by name."""


class ExportedModel:
    """An exported file that predicts as a module does.

    Attributes:
        description: What the file says of itself.
        classes: Its label space.

    Args:
        description: What the file says of itself.
        run: Runs it.
    """

    def __init__(self, description: Description, run: Run) -> None:
        self.description = description
        self.classes = description.classes
        self.run = run

    @property
    def run_config(self) -> dict[str, Any]:
        """The part of a run's configuration that prediction needs: how images of the target are read."""
        return {"data": {"target": self.description.image_settings or {}}}

    def predict(
        self,
        x: Any,
        *,
        sizes: Sizes = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: Sequence[int] | None = None,
        blend: Blend = "gaussian",
        batch_size: int = 1,
        bands: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
    ) -> Any:
        """As ``PredictionModule.predict``; sizes, scales, flip and window need the output "logits" in the file.

        Raises:
            InputError: As there, or the file lacks the output.
        """
        chosen = None if window is None else tuple(window)
        seen = self.sizes_to_see(sizes)
        settings = InferenceSettings(seen, tuple(scales), flip, chosen, blend)  # type: ignore[arg-type]
        found: list[Prediction] = []
        reader = target_reader(self.run_config, bands, value_range)
        for batch in equal_sized(as_images(x, reader), batch_size):
            found += self.predict_arrays(batch, settings)
        return found if is_several(x) else found[0]

    def sizes_to_see(self, sizes: Sizes) -> tuple[tuple[int, int], ...] | None:
        """As ``PredictionModule.sizes_to_see``; None and "native" hand images over at their own size."""
        if isinstance(sizes, str) and sizes != "native":
            raise InputError(f"sizes is '{sizes}': give 'native', or a list of (height, width).")
        return None if isinstance(sizes, str) else sizes  # type: ignore[return-value]

    def predict_arrays(self, images: NDArray[np.uint8], settings: InferenceSettings) -> list[Prediction]:
        """Predictions of images uint8 [B, H, W, 3] of one size."""
        self.check(settings)
        if settings.plain and {"labels", "confidence"} <= set(self.description.outputs):
            found = self.outputs(images)
            labels, confidence = (
                torch.from_numpy(np.array(found[name])) for name in ("labels", "confidence")
            )
            return to_predictions(labels, confidence)
        mean, std = self.description.mean, self.description.std
        return predict_arrays(self._logits, images, settings, mean=mean, std=std)

    def check(self, settings: InferenceSettings) -> None:
        """Refuse settings that this file cannot follow, before any image is read.

        Raises:
            InputError: It lacks an output, resizes by itself, or takes images of another size.
        """
        known, size = set(self.description.outputs), self.description.size
        if settings.plain and {"labels", "confidence"} <= known:
            return
        if "logits" not in known:
            wanted, use = "labels,confidence", "predict with it here"
            if not settings.plain:
                wanted, use = f"{wanted},logits", "use sizes, scales, flip or windows"
            raise InputError(
                f"This exported file gives {' and '.join(self.description.outputs)} only: export it with "
                f"outputs=[{wanted}] to {use}."
            )
        if size is not None and (settings.window or settings.sizes or settings.scales != (1.0,)):
            raise InputError(
                f"This exported file resizes every image to {size[0]} x {size[1]} pixels by itself, windows and scaled "
                "images, too: export it with size=native to use sizes, scales or windows."
            )
        if settings.window is not None:
            self._check_size(settings.window[:2])
        elif settings.sizes is not None:
            for seen in settings.sizes_of(settings.sizes[0]):
                self._check_size(seen)

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """What the file gives for images uint8 [B, H, W, 3] of one size, by the names of ``description.outputs``.

        Raises:
            InputError: The graph takes images of another size.
        """
        return self._run(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def _logits(self, images: Tensor) -> Tensor:
        # The graph normalizes by itself. Padding, which is 0 behind the normalization, becomes the mean color.
        mean, std = (
            torch.tensor(value).view(3, 1, 1) for value in (self.description.mean, self.description.std)
        )
        pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return torch.from_numpy(np.array(self._run(pixels.contiguous().numpy())["logits"], np.float32))

    def _run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        self._check_size((pixels.shape[-2], pixels.shape[-1]))
        return self.run(pixels)

    def _check_size(self, size: tuple[int, int]) -> None:
        fixed = self.description.fixed
        if fixed is not None and size != fixed:
            raise InputError(
                f"This exported file takes images of {fixed[0]} x {fixed[1]} pixels (height x width), not of "
                f"{size[0]} x {size[1]}: predict with size [{fixed[0]},{fixed[1]}] (sizes in Python) or window "
                f"[{fixed[0]},{fixed[1]},{min(fixed) // 2}], which need the output logits, or export it without fixed."
            )


def load_exported(path: Path, device: str | torch.device = "cpu") -> ExportedModel:
    """An exported file, ready to predict.

    Args:
        path: ``.onnx``, ``.xml``, ``.pt2`` or ``.engine``.
        device: "cpu", or "cuda" for ONNX and torch.export.

    Raises:
        InputError: The file is missing, damaged or not exported by this library, or a package is missing.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    readers = {".onnx": _onnx, ".xml": _openvino, ".pt2": _torch}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: engines of TensorRT are not run by this library; use an ONNX file.")
    return readers[path.suffix.lower()](path, torch.device(device))


def _onnx(path: Path, device: torch.device) -> ExportedModel:
    runtime = need("onnxruntime")
    providers = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers = ["CUDAExecutionProvider", *providers]
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime has classes of its own for each kind of damage.
        raise InputError(f"{path} cannot be read as ONNX: {' '.join(str(error).split())[:200]}") from error
    description = Description.from_json(session.get_modelmeta().custom_metadata_map.get(KEY), path)

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(
            zip(description.outputs, session.run(list(description.outputs), {"images": images}), strict=True)
        )

    return ExportedModel(description, run)


def _openvino(path: Path, device: torch.device) -> ExportedModel:
    openvino = need("openvino")
    try:
        model = openvino.Core().read_model(str(path))
        text = str(model.get_rt_info([KEY]).value) if model.has_rt_info([KEY]) else None
        # The default of CPUs with bfloat16 would round more than the file says.
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be read by OpenVINO: {' '.join(str(error).split())[:200]}"
        ) from error
    description = Description.from_json(text, path)

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        found = compiled([images])
        return {name: found[name] for name in description.outputs}

    return ExportedModel(description, run)


def _torch(path: Path, device: torch.device) -> ExportedModel:
    check_archive(path)
    extra = {f"{KEY}.json": ""}
    try:
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # A damaged archive may raise anything.
        raise InputError(
            f"{path} cannot be read by torch.export: {' '.join(str(error).split())[:200]}"
        ) from error
    description = Description.from_json(_text(extra[f"{KEY}.json"]), path)
    module = program.module().to(device)

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            found = module(torch.from_numpy(images).to(device))
        return {name: value.cpu().numpy() for name, value in zip(description.outputs, found, strict=True)}

    return ExportedModel(description, run)


def _text(value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    return text if text.startswith("{") else json.dumps(None)
