"""Datasets of street scenes read back from drawn scenes in their genuine layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import hiast.data
from hiast.classes import CITYSCAPES_19
from hiast.data import (
    ACDCDataModule,
    AdaptationDataModule,
    BDD100KDataModule,
    CityscapesDataModule,
    DarkZurichDataModule,
    DatasetDataModule,
    IDDDataModule,
    JoinedDataModule,
    MapillaryDataModule,
    SynscapesDataModule,
    UrbanSynDataModule,
)
from hiast.data.augmentation.weak import RandomSizedCrop, WeakAugmentation
from hiast.data.datasets.idd_labels import IDD_IDS, IDD_NAMES, IDDLabels
from hiast.data.datasets.mapillary import MAPILLARY_IDS
from hiast.errors import InputError
from hiast.scenes import (
    Look,
    draw_scene,
    write_acdc,
    write_bdd100k,
    write_cityscapes,
    write_dark_zurich,
    write_idd,
    write_mapillary,
    write_synscapes,
    write_urbansyn,
)
from hiast.scenes.writers.acdc import CONDITIONS, NIGHT
from hiast.scenes.writers.bdd100k import DASHBOARD
from hiast.scenes.writers.idd import DUSTY
from hiast.scenes.writers.mapillary import EVERYWHERE
from hiast.scenes.writers.synscapes import PATH_TRACED
from hiast.scenes.writers.urbansyn import RENDERED

SIZE = (54, 96)
WEAK = WeakAugmentation(RandomSizedCrop(32, 64, 24, 48))


@dataclass(frozen=True)
class Dataset:
    """How a dataset is drawn, and what has to be found.

    Attributes:
        module: Its datamodule.
        write: Draws it.
        folders: Its folders below ``data_root``.
        look: Look of the scene of a seed; None: a scene that is not to be read.
        train: Number of training images.
        val: Number of validation images; 0: it has one split.
        images: Folder of its training images.
        labels: Folder of its training labels (or those of val where train has none).
    """

    module: type[DatasetDataModule]
    write: Callable[[Path], Any]
    folders: Sequence[str]
    look: Callable[[tuple[int, ...]], Look | None]
    train: int
    val: int
    images: str
    labels: str


def acdc_look(seed: tuple[int, ...]) -> Look | None:
    """References are a number longer."""
    return list(CONDITIONS.values())[seed[2]] if len(seed) == 5 else None


DATASETS = {
    "acdc": Dataset(
        ACDCDataModule, lambda root: write_acdc(root, 2, 1, SIZE), ["acdc"], acdc_look, 8, 4,
        "acdc/rgb_anon", "acdc/gt",
    ),
    "dark_zurich": Dataset(
        DarkZurichDataModule, lambda root: write_dark_zurich(root, 3, 2, SIZE), ["dark_zurich"],
        lambda seed: NIGHT if seed[2] in (0, 2) else None, 3, 2,
        "dark_zurich/rgb_anon/train/night", "dark_zurich/gt/val/night",
    ),
    "bdd100k": Dataset(
        BDD100KDataModule, lambda root: write_bdd100k(root, 3, 2, SIZE), ["bdd100k"], lambda seed: DASHBOARD, 3, 2,
        "bdd100k/images/10k/train", "bdd100k/labels/sem_seg/masks/train",
    ),
    "idd": Dataset(
        IDDDataModule, lambda root: write_idd(root, 2, 1, SIZE), ["IDD_Segmentation", "idd20kII"],
        lambda seed: DUSTY, 4, 2,
        "IDD_Segmentation/leftImg8bit/train", "IDD_Segmentation/gtFine/train",
    ),
    "mapillary": Dataset(
        MapillaryDataModule, lambda root: write_mapillary(root, 3, 2, SIZE), ["mapillary"],
        lambda seed: EVERYWHERE, 3, 2,
        "mapillary/training/images", "mapillary/training/v1.2/labels",
    ),
    "urbansyn": Dataset(
        UrbanSynDataModule, lambda root: write_urbansyn(root, 3, SIZE), ["urbansyn"], lambda seed: RENDERED, 3, 0,
        "urbansyn/rgb", "urbansyn/ss",
    ),
    "synscapes": Dataset(
        SynscapesDataModule, lambda root: write_synscapes(root, 3, SIZE), ["Synscapes"], lambda seed: PATH_TRACED, 3, 0,
        "Synscapes/img/rgb", "Synscapes/img/class",
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", DATASETS)


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_root with all of ``DATASETS``. Tests only read it."""
    root = tmp_path_factory.mktemp("streets")
    for dataset in DATASETS.values():
        dataset.write(root)
    write_cityscapes(root, 2, 1, SIZE)
    return root


