from __future__ import annotations

import numpy as np

from hiast.classes import CITYSCAPES_19, IGNORED
from hiast.evaluation.pictures import Tile, heat, sheet, where_kept


def filled(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_tiles_stand_in_rows_with_their_own_proportions() -> None:
    picture = sheet(
        [[Tile(filled(50, 100, 10)), Tile(filled(100, 100, 20))], [Tile(filled(10, 40, 30))]], width=80
    )
    assert picture.shape == (6 + (18 + 80 + 6) + (18 + 20 + 6), 6 + 2 * (80 + 6), 3)
    assert (picture[18 : 18 + 40, 6:86] == 10).all()
    assert (picture[18 + 40 : 104, 6:86] == 255).all()
    assert (picture[18 : 18 + 80, 92:172] == 20).all()
    assert (picture[104 + 18 : 104 + 38, 6:86] == 30).all()


def test_labels_keep_their_colors_at_any_size() -> None:
    labels = np.random.default_rng(0).integers(0, 19, (30, 50)).astype(np.uint8)
    colors = {tuple(color) for color in CITYSCAPES_19.colors}
    for width in (20, 50, 130):
        picture = sheet([[Tile(CITYSCAPES_19.colorize(labels))]], width=width)[18:-12, 6:-6]
        assert {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} <= colors


def test_the_legend_names_every_class() -> None:
    plain, with_legend = (sheet([[Tile(filled(9, 9, 255))]], classes) for classes in (None, CITYSCAPES_19))
    legend = {tuple(pixel) for pixel in with_legend[len(plain) - 6 :].reshape(-1, 3).tolist()}
    assert {tuple(color) for color in CITYSCAPES_19.colors} <= legend


def test_long_captions_and_empty_sheets_do_no_harm() -> None:
    assert sheet([[Tile(filled(4, 4, 0), "x" * 500)]], width=40).shape[1] == 52
    assert sheet([]).ndim == 3
    assert sheet([[]]).ndim == 3


def test_heat_runs_from_dark_to_bright_and_is_clipped() -> None:
    picture = heat(np.array([[-1, 0, 0.25, 0.5, 0.75, 1, 2]], np.float32)).sum(-1)[0]
    assert picture[0] == picture[1]
    assert picture[5] == picture[6]
    assert (np.diff(picture[1:6].astype(int)) > 0).all()


def test_where_kept_leaves_labeled_pixels_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    labels = np.zeros((5, 6), np.uint8)
    labels[2:] = IGNORED
    shown = where_kept(image, labels)
    np.testing.assert_array_equal(shown[:2], image[:2])
    assert shown[2:].max() <= 0.3 * 255
    assert (shown[2:, :, 0] == shown[2:, :, 2]).all()
