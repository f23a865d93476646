"""``hiast-predict``: labels, overlays and confidence of images and videos."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiast.cli.command import run_command
from hiast.counted import counted
from hiast.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """
hiast-predict CHECKPOINT INPUT OUTPUT [key=value ...]

Predict images and videos: label PNG, color overlay, confidence, polygons, and the share of each class as CSV.

  CHECKPOINT                    a checkpoint, a run directory (its selected.ckpt), a folder of save_pretrained, or an
                                exported file (.onnx, .xml, .pt2)
  INPUT                         an image, a folder, a pattern ('shots/*.jpg'), a list file (.txt) or a video
  OUTPUT                        the folder to write; also checkpoint=PATH input=PATH output=DIR
  save=[labels,overlay,confidence,polygons,csv]
  format=cvat                   also write one export for an annotation tool: cvat, label_studio, datumaro, fiftyone,
                                coco, panoptic, cityscapes
  ids=dataset                   ids of the target dataset in label files; or cityscapes, '{road: 7, sky: 23}'
  size=[512,1024]               size at which the network sees images; native: their own; default: as in validation
  window=[512,1024,256]         slide a window of this height, width and stride; blend=mean instead of gaussian
  flip=true scales=[0.75,1,1.25]    average over the mirrored image and several scales
  value_range=[0,4095] bands=[3,2,1]
                                how images of more bits or bands are read (default: as the target in training)
  teacher=true                  predict with the teacher of a self-training checkpoint
  trainer.devices=2             several devices, each with a share of the files