@pytest.fixture
def copy(streets: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Gives a data_root with a copy of one dataset, which a test may damage."""

    def make(name: str) -> Path:
        for folder in DATASETS[name].folders:
            shutil.copytree(streets / folder, tmp_path / "copy" / folder)
        return tmp_path / "copy"

    return make


@cache
def scene(name: str, seed: tuple[int, ...], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    look = DATASETS[name].look(seed)
    return None if look is None else draw_scene(seed, size, look)


def scenes(root: Path, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The scenes of a dataset as the drawing itself gives them: images and labels of the 19 classes."""
    drawn = []
    for folder in DATASETS[name].folders:
        marker = json.loads((root / folder / "drawn_scenes.json").read_text())
        for seed, size in zip(marker["seeds"], marker["sizes"], strict=True):
            drawn.append(scene(name, tuple(seed), tuple(size)))
    return [pair for pair in drawn if pair is not None]


def difference(image: np.ndarray, other: np.ndarray) -> float:
    return float("inf") if image.shape != other.shape else float(np.abs(image.astype(int) - other).mean())


def check_labels(dataset: Any, drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Every image is one of the drawn scenes, each another one, and its label is the classes that were drawn."""
    found = set()
    for index in range(len(dataset)):
        image = dataset.read_image(index)
        distances = [difference(image, other) for other, _ in drawn]
        nearest = int(np.argmin(distances))
        assert distances[nearest] < 8, "JPEG changes little, another scene is far away"
        np.testing.assert_array_equal(dataset.read_label(index), drawn[nearest][1], dataset.names[index])
        found.add(nearest)
    assert len(found) == len(dataset)


@EACH
def test_what_is_read_is_what_was_drawn(streets: Path, name: str) -> None:
    wanted, drawn = DATASETS[name], scenes(streets, name)
    module = wanted.module(streets)
    assert module.has_val is (wanted.val > 0)
    assert len(module.train_dataset(labeled=False)) == wanted.train
    if name != "dark_zurich":
        check_labels(module.train_dataset(), drawn)
    if wanted.val:
        assert len(module.val_dataset()) == wanted.val
        check_labels(module.val_dataset(), drawn)
        names = {*module.train_dataset(labeled=False).names, *module.val_dataset().names}
        assert len(names) == wanted.train + wanted.val
    seen = set(np.unique([label for _, label in drawn if label.shape == SIZE])) - {255}
    assert len(seen) > 12, "most classes are there to be read"


@EACH
def test_each_trains_alone_and_as_a_target(streets: Path, name: str) -> None:
    kind = DATASETS[name].module
    if name != "dark_zurich":
        options = {} if DATASETS[name].val else {"val_fraction": 0.4}
        module = kind(streets, augmentation=WEAK, batch_size=2, num_workers=0, **options)
        batch = next(iter(module.train_dataloader()))
        assert batch["image"].shape == (2, 3, 32, 64) and batch["label"].shape == (2, 32, 64)
        assert len(list(module.val_dataloader())) >= 1
    source = CityscapesDataModule(streets)
    both = AdaptationDataModule(
        source, kind(streets), source_augmentation=WEAK, target_augmentation=WEAK, num_workers=0
    )
    both = both.with_plan(("source", "target"), batch_size=2, steps=1)
    (batch,) = both.train_dataloader()["target"]
    assert "label" not in batch and batch["image"].shape == (2, 3, 32, 64)
    assert len(both.labeling_images()) == DATASETS[name].train


@EACH
def test_a_missing_folder_is_said_in_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        DATASETS[name].module(tmp_path).train_dataset(labeled=False)
    message = str(caught.value)
    assert DATASETS[name].folders[0] in message and "\n" not in message
    assert "data_root" in message


@EACH
def test_missing_labels_are_said_and_not_needed_in_a_target(copy: Callable[[str], Path], name: str) -> None:
    root, wanted = copy(name), DATASETS[name]
    split = "val" if name == "dark_zurich" else "train"
    files = sorted((root / wanted.labels).rglob("*TrainIds.png" if name == "acdc" else "*.*"))
    gone = files[0]
    if name == "dark_zurich":
        gone = next(path for path in files if path.name.endswith("labelTrainIds.png"))
    gone.unlink()
    module = wanted.module(root)
    with pytest.raises(InputError, match=r"1 of \d+ images have no label, such as .*: add a file"):
        module.listing(split, labeled=True)
    shutil.rmtree(root / wanted.labels)
    bare = wanted.module(root)
    assert len(bare.train_dataset(labeled=False)) == wanted.train
    with pytest.raises(InputError):
        bare.listing(split, labeled=True)


@EACH
def test_an_incomplete_split_keeps_its_labels_right(copy: Callable[[str], Path], name: str) -> None:
    """Where a label is missing and a list leaves its image out, the others are read as ever."""
    if name == "dark_zurich":
        pytest.skip("its training images have no labels")
    root = copy(name)
    drawn, module = scenes(root, name), DATASETS[name].module(root)
    listing = module.listing("train", labeled=True)
    assert listing.pairs[0].label is not None
    listing.pairs[0].label.unlink()
    names = root / "names.txt"
    names.write_text("\n".join(pair.name for pair in listing.pairs[1:]))
    chosen = DATASETS[name].module(root, train_list=names).train_dataset()
    assert len(chosen) == len(listing.pairs) - 1
    check_labels(chosen, drawn)


def test_orphans_are_noticed(copy: Callable[[str], Path]) -> None:
    root = copy("idd")
    next((root / "idd20kII/leftImg8bit/train").rglob("*.jpg")).unlink()
    orphans = IDDDataModule(root).listing("train", labeled=True).orphans
    assert [path.suffix for path in orphans] == [".json"]


# -- ACDC and Dark Zurich ---------------------------------------------------------------------------------------


def test_acdc_leaves_references_and_the_test_split_alone(streets: Path) -> None:
    module = ACDCDataModule(streets)
    names = module.train_dataset(labeled=False).names
    assert sorted({name.split("/")[0] for name in names}) == ["fog", "night", "rain", "snow"]
    assert all(name.split("/")[1] == "train" and name.endswith("_rgb_anon") for name in names)
    assert len(list((streets / "acdc").rglob("*_rgb_ref_anon.png"))) == 16


@pytest.mark.parametrize("condition", ["fog", "night", "rain", "snow"])
def test_a_condition_of_acdc(streets: Path, condition: Any) -> None:
    module = ACDCDataModule(streets, condition=condition)
    assert (len(module.train_dataset()), len(module.val_dataset())) == (2, 1)
    assert all(condition in str(pair.image) for pair in module.listing("val", labeled=True).pairs)


@pytest.mark.parametrize("name", ["acdc", "dark_zurich"])
def test_label_ids_are_used_without_train_ids(copy: Callable[[str], Path], name: str) -> None:
    root = copy(name)
    drawn = scenes(root, name)
    for path in root.rglob("*_labelTrainIds.png"):
        path.unlink()
    check_labels(DATASETS[name].module(root).val_dataset(), drawn)


def test_dark_zurichs_nights_are_the_target(streets: Path) -> None:
    night = DarkZurichDataModule(streets).train_dataset(labeled=False)
    day = DarkZurichDataModule(streets, time="day").train_dataset(labeled=False)
    assert night.read_image(0).mean() < 0.7 * day.read_image(0).mean()
    with pytest.raises(InputError, match="Dark Zurich's training images have no labels"):
        DarkZurichDataModule(streets).train_dataset()


# -- BDD100K ----------------------------------------------------------------------------------------------------


def test_the_first_release_of_bdd100k(copy: Callable[[str], Path]) -> None:
    root = copy("bdd100k")
    drawn, folder = scenes(root, "bdd100k"), root / "bdd100k"
    for split in ("train", "val"):
        (folder / "seg/images").mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "images/10k" / split, folder / "seg/images" / split)
        (folder / "seg/labels" / split).mkdir(parents=True)
        for path in (folder / "labels/sem_seg/masks" / split).iterdir():
            path.rename(folder / "seg/labels" / split / f"{path.stem}_train_id.png")
    shutil.rmtree(folder / "images")
    module = BDD100KDataModule(root)
    check_labels(module.train_dataset(), drawn)
    check_labels(module.val_dataset(), drawn)


# -- Mapillary Vistas -------------------------------------------------------------------------------------------


def test_both_versions_of_mapillarys_labels_mean_the_same(streets: Path) -> None:
    drawn = scenes(streets, "mapillary")
    module = MapillaryDataModule(streets, version="v2.0")
    check_labels(module.train_dataset(), drawn)
    check_labels(module.val_dataset(), drawn)
    assert len({module.train_dataset().image_size(index) for index in range(3)}) == 2, "sizes differ"


def test_an_archive_of_mapillary_v1_2_has_no_folders_of_versions(copy: Callable[[str], Path]) -> None:
    root = copy("mapillary")
    drawn = scenes(root, "mapillary")
    for split in ("training", "validation"):
        shutil.move(root / "mapillary" / split / "v1.2/labels", root / "mapillary" / split / "labels")
        shutil.rmtree(root / "mapillary" / split / "v2.0")
    check_labels(MapillaryDataModule(root).train_dataset(), drawn)
    with pytest.raises(InputError, match=r"v2\.0/labels is missing"):
        MapillaryDataModule(root, version="v2.0").val_dataset()


def test_mapillarys_tables_hold_every_class_and_leave_the_doubtful_out() -> None:
    # Road, lane marking, curb, crosswalk, traffic sign from behind, caravan, ego vehicle, unlabeled.
    some = {
        "v1.2": {13: "road", 24: "road", 2: "sidewalk", 23: None, 49: None, 56: None, 64: None, 65: None},
        "v2.0": {21: "road", 36: "road", 4: "sidewalk", 45: None, 97: None, 109: None, 120: None, 123: None},
    }
    for version, ids in MAPILLARY_IDS.items():
        assert set(ids.values()) == set(range(19))
        for raw, name in some[version].items():
            assert ids.get(raw) == (None if name is None else CITYSCAPES_19.index(name)), (version, raw)


# -- IDD --------------------------------------------------------------------------------------------------------

# helpers/anue_labels.py: name -> (id, csTrainId, level3Id), of labels that the drawn scenes hold.
ANUE = {
    "road": (0, 0, 0), "parking": (1, 255, 1), "sidewalk": (3, 1, 2), "rail track": (4, 255, 3),
    "non-drivable fallback": (5, 9, 3), "person": (6, 11, 4), "rider": (8, 12, 5), "motorcycle": (9, 17, 6),
    "bicycle": (10, 18, 7), "car": (12, 13, 9), "truck": (13, 14, 10), "bus": (14, 15, 11), "train": (17, 16, 12),
    "vehicle fallback": (18, 255, 12), "wall": (20, 3, 14), "fence": (21, 4, 15), "traffic sign": (24, 7, 18),
    "traffic light": (25, 6, 19), "pole": (26, 5, 20), "obs-str-bar-fallback": (28, 255, 21),
    "building": (29, 2, 22), "vegetation": (32, 8, 24), "sky": (33, 10, 25), "unlabeled": (35, 255, 255),
    "ego vehicle": (36, 255, 255), "out of roi": (38, 255, 255),
}  # fmt: skip


@pytest.fixture
def with_pngs(copy: Callable[[str], Path]) -> Path:
    """A copy of the drawn IDD with what IDD's tools make of it for each id type."""
    root = copy("idd")
    for path in root.rglob("*_gtFine_polygons.json"):
        ids = IDDLabels()(path)
        for column, kind in enumerate(("labelids", "labelcsTrainIds", "labellevel3Ids")):
            table = np.full(256, 7, np.uint8)
            for entry in ANUE.values():
                table[entry[0]] = entry[column]
            cv2.imwrite(str(path).replace("polygons.json", f"{kind}.png"), table[ids])
    return root


def test_idds_names_and_ids_are_those_of_its_tools() -> None:
    for name, (raw, train, _) in ANUE.items():
        assert IDD_NAMES[raw] == name
        assert IDD_IDS.get(raw, 255) == train
    assert set(IDD_IDS.values()) == set(range(19))


@pytest.mark.parametrize("kind", ["labelids", "labelcsTrainIds", "labellevel3Ids"])
def test_pngs_that_idds_tools_make(with_pngs: Path, kind: str) -> None:
    drawn = scenes(with_pngs, "idd")
    if kind == "labellevel3Ids":
        # Trains are ignored there, and rail tracks, which the scenes leave void, are terrain.
        for path in with_pngs.rglob("*_polygons.json"):
            ids = IDDLabels()(path)
            expected = np.full(256, 255, np.uint8)
            for raw, index in IDD_IDS.items():
                expected[raw] = index
            expected[ANUE["train"][0]] = 255
            expected[ANUE["rail track"][0]] = CITYSCAPES_19.index("terrain")
            read = IDDLabels()(Path(str(path).replace("polygons.json", "labellevel3Ids.png")))
            found = np.full(256, 255, np.uint8)
            for raw, index in IDD_IDS.items():
                found[raw] = index
            np.testing.assert_array_equal(found[read], expected[ids])
    for path in [*with_pngs.rglob("*_label*.png"), *with_pngs.rglob("*_polygons.json")]:
        if kind not in path.name:
            path.unlink()
    dataset = IDDDataModule(with_pngs).train_dataset()
    assert all(kind in str(pair.label) for pair in dataset.listing.pairs)
    if kind != "labellevel3Ids":
        check_labels(dataset, drawn)


def test_a_kind_of_labels_that_one_part_lacks_is_not_used(with_pngs: Path) -> None:
    for path in (with_pngs / "idd20kII").rglob("*_labelcsTrainIds.png"):
        path.unlink()
    labels = [str(pair.label) for pair in IDDDataModule(with_pngs).listing("train", labeled=True).pairs]
    assert all("_labelids" in label for label in labels)


@pytest.mark.parametrize("part", ["IDD_Segmentation", "idd20kII"])
def test_one_part_of_idd_is_enough(copy: Callable[[str], Path], part: str) -> None:
    root = copy("idd")
    (other,) = {"IDD_Segmentation", "idd20kII"} - {part}
    shutil.rmtree(root / other)
    dataset = IDDDataModule(root).train_dataset()
    assert len(dataset) == 2 and all(name.startswith(f"{part}/") for name in dataset.names)


def write_polygons(path: Path, *things: dict[str, Any], size: tuple[int, int] = (4, 6)) -> Path:
    content = {"imgHeight": size[0], "imgWidth": size[1], "objects": list(things)}
    path.write_text(json.dumps(content))
    return path


def box(label: Any, left: float, top: float, right: float, bottom: float, **more: Any) -> dict[str, Any]:
    polygon = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "polygon": polygon, "deleted": 0} | more


def test_polygons_are_drawn_in_order_through_the_centers_of_pixels(tmp_path: Path) -> None:
    path = write_polygons(
        tmp_path / "a_gtFine_polygons.json",
        box("sky", -3, 0, 5, 1),
        box("road", 0, 2, 5, 9),
        box("cargroup", 1, 1, 2, 2),
        box("person", 4, 0, 5, 3, deleted=1),
        {"label": "pole", "polygon": [[0, 0], [0, 2], [0, 0]]},
        {"label": "bus", "polygon": [[3, 3]]},
        {"label": "bicycle", "polygon": []},
    )
    sky, road, car, pole, void = 33, 0, 12, 26, 35
    wanted = [
        [pole, sky, sky, sky, sky, sky],
        [pole, car, car, sky, sky, sky],
        [pole, car, car, road, road, road],
        [road, road, road, road, road, road],
    ]
    np.testing.assert_array_equal(IDDLabels()(path), wanted)
    assert IDDLabels().size(path) == (4, 6)
    np.testing.assert_array_equal(IDDLabels()(write_polygons(path)), np.full((4, 6), void))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no annotation"),
        ("[" * 100_000, "is not JSON"),
        ('{"objects": []}', "names no size"),
        ('{"imgHeight": 0, "imgWidth": 4, "objects": []}', "names no size"),
        ('{"imgHeight": 1e3, "imgWidth": 4, "objects": []}', "names no size"),
        ('{"imgHeight": 4, "imgWidth": 4}', "has no list of objects"),
        ('{"imgHeight": 4, "imgWidth": 4, "objects": [3]}', "holds an object that is none"),
        ('{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "car"}]}', "holds an object without polygon"),
        (
            '{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "car", "polygon": [[1, NaN]]}]}',
            r"holds the corner \[1, nan\]",
        ),
        (
            '{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "car", "polygon": [[1, 2, 3]]}]}',
            r"holds the corner \[1, 2, 3\]",
        ),
        (
            '{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "ufo", "polygon": []}]}',
            "names the label 'ufo', which IDD does not have",
        ),
        ('{"imgHeight": 99999, "imgWidth": 99999, "objects": []}', "set max_pixels"),
    ],
)
def test_damaged_polygons_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        IDDLabels()(path, 1_000_000)
    assert str(path) in str(caught.value)


