"""``hiast-export``: a trained network for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.counted import counted
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-export CHECKPOINT [OUTPUT] format=FORMAT [key=value ...]

Write a trained network for other programs, and compare the file with it.

  CHECKPOINT                    a checkpoint, a run directory (its selected.ckpt) or a folder of save_pretrained
  OUTPUT                        the file or folder to write (default: beside the checkpoint); also checkpoint=PATH
                                output=PATH
  format=onnx                   ONNX; needs hiast[onnx]
  format=torch_export           a .pt2 file, which torch.export.load reads without this library
  format=openvino               .xml and .bin; needs hiast[openvino]
  format=tensorrt               an engine for the GPU of this machine; needs TensorRT
  format=safetensors            the weights and how to rebuild the network, for load_model
  format=pretrained             a folder for the Hugging Face Hub, with a model card
  outputs=[labels,confidence,logits]
  size=native                   do not resize images inside the graph; or size=[512,1024]
  precision=16                  half precision
  compare=DIR                   images to compare on; default: drawn scenes; compare=false: do not compare
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(export, "export", USAGE, bare=("checkpoint", "output")))


def export(config: DictConfig) -> None:
    """Write the file and say how far it is from the network."""
    from hiast.cli.config import plain, require
    from hiast.cli.settings import EXPORT_FORMATS
    from hiast.data.io.inputs import find_images
    from hiast.export.write import WRITERS, need, trace, write_safetensors
    from hiast.hub import SegmentationModel, load_model
    from hiast.training.checkpoint import checkpoint_of

    given = require(config, "checkpoint", "Which checkpoint? Add checkpoint=PATH.")
    kind = require(config, "format", f"Which format? Add format=NAME, one of {', '.join(EXPORT_FORMATS)}.")
    if config.precision not in (16, 32):
        raise InputError(f"precision is {config.precision}: choose 32 or 16.")
    values = plain(config)
    if not values["outputs"]:
        raise InputError("outputs is empty: give a list of some of [labels, confidence, logits].")
    for package in {"onnx": ["onnx", "onnxscript"], "openvino": ["openvino", "onnx", "onnxscript"]}.get(
        kind, []
    ):
        need(package)
    if kind == "tensorrt":
        need("tensorrt")
    if isinstance(values["compare"], str):
        find_images(values["compare"])
    checkpoint = checkpoint_of(given)
    model = load_model(checkpoint, teacher=config.teacher)
    if not isinstance(model, SegmentationModel):
        raise InputError(f"{checkpoint} is exported already: name the checkpoint that it was made of.")
    path = _place(config.output, kind, checkpoint)
    if kind == "pretrained":
        from hiast.cli.figures import recorded_means

        facts = {key: values[key] for key in ("metrics", "license") if values[key]}
        facts = {"metrics": recorded_means(checkpoint, model)} | facts
        model.save_pretrained(path, model_card_kwargs=facts)
        sys.stdout.write(f"{path}: config.json, model.safetensors and README.md.\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "safetensors":
        write_safetensors(model.network, model.to_config(), path, config.precision)
        sys.stdout.write(f"{path}\n")
        return
    description = _description(values, model)
    sys.stderr.write(f"Exporting as {kind}; a large network takes some minutes.\n")
    WRITERS[kind][1](trace(model.network, description), description, path)
    sys.stdout.write(f"{path}\n")
    if values["compare"] is not False and kind != "tensorrt":
        _compare(values["compare"], model, path, description)


def _place(output: str | None, kind: str, checkpoint: Path) -> Path:
    """The file, or for "pretrained" the folder, to write; by default beside the checkpoint.

    Raises:
        InputError: It is of the wrong kind, is the checkpoint, or cannot be written.
    """
    from hiast.cli.places import check_file
    from hiast.export.write import WRITERS

    if kind == "pretrained":
        folder = Path(output or checkpoint.parent / f"{checkpoint.stem}-pretrained")
        _check_folder(folder)
        return folder
    suffix = ".safetensors" if kind == "safetensors" else WRITERS[kind][0]
    path = Path(output or checkpoint.with_name(checkpoint.stem + suffix))
    if path.suffix != suffix:
        raise InputError(f"output: a file of format {kind} ends with {suffix}, not as {path.name} does.")
    if path.resolve() == checkpoint.resolve():
        raise InputError(
            f"output: the file would take the place of {checkpoint}, that it is made of: name another."
        )
    check_file("output", path, checkpoint.stem + suffix)
    return path


def _description(values: dict[str, Any], model: Any) -> Any:
    from hiast.export.description import OUTPUTS, Description

    size = model.validation_size
    if values["size"] == "native":
        size = None
    elif values["size"] is not None:
        size = tuple(values["size"])
    return Description(
        classes=model.classes,
        mean=tuple(model.network.mean),
        std=tuple(model.network.std),
        size=size,
        outputs=tuple(name for name in OUTPUTS if name in values["outputs"]),
        precision=values["precision"],
        fixed=None if values["fixed"] is None else tuple(values["fixed"]),
        facts=model.facts,
        image_settings=model.image_settings,
    )


def _compare(source: str | None, model: Any, path: Path, description: Any) -> None:
    from hiast.export.compare import largest_difference
    from hiast.export.exported import load_exported

    exported = load_exported(path)
    found = largest_difference(model, exported, _images(source, model, description.fixed), description.size)
    facts = []
    if found.confidence is not None:
        facts.append(f"the confidence differs by at most {found.confidence:.2g}")
    if found.labels is not None:
        facts.append(f"{100 * found.labels:.4f} % of the pixels have another label")
    sys.stdout.write(f"Compared with PyTorch on {counted(found.images, 'image')}: {', and '.join(facts)}.\n")


def _images(source: str | None, model: Any, fixed: tuple[int, int] | None) -> Iterator[Any]:
    from hiast.data.geometry import resize_image
    from hiast.data.io.inputs import find_images
    from hiast.prediction.image_settings import target_reader

    if source is None:
        from hiast.export.samples import drawn_images

        images: Iterator[Any] = drawn_images()
    else:
        reader = target_reader(model.run_config)
        images = (reader.read(pair.image) for pair in find_images(source)[:32])
    for image in images:
        yield image if fixed is None else resize_image(image, *fixed)


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose files a model would replace or be mixed with.

    Raises:
        InputError: It is a file, a run directory, or holds a model of another program; or it cannot be written.
    """
    from hiast.cli.places import check_folder
    from hiast.hub import CONFIG
    from hiast.report.files import read_record

    check_folder("output", folder)
    if (folder / "config.yaml").is_file():
        raise InputError(f"output: {folder} is a run directory; name another folder.")
    if not (folder / CONFIG).is_file():
        return
    if "network_recipe" not in (read_record(folder / CONFIG) or {}):
        raise InputError(f"output: {folder} holds a model of another program; name another folder.")


if __name__ == "__main__":
    main()
