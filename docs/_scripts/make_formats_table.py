"""Write docs/reference/formats_table.md: ``python docs/_scripts/make_formats_table.py [FILE]``.

Every row is a file that the tests write too. It is read here by the reader that training uses and compared with what
was written: what is said to be exact is equal in every pixel. A few seconds.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from hiast.classes import CITYSCAPES_19
from hiast.data.io.images import PLAIN_IMAGES, ImageReader, read_image
from hiast.data.io.labels import Threshold, read_ids
from hiast.data.io.sniff import HEAD, image_format
from hiast.errors import InputError
from hiast.evaluation.inference import Prediction
from hiast.files import write_atomically
from hiast.formats import FORMATS, open_annotations
from hiast.prediction.outputs import Writer

TESTS = Path(__file__).parents[2] / "tests"
PAGE = Path(__file__).parents[1] / "reference" / "formats_table.md"
EXTRAS = {"avif": ("PIL.AvifImagePlugin", "a Pillow with AVIF"), "heic": ("pillow_heif", "`hiast[heif]`")}
"""Images that need more than the library's own packages: name in the tests -> module, and how a row says it."""

HEAD_OF_PAGE = """# What is read and written

Made by `python docs/_scripts/make_formats_table.py` from the data of the tests. Each file was written, read by the
reader that training, check, labeling and prediction share, and compared. *exact*: every pixel is equal to what was
written, or to what Pillow shows. *lossy*: the format itself changes values; they were compared too, with a tolerance.
The content of a file says what it is, not its suffix.
"""
IMAGES = """
## Images

Key `images`, `val_images` of a dataset file; `input` of hiast-label and hiast-predict. The result is RGB of 8 bits. The
check accepts what training reads, and refuses a file that was cut off.

| file in the tests | format | as stored | read | needs |
|---|---|---|---|---|
"""
IMAGE_KEYS = """
## Images by key

Keys of a dataset file; hiast-label and hiast-predict take them too, and use those of the target in training by default.

| images hold | key | read |
|---|---|---|
"""
LABELS = """
## Labels without a key

Key `labels`, `val_labels` of a dataset file. The result is one id for each pixel.

| file in the tests | stored | read |
|---|---|---|
"""
KEYS = """
## Labels by key

What the labels of a dataset hold, the pattern, and the keys of the dataset file that it needs beside `labels`, `names`
and `ids`.

| labels hold | pattern | keys | read |
|---|---|---|---|
"""
ANNOTATIONS = """
## Annotations of other programs

Keys `format` and `annotations` of a dataset file, and `format` of hiast-predict. What the library writes comes back:
pixels that differ, of all pixels of the test maps, ignored ones included.

| written as | `format` | pixels that differ |
|---|---|---:|
"""
WRITTEN = """
## Predictions

`save` of hiast-predict, for each image; `csv` is one table of the share of each class in all images. hiast-label writes
label maps as `labels` does, with 255 for pixels that are not trusted.

| `save` | file | holds | comes back |
|---|---|---|---|
"""


def load(name: str, path: Path) -> ModuleType:
    """A module of the tests."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def image_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Each image of the tests, as it is read."""
    tests = load("image_tests", TESTS / "data/io/test_formats.py")
    for name, make in tests.FILES.items():
        module, need = EXTRAS.get(name, ("", ""))
        if module and importlib.util.find_spec(module) is None:
            raise SystemExit(f"{name} cannot be read here: install {need}.")
        path = folder / name
        path.write_bytes(make())
        pixels, wanted = read_image(path), tests.reference(name, path.read_bytes())
        assert pixels.shape[:2] == PLAIN_IMAGES.check(path).size
        refuse_cut(path)
        kind = image_format(path.read_bytes()[:HEAD])
        lossy = any(name.endswith(end) for end in tests.LOSSY) and name not in ("lossless.webp", "jp2")
        read = likeness(pixels, wanted, lossy or name == "jpeg.tiff")
        yield f"`{name}`", str(kind), stored(path), read, need or "-"