def test_missing_polygons_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a_polygons\.json cannot be read: No such file"):
        IDDLabels().size(tmp_path / "a_polygons.json")


# -- UrbanSyn, Synscapes, joined sources ------------------------------------------------------------------------


def test_urbansyns_own_car_is_ignored(streets: Path) -> None:
    dataset = UrbanSynDataModule(streets).train_dataset()
    raw = [np.asarray(Image.open(pair.label)) for pair in dataset.listing.pairs]
    assert any((ids == 19).any() for ids in raw)
    for index, ids in enumerate(raw):
        assert (dataset.read_label(index)[ids == 19] == 255).all()


def test_the_larger_images_of_synscapes(streets: Path) -> None:
    small = SynscapesDataModule(streets).train_dataset()
    large = SynscapesDataModule(streets, images="rgb-2k").train_dataset()
    assert small.names == large.names == ("1", "2", "3")
    assert large.image_size(0) == (77, 137)
    label = large.read_label(0)
    assert label.shape == (77, 137)
    assert set(np.unique(label)) <= set(np.unique(small.read_label(0)))


def test_three_rendered_sources_are_joined(streets: Path, drawn_data: Path) -> None:
    joined = JoinedDataModule(
        [
            hiast.data.GTA5DataModule(drawn_data),
            hiast.data.SYNTHIADataModule(drawn_data, CITYSCAPES_19),
            UrbanSynDataModule(streets),
        ],
        [1, 1, 2],
    )
    assert joined.classes_present == frozenset(range(19))
    assert len(joined.train_dataset()) == 8 + 8 + 3
    assert {name.split("/")[0] for name in joined.train_dataset().names} == {"GTA5", "SYNTHIA", "UrbanSyn"}


# -- choices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (ACDCDataModule, {"condition": "mist"}, "condition is 'mist': choose fog, night, rain, snow or null"),
        (DarkZurichDataModule, {"time": "noon"}, "time is 'noon': choose night, twilight, day"),
        (MapillaryDataModule, {"version": "v3"}, r"version is 'v3': choose v1\.2 or v2\.0"),
        (SynscapesDataModule, {"images": "rgb-4k"}, "images is 'rgb-4k': choose rgb or rgb-2k"),
    ],
)
def test_choices_that_there_are_not(streets: Path, kind: type, options: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        kind(streets, **options).train_dataset(labeled=False)
