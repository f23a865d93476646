"""Sheets of pictures: places, sizes, colors, captions, titles and legend."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from hiast.classes import CITYSCAPES_19, IGNORED, LabelSpace
from hiast.evaluation.pictures import (
    CAPTION,
    GAP,
    TITLE,
    Row,
    Tile,
    fitted,
    heat,
    overlay,
    resized,
    sheet,
    where_kept,
)


def filled(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_tiles_stand_in_rows_with_their_own_proportions() -> None:
    rows = [
        Row([Tile(filled(50, 100, 10), "a"), Tile(filled(100, 100, 20))]),
        Row([Tile(filled(10, 40, 30))]),
    ]
    picture = sheet(rows, width=80)
    second = CAPTION + 80 + GAP  # a row without captions has no line for them
    assert picture.shape == (second + 20 + GAP + GAP, GAP + 2 * (80 + GAP), 3)
    assert (picture[CAPTION : CAPTION + 40, GAP : GAP + 80] == 10).all()
    assert (picture[CAPTION + 40 : second, GAP : GAP + 80] == 255).all()
    assert (picture[CAPTION : CAPTION + 80, 2 * GAP + 80 : 2 * GAP + 160] == 20).all()
    assert (picture[second : second + 20, GAP : GAP + 80] == 30).all()


def test_a_title_stands_above_its_row() -> None:
    picture = sheet([Row([Tile(filled(80, 80, 9))], "source"), Row([Tile(filled(80, 80, 7))])], width=80)
    assert (picture[:TITLE] < 255).any()
    assert (picture[TITLE : TITLE + 80, GAP : GAP + 80] == 9).all()
    assert (picture[TITLE + 80 + GAP :][:80, GAP : GAP + 80] == 7).all()


def test_upright_pictures_are_not_endless() -> None:
    assert fitted(50, 100, 80) == (40, 80)
    assert fitted(4000, 100, 80) == (160, 4)
    assert fitted(1, 4000, 80) == (1, 80)
    assert sheet([Row([Tile(filled(4000, 100, 0))])], width=80).shape == (160 + 2 * GAP, 80 + 2 * GAP, 3)


def test_labels_keep_their_colors_at_any_size() -> None:
    labels = np.random.default_rng(0).integers(0, 19, (30, 50)).astype(np.uint8)
    colors = {tuple(color) for color in CITYSCAPES_19.colors}
    for width in (20, 50, 130):
        picture = sheet([Row([Tile(CITYSCAPES_19.colorize(labels))])], width=width)[: -2 * GAP, GAP:-GAP]
        assert {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} <= colors


@pytest.mark.parametrize("size", [(5, 5), (20, 20)])
def test_smooth_pictures_are_blended(size: tuple[int, int]) -> None:
    steps = np.repeat(np.repeat(np.array([[0, 255], [255, 0]], np.uint8), 5, 0), 5, 1)[..., None].repeat(3, 2)
    assert set(np.unique(resized(steps, *size, smooth=False))) <= {0, 255}
    assert len(np.unique(resized(steps, *size, smooth=True))) > 2


def test_the_legend_names_every_class() -> None:
    plain, with_legend = (
        sheet([Row([Tile(filled(9, 9, 255))])], classes) for classes in (None, CITYSCAPES_19)
    )
    legend = {tuple(pixel) for pixel in with_legend[len(plain) - GAP :].reshape(-1, 3).tolist()}
    assert {tuple(color) for color in CITYSCAPES_19.colors} <= legend


def test_names_in_other_letters_than_ascii_are_readable() -> None:
    try:
        ImageFont.truetype("LiberationSans-Regular.ttf")
    except OSError:
        pytest.skip("LiberationSans is not installed")
    tile = Tile(filled(9, 9, 255))
    colors = ((0, 0, 0), (9, 9, 9))
    pair = ("gr\u00fcn", "gr\u00e9n")
    legends = [sheet([Row([tile])], LabelSpace(("road", name), colors)) for name in pair]
    captions = [sheet([Row([Tile(tile.picture, text + " \uffff")])]) for text in pair]  # no font has U+FFFF
    for first, second in (legends, captions):  # letters that a font lacks all look alike
        assert first.shape != second.shape or (first != second).any()


def test_long_captions_and_empty_sheets_do_no_harm() -> None:
    assert sheet([Row([Tile(filled(4, 4, 0), "x" * 500)])], width=40).shape[1] == 40 + 2 * GAP
    assert sheet([]).ndim == 3
    assert sheet([Row([])]).ndim == 3
    assert sheet([Row([], "nothing here")]).ndim == 3


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


def test_overlays_show_ignored_pixels_in_gray() -> None:
    image = np.array([[(100, 0, 50), (100, 0, 50)]], np.uint8)
    mixed = overlay(image, np.array([[0, IGNORED]], np.uint8), np.full((1, 2, 3), (0, 0, 250), np.uint8))
    assert mixed.tolist() == [[[40, 0, 170], [30, 30, 30]]]


def test_a_heat_map_shows_what_is_not_finite_as_the_lowest_value() -> None:
    picture = heat(np.array([[np.nan, 0]], np.float32))
    assert (picture[0, 0] == picture[0, 1]).all()