"""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(predict, "predict", USAGE, bare=("checkpoint", "input", "output")))


def predict(config: DictConfig) -> None:
    """Predict, or resume an interrupted call."""
    from contextlib import ExitStack

    from lightning_fabric import Fabric
    from rich.console import Console

    from hiast.cli.config import plain, require
    from hiast.cli.hardware import settle_inference
    from hiast.locks import lock_folder
    from hiast.prediction.inputs import find_inputs
    from hiast.prediction.records import Records, open_folder
    from hiast.progress import ProgressFunction
    from hiast.run.distributed import fabric_strategy
    from hiast.run.trainer import trainer_refusals
    from hiast.training.checkpoint import checkpoint_of

    checkpoint, source, output = (
        require(config, key, f"{key}=PATH is needed.") for key in ("checkpoint", "input", "output")
    )
    checkpoint = str(checkpoint_of(checkpoint))
    folder = Path(output)
    _check_places(Path(source), folder)
    inputs = find_inputs(source)
    options = settle_inference(plain(config.trainer), config.num_workers).trainer
    config.trainer.precision = options["precision"]
    with trainer_refusals():
        fabric = Fabric(**options | {"strategy": fabric_strategy(options)})
    fabric.launch()
    if config.format is not None and not inputs.images:
        raise InputError(
            f"format={config.format} hands over images, and {source} holds videos alone: save their frames as images, "
            "and predict those."
        )
    job, identity = _job(config, plain(config), checkpoint, folder, fabric)
    with ExitStack() as stack:
        if fabric.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            busy = f"Another hiast-predict writes to {folder}: wait for it, or name another output."
            stack.callback(lock_folder(folder, busy).release)
            open_folder(folder, identity, overwrite=config.overwrite)
        fabric.barrier()
        job.records = Records(folder, fabric.global_rank)
        with ProgressFunction("predicting", unit="files") as progress:
            left_out = job.run(inputs, progress)
        fabric.barrier()
        if fabric.is_global_zero:
            console = Console(soft_wrap=True, highlight=False)
            console.print(_finish(job, inputs, config.format, Path(checkpoint).name))
            console.print(f"Predictions: {folder}", markup=False)
    for sentence in left_out:
        sys.stderr.write(f"Left out: {sentence}\n")


def _finish(job: Any, inputs: Any, form: str | None, checkpoint: str) -> Any:
    """Write what needs all images, and make the table that is shown."""
    from hiast.files import write_atomically
    from hiast.prediction.handover import hand_over
    from hiast.prediction.outputs import shares_csv
    from hiast.prediction.records import Records

    writer, classes = job.writer, job.writer.classes
    records = [record for name, record in Records(writer.folder).read().items() if not name.endswith("/")]
    if "csv" in writer.kinds:
        write_atomically(writer.folder / "shares.csv", shares_csv(records, classes))
    if form is not None:
        place = hand_over(form, writer.folder, inputs.images, classes, writer.ids, checkpoint)
        sys.stderr.write(f"Written for {form}: {place}\n")
    return _summary(
        records,
        classes,
        f"{len(records):,} images and frames" if inputs.videos else counted(len(records), "image"),
    )


def _job(
    config: Any, values: dict[str, Any], checkpoint: str, folder: Path, fabric: Any
) -> tuple[Any, dict[str, Any]]:
    """The work of this process, and what decides its results."""
    from hiast.data.io.images import ImageReader
    from hiast.hub import load_model
    from hiast.prediction.handover import check_classes, check_format
    from hiast.prediction.ids import class_ids
    from hiast.prediction.image_settings import target_reader
    from hiast.prediction.job import Job
    from hiast.prediction.outputs import Writer, check_kinds
    from hiast.prediction.records import Records

    _check_values(config)
    kinds = check_kinds(values["save"])
    check_format(values["format"], kinds)
    model: Any = load_model(checkpoint, fabric.device, teacher=config.teacher)
    check_classes(values["format"], model.classes)
    settings = _settings(values, model)
    ids = class_ids(values["ids"], model.classes, _target(checkpoint, values))
    identity = {
        "checkpoint": Path(checkpoint).name,
        "weights": _weights(model, Path(checkpoint)),
        "teacher": bool(config.teacher),
        "classes": model.classes.to_dict(),
        "ids": list(ids),
        **asdict(settings),
        "opacity": config.opacity,
        "precision": str(config.trainer.precision),
    }
    reader = target_reader(model.run_config, values["bands"], values["value_range"])
    if reader != ImageReader():
        identity |= {"bands": reader.bands, "value_range": reader.value_range}
    job = Job(
        model=_Autocast(model, fabric),
        settings=settings,
        writer=Writer(folder, kinds, model.classes, ids, float(config.opacity)),
        records=Records(folder, fabric.global_rank),
        batch_size=config.batch_size,
        skip_unreadable=config.unreadable == "skip",
        workers=config.num_workers,
        max_pixels=config.max_pixels,
        reader=reader,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    return job, identity


def _check_values(config: Any) -> None:
    if not 0 <= config.opacity <= 1:
        raise InputError(f"opacity is {config.opacity}: give a number from 0 to 1.")


class _Autocast:
    """A model within the precision that the command line asks for."""

    def __init__(self, model: Any, fabric: Any) -> None:
        self.model, self.classes, self.fabric = model, model.classes, fabric

    def predict_arrays(self, images: Any, settings: Any) -> Any:
        """Predictions of images."""
        with self.fabric.autocast():
            return self.model.predict_arrays(images, settings)


def _settings(values: dict[str, Any], model: Any) -> Any:
    from hiast.export.exported import ExportedModel
    from hiast.prediction.inference import InferenceSettings

    size, window, scales = values["size"], values["window"], values["scales"]
    given = size if size is None or isinstance(size, str) else [size]
    factors = scales if isinstance(scales, list) else [scales]
    if not all(isinstance(factor, int | float) for factor in factors):
        raise InputError(f"scales is {scales}: give numbers, such as [0.75, 1.0, 1.25].")
    settings = InferenceSettings(
        sizes=model.sizes_to_see(given),
        scales=tuple(factors),
        flip=bool(values["flip"]),
        window=None if window is None else tuple(window) if isinstance(window, list) else window,
        blend=values["blend"],
    )
    if isinstance(model, ExportedModel):
        model.check(settings)
    return settings


def _target(checkpoint: str, values: dict[str, Any]) -> Any:
    """The target dataset in the configuration of a checkpoint's run, where the ids of the dataset are asked for."""
    from hiast.training.checkpoint import read_checkpoint

    path = Path(checkpoint)
    if values["ids"] != "dataset":
        return None
    if not path.is_file() or path.suffix != ".ckpt":
        raise InputError(
            "ids=dataset needs a checkpoint, which says what its target is: name the dataset, or its ids."
        )
    config = read_checkpoint(path, "meta")["hiast"]["config"]
    return config.get("data", {}).get("target")


def _weights(model: Any, path: Path) -> str:
    import hashlib

    from hiast.callbacks.hashing import weights_hash

    if hasattr(model, "evaluation_network"):
        return weights_hash(model.evaluation_network)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_places(source: Path, folder: Path) -> None:
    from hiast.cli.places import check_folder
    from hiast.data.io.patterns import IMAGE_SUFFIXES

    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"output: {folder} lies inside of input; the predictions would be taken for images.")
    check_folder("output", folder)
    if not folder.exists() and folder.suffix[1:].lower() in IMAGE_SUFFIXES:
        raise InputError(
            f"output: {folder} is named as an image; name a folder, which gets labels and overlays."
        )


def _summary(records: list[dict[str, Any]], classes: Any, title: str) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from hiast.evaluation.tables import percent

    pixels = sum(record["height"] * record["width"] for record in records)
    table = Table(title=title)
    table.add_column("class")
    table.add_column("share of the pixels in percent", justify="right")
    for index, name in enumerate(classes.names):
        table.add_row(
            escape(name), percent(sum(record["counts"][index] for record in records) / max(1, pixels))
        )
    return table


if __name__ == "__main__":
    main()
