"""Writing tasks for Label Studio with brush strokes as predictions (source: labelstud.io, tags/brushlabels).

label_config.xml     the labeling interface of the project
tasks.json           a task per image, or tasks-00001.json and so on
images/NAME.jpg      if images are copied or linked
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from hiast.classes import LabelSpace
from hiast.errors import InputError
from hiast.formats import brush
from hiast.formats.items import Images, Item, checked
from hiast.formats.sink import Sink, Spool, open_sink, place_image

_CONFIG, _TASKS, _IMAGES = "label_config.xml", "tasks", "images"


def write_label_studio(
    path: Path | str,
    items: Iterable[Item],
    classes: LabelSpace,
    *,
    model_version: str,
    image_url: str = "/data/local-files/?d={path}",
    image_root: Path | str = "/",
    tasks_per_file: int | None = None,
    images: Images = "leave",
    overwrite: bool = False,
) -> int:
    """Write tasks whose predictions are brush strokes, one per class.

    Create a project with ``label_config.xml`` as its labeling interface and import the tasks. Ignored pixels are not
    painted. The mean confidence is the score of the prediction and of each stroke. Each task also holds the name of
    the item and the size of the image, by which corrections are read back.

    Args:
        path: Folder, or zip file if it ends with ".zip".
        items: The labeled images; they are taken one by one.
        classes: Names and colors.
        model_version: What the predictions come from, such as the name of a run.
        image_url: Address of an image: {path} stands for its path below ``image_root``, {name} for the item's name.
        image_root: Folder that Label Studio serves (LOCAL_FILES_DOCUMENT_ROOT).
        tasks_per_file: Cut the list of tasks into files of this number; None: one file.
        images: Whether the images are put in as well.
        overwrite: Replace an earlier export.

    Returns:
        Number of items written.

    Raises:
        InputError: An item cannot be written, an image lies outside ``image_root``, or there is something at ``path``.
        OSError: The export cannot be written.
    """
    if tasks_per_file is not None and tasks_per_file < 1:
        raise InputError(
            f"tasks_per_file is {tasks_per_file}; give a number of at least 1, or null for one file."
        )
    count = 0
    with (
        open_sink(path, (_CONFIG, "tasks*.json", _IMAGES), overwrite=overwrite) as sink,
        ExitStack() as spools,
    ):
        sink.write(_CONFIG, label_config(classes).encode("utf-8"))
        spool = spools.enter_context(Spool(sink))
        for item in checked(items, classes):
            if spool.count == tasks_per_file:
                _write_tasks(sink, spool, count // spool.count)
                spools.close()
                spool = spools.enter_context(Spool(sink))
            spool.add_json(_task(item, classes, model_version, _address(item, image_url, Path(image_root))))
            place_image(sink, f"{_IMAGES}/{item.file_name}", item, images)
            count += 1
        number = None if tasks_per_file is None else -(-max(count, 1) // tasks_per_file)
        _write_tasks(sink, spool, number)
    return count


def _write_tasks(sink: Sink, spool: Spool, number: int | None) -> None:
    sink.write(f"{_TASKS}.json" if number is None else f"{_TASKS}-{number:05d}.json", spool.json_list())


def label_config(classes: LabelSpace) -> str:
    """The labeling interface of a project, as XML: an image and a brush for each class."""
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for name, (red, green, blue) in zip(classes.names, classes.colors, strict=True)
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="label" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    )


def _address(item: Item, url: str, root: Path) -> str:
    path = item.image.absolute()
    if "{path}" in url and not path.is_relative_to(root.absolute()):
        raise InputError(
            f"The image {item.image} lies outside {root}: set image_root to the folder that Label Studio serves."
        )
    below = quote(path.relative_to(root.absolute()).as_posix()) if "{path}" in url else ""
    return url.replace("{path}", below).replace("{name}", quote(item.name))


def _task(item: Item, classes: LabelSpace, model_version: str, url: str) -> dict[str, Any]:
    height, width = item.size
    results = []
    for index in np.unique(item.labels).tolist():
        if index < len(classes):
            results.append(_stroke(item, index, classes.names[index]))
    prediction: dict[str, Any] = {"model_version": model_version, "result": results}
    score = item.score(item.labels < len(classes))
    if score is not None:
        prediction["score"] = score
    data = {"image": url, "name": item.name, "width": width, "height": height}
    return {"data": data, "predictions": [prediction]}


def _stroke(item: Item, index: int, name: str) -> dict[str, Any]:
    height, width = item.size
    mask = item.labels == index
    stroke = {
        "id": f"class{index}",
        "type": "brushlabels",
        "from_name": "label",
        "to_name": "image",
        "origin": "prediction",
        "image_rotation": 0,
        "original_width": width,
        "original_height": height,
        "value": {"format": "rle", "rle": brush.encode(mask).tolist(), "brushlabels": [name]},
    }
    score = item.score(mask)
    return stroke if score is None else stroke | {"score": score}