def image_key_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Images that need keys of the dataset file."""
    import tifffile

    bands = np.random.default_rng(0).integers(0, 256, (20, 30, 5)).astype(np.uint8)
    tifffile.imwrite(folder / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(ImageReader(bands=(4, 2, 1)).read(folder / "bands.tif"), bands[..., [3, 1, 0]])
    yield "several bands", "`bands: [4, 2, 1]`", "exact"
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    tifffile.imwrite(folder / "deep.tif", deep, photometric="minisblack")
    mapped = ImageReader(value_range=(0, 4095)).read(folder / "deep.tif")[..., 0]
    assert np.abs(mapped - deep / 4095 * 255).max() <= 1
    yield "12 bits in a file of 16", "`value_range: [0, 4095]`", "linear, to 8 bits"
    kelvin = (deep / 4095 * 40 + 273).astype(np.float32)
    tifffile.imwrite(folder / "float.tif", kelvin, photometric="minisblack")
    mapped = ImageReader(value_range=(273, 313)).read(folder / "float.tif")[..., 0]
    assert np.abs(mapped - (kelvin - 273) / 40 * 255).max() <= 1
    yield "fractions, such as degrees", "`value_range: [273, 313]`", "linear, to 8 bits"


def stored(path: Path) -> str:
    """How Pillow describes a file; TIFF files that it does not open are described by their shape."""
    import tifffile

    if path.suffix == ".tiff":
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            layout = "tiles" if page.is_tiled else "strips"
            packed = "" if page.compression.name == "NONE" else f", {page.compression.name.lower()}"
            return f"{page.photometric.name.lower()}, {page.dtype}, {layout}{packed}"
    if path.suffix == ".heic" or path.name == "heic":
        return "RGB"
    with Image.open(path) as file:
        turned = ", EXIF orientation" if file.getexif().get(0x0112, 1) != 1 else ""
        return f"{file.mode}{turned}"


def likeness(pixels: np.ndarray, wanted: np.ndarray, lossy: bool) -> str:
    """How a file was read: "exact" or "lossy"; anything else stops the script."""
    difference = np.abs(pixels.astype(int) - wanted)
    assert difference.mean() < 6 if lossy else not difference.any(), "read as something else"
    return "lossy" if lossy else "exact"


def refuse_cut(path: Path) -> None:
    """Stop if half of a file is read as an image."""
    cut = path.with_name(f"cut_{path.name}")
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        read_image(cut)
    except InputError:
        return
    raise SystemExit(f"Half of {path.name} is read as an image.")


def label_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Each label of the tests, as ``read_ids`` reads it."""
    tests = load("label_tests", TESTS / "data/io/test_labels.py")
    for name, write in tests.WRITE.items():
        path = folder / name
        write(path, tests.IDS)
        yield f"`{name}`", shape(path), "exact" if np.array_equal(read_ids(path), tests.IDS) else "changed"


def shape(path: Path) -> str:
    """Type and shape of what a label file stores."""
    if path.suffix in (".npy", ".npz"):
        loaded = np.load(path)
        array = loaded if path.suffix == ".npy" else loaded[loaded.files[0]]
        return f"{array.dtype} {list(array.shape)}"
    if path.suffix == ".tif":
        import tifffile

        with tifffile.TiffFile(path) as file:
            return f"{file.series[0].dtype} {list(file.series[0].shape)}"
    with Image.open(path) as image:
        return f"mode {image.mode}"


