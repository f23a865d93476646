"""Regions and their outlines: exact, whatever the shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw

from hiast.classes import IGNORED
from hiast.formats import raster
from hiast.formats.regions import outer_first, outline, polygons, regions

# A busy machine may take long over one example.
UNHURRIED = settings(deadline=None)
LABELS = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=13), elements=st.sampled_from([0, 1, 2, 255])
)


def flood(labels: np.ndarray) -> set[frozenset[tuple[int, int]]]:
    """Regions by a search over the pixels."""
    height, width = labels.shape
    left = {(row, column) for row in range(height) for column in range(width)}
    found = set()
    while left:
        start = left.pop()
        region, open_ = {start}, [start]
        while open_:
            row, column = open_.pop()
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if near in left and labels[near] == labels[start]:
                    left.remove(near)
                    region.add(near)
                    open_.append(near)
        found.add(frozenset(region))
    return found


def pixels(mask: np.ndarray, top: int = 0, left: int = 0) -> frozenset[tuple[int, int]]:
    return frozenset((int(row) + top, int(column) + left) for row, column in np.argwhere(mask))


def even_odd(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels whose center lies within a ring, by counting the sides to the right of each."""
    mask = np.zeros(size, np.bool_)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = column + 0.5, row + 0.5
            for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if x1 == x2 and x1 > x and min(y1, y2) < y < max(y1, y2):
                    mask[row, column] ^= True
    return mask


@UNHURRIED
@given(LABELS)
def test_regions_equal_a_flood_fill(labels: np.ndarray):
    found = [pixels(region.mask, region.top, region.left) for region in regions(labels, ignored=True)]
    assert len(found) == len(set(found))
    assert set(found) == flood(labels)
    kept = [region.label for region in regions(labels)]
    assert kept == sorted(kept)
    assert IGNORED not in kept


@UNHURRIED
@given(LABELS)
def test_polygons_are_exactly_the_region(labels: np.ndarray):
    for region in regions(labels, ignored=True):
        together = np.zeros(labels.shape, np.int64)
        for ring in polygons(region):
            sides = ring - np.roll(ring, 1, axis=0)
            assert ((sides == 0).sum(axis=1) == 1).all()  # along the edges of pixels
            assert len(set(map(tuple, ring.tolist()))) == len(ring)  # touches itself nowhere
            together += even_odd(ring, labels.shape)
        assert together.max() == 1  # no overlap
        assert pixels(together == 1) == pixels(region.mask, region.top, region.left)


@UNHURRIED
@given(LABELS)
def test_polygons_are_exact_by_the_rule_of_coco(labels: np.ndarray):
    back = np.full(labels.shape, IGNORED, np.uint8)
    for region in regions(labels):
        for ring in polygons(region):
            raster.fill(back, ring.astype(np.float64), region.label)
    np.testing.assert_array_equal(back, labels)  # the overlap is 1 for every class


@UNHURRIED
@given(LABELS)
def test_outlines_drawn_in_order_are_exact(labels: np.ndarray):
    canvas = Image.new("L", labels.shape[::-1], IGNORED)
    for region in outer_first(list(regions(labels, ignored=True))):
        ring = outline(region)
        assert len(ring) >= 3
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in ring.tolist()], fill=region.label)
    np.testing.assert_array_equal(np.array(canvas), labels)


def test_a_comb_of_holes():
    """Many holes are cut through one after another."""
    mask = np.ones((21, 201), np.uint8)
    mask[1:-1:2, 1:-1:2] = 255
    mask[mask == 1] = 0
    (region,) = regions(mask)
    back = np.full(mask.shape, 255, np.uint8)
    for ring in polygons(region):
        raster.fill(back, ring.astype(np.float64), 0)
    np.testing.assert_array_equal(back, mask)


POINTS = st.lists(
    st.tuples(
        *[st.floats(-4, 18, width=32) | st.integers(-4, 18) | st.integers(-8, 36).map(lambda n: n / 2)] * 2
    ),
    min_size=3,
    max_size=9,
)


@UNHURRIED
@given(POINTS, st.integers(1, 14), st.integers(1, 14))
def test_polygons_are_filled_as_pycocotools_does(points, height, width):
    tool = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    corners = np.array(points, np.float64)
    labels = np.zeros((height, width), np.uint8)
    raster.fill(labels, corners, 1)
    theirs = tool.decode(tool.frPyObjects([corners.ravel().tolist()], height, width))[..., 0]
    np.testing.assert_array_equal(labels, theirs)


@pytest.mark.parametrize("far", [-1000.0, 1000.0])
def test_a_polygon_beyond_the_picture_fills_nothing(far: float):
    labels = np.zeros((5, 6), np.uint8)
    raster.fill(labels, np.array([[0, 0], [4, 0], [4, 4]]) + far, 1)
    assert not labels.any()


def test_a_polygon_around_the_picture_fills_all():
    labels = np.zeros((5, 6), np.uint8)
    raster.fill(labels, np.array([[-9.0, -9], [20, -9], [20, 20], [-9, 20]]), 1)
    assert labels.all()


def test_a_triangle_of_known_pixels():
    labels = np.zeros((4, 4), np.uint8)
    raster.fill(labels, np.array([[0.0, 0], [4, 0], [4, 4]]), 1)
    # The upper right half; whether the diagonal itself belongs to it is a matter of the rule.
    assert labels[np.triu_indices(4, 1)].all()
    assert not labels[np.tril_indices(4, -1)].any()