def key_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Labels that need keys of the dataset file; and soft masks."""
    projects = load("projects", TESTS / "reports/projects.py")
    tests = load("reported_files", TESTS / "reports/test_reported_files.py")
    for number, (kind, (suffix, _, keys)) in enumerate(tests.LABELS.items()):
        project = projects.Project(folder / str(number))
        tests.write_labels(project, kind)
        found = project.module("source").train_dataset().read_label(1)
        exact = np.array_equal(found, projects.scene(1)[1])
        yield kind, f"`labels/{{name}}{suffix}`", said(keys), "exact" if exact else "changed"
    ids = projects.scene(0)[1]
    Image.fromarray(np.where(ids == 3, 255, 0).astype(np.uint8)).save(folder / "soft.jpg", quality=90)
    right = (Threshold(128)(folder / "soft.jpg", 10**6) == (ids == 3)).mean()
    assert right > 0.99
    yield "a soft mask of two classes, JPEG too", "`labels/{name}.jpg`", "`threshold: 128`", "lossy"


def said(keys: dict[str, object]) -> str:
    """Keys of a dataset file for a table."""
    shown = {key: "true" if value is True else value for key, value in keys.items()}
    shown = {key: "{...}" if isinstance(value, dict) else value for key, value in shown.items()}
    return ", ".join(f"`{key}: {value}`" for key, value in shown.items()) or "-"


def annotation_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Each writer of annotations, read back."""
    shared = load("formats_shared", TESTS / "formats/conftest.py")
    tests = load("round_trips", TESTS / "formats/test_round_trips.py")
    for number, (form, (write, name, options)) in enumerate(tests.FORMS.items()):
        items = []
        for title, labels in shared.MAPS.items():
            picture = folder / "pictures" / f"{title}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((*labels.shape, 3), np.uint8)).save(picture)
            items.append(tests.Item(title, labels, picture, None))
        write(folder / str(number), items, shared.CLASSES)
        reader = open_annotations(name, folder / str(number), shared.CLASSES.names, **options)
        pairs = [(reader.read(tests.name_in(form, title), m.shape), m) for title, m in shared.MAPS.items()]
        differing = sum(int((back != labels).sum()) for back, labels in pairs)
        yield form, f"`{name}`", f"{differing} of {sum(labels.size for _, labels in pairs):,}"
    written = {name for _, name, _ in tests.FORMS.values()}
    for name in sorted(FORMATS.keys() - written):
        yield "read only", f"`{name}`", "-"


def written_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Each file that a prediction of an image writes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 19, (24, 40)).astype(np.uint8)
    confidence = rng.random((24, 40), dtype=np.float32)
    kinds = ("labels", "overlay", "confidence", "polygons")
    writer = Writer(folder, kinds, CITYSCAPES_19, tuple(range(19)))
    writer.write("street", np.zeros((24, 40, 3), np.uint8), Prediction(labels, confidence))
    paths = writer.paths("street")
    assert np.array_equal(read_ids(paths["labels"]), labels)
    assert np.abs(read_image(paths["confidence"])[..., 0] / 255 - confidence).max() <= 0.5 / 255 + 1e-6
    holds = {
        "labels": ("ids of the classes, with a palette of their colors", "exact"),
        "overlay": ("the image under the colors of the classes", "-"),
        "confidence": ("255 times the probability of the class", "in steps of 1/255"),
        "polygons": ("outlines of the regions of each class", "-"),
    }
    for kind, path in paths.items():
        yield f"`{kind}`", f"`{path.relative_to(folder).as_posix()}`", *holds[kind]


def make_page() -> str:
    """The page."""
    page = HEAD_OF_PAGE
    sections = (
        (IMAGES, image_rows),
        (IMAGE_KEYS, image_key_rows),
        (LABELS, label_rows),
        (KEYS, key_rows),
        (ANNOTATIONS, annotation_rows),
        (WRITTEN, written_rows),
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, (head, rows) in enumerate(sections):
            place = Path(folder) / str(number)
            place.mkdir()
            os.chdir(place)
            page += head + "".join(f"| {' | '.join(cells)} |\n" for cells in rows(place))
        os.chdir(Path(__file__).parent)
    return page


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else PAGE, make_page().encode())
