"""The street itself: its cross-section, the sky above and the ground below."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.scenes.canvas import Canvas, Color, Points, shade
from hiast.scenes.ids import Id
from hiast.scenes.look import RGB, Look, pick

NEAR, FAR = 1.2, 120.0
LANE, PARKING_STRIP = 3.3, 2.3


@dataclass(frozen=True)
class Street:
    """Cross-section of the street in meters; x = 0 is the middle of the own lane.

    Attributes:
        left: Left edge of the road.
        right: Right edge of the road.
        lanes: Middles of the lanes, from left to right.
        oncoming: How many of them, from the left, carry traffic towards the camera.
        parking: Whether there is room for parked cars on the left and on the right.
        verge: Width of the grass strips, 0 for none.
        sidewalk: Width of the sidewalks.
        tracks: Middle of the tram's tracks, if there are any.
    """

    left: float
    right: float
    lanes: tuple[float, ...]
    oncoming: int
    parking: tuple[bool, bool]
    verge: float
    sidewalk: float
    tracks: float | None

    def curb(self, side: int, offset: float = 0.0) -> float:
        """X of the road's edge on one side (-1, 1), moved outwards."""
        return (self.left if side < 0 else self.right) + side * offset

    def frontage(self, side: int) -> float:
        """X at which buildings begin."""
        return self.curb(side, self.verge + self.sidewalk)


def plan_street(rng: np.random.Generator, look: Look, tram: bool) -> Street:
    """Draw a cross-section: lanes, parking strips, verges, sidewalks."""
    layout = look.layout
    ours = int(rng.integers(layout.lanes[0], layout.lanes[1] + 1))
    oncoming = int(rng.integers(1, layout.lanes[1] + 1))
    own = int(rng.integers(ours))
    lanes = tuple(float((i - oncoming - own) * LANE) for i in range(oncoming + ours))
    parking = (bool(rng.random() < layout.parking), bool(rng.random() < layout.parking))
    left = lanes[0] - LANE / 2 - (PARKING_STRIP if parking[0] else 0.5)
    right = lanes[-1] + LANE / 2 + (PARKING_STRIP if parking[1] else 0.5)
    grass = rng.random() < layout.verge and "terrain" not in layout.absent
    return Street(
        left=left - (3.2 if tram else 0.0),
        right=right,
        lanes=lanes,
        oncoming=oncoming,
        parking=parking,
        verge=float(rng.uniform(1.5, 3.8)) if grass else 0.0,
        sidewalk=float(rng.uniform(*layout.sidewalk)),
        tracks=left - 1.6 if tram else None,
    )


def draw_sky(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    """A gradient from zenith to skyline with soft clouds."""
    rows = max(4, math.ceil(canvas.view.horizon * canvas.height) + 2)
    top, low = (np.asarray(pick(rng, look.palette[key]), np.float32) for key in ("zenith", "skyline"))
    blend = np.linspace(0, 1, rows // 2, dtype=np.float32)[:, None, None] ** 0.8
    sky = top + (low - top) * blend
    # Clouds are soft: half the resolution is enough for them.
    size = (canvas.width // 2, rows // 2)
    cover = np.full(size[::-1], look.clouds - 0.45, np.float32)
    for cells, weight in (((4, 6), 0.5), ((8, 14), 0.3), ((18, 40), 0.15)):
        waves = rng.standard_normal(cells, np.float32) * np.float32(weight)
        cover += cv2.resize(waves, size, interpolation=cv2.INTER_CUBIC)
    cover = np.clip(cover * 1.6, 0, 0.85)[..., None]
    cloud = np.asarray(pick(rng, look.palette["cloud"]), np.float32)
    painted = np.clip(sky + (cloud - sky) * cover, 0, 255).astype(np.uint8)
    canvas.image[:rows] = cv2.resize(painted, (canvas.width, rows), interpolation=cv2.INTER_LINEAR)
    canvas.ids[:rows] = Id.SKY


def draw_ground(canvas: Canvas, rng: np.random.Generator, look: Look, street: Street) -> None:
    """Terrain, sidewalks, verges, road, lane marks and tracks."""
    palette = look.palette
    paved, asphalt = pick(rng, palette["sidewalk"]), pick(rng, palette["road"])
    bare = "terrain" in look.layout.absent
    ground, ident = (paved, Id.SIDEWALK) if bare else (pick(rng, palette["terrain"]), Id.TERRAIN)
    horizon = canvas.view.horizon * canvas.height
    canvas.fill(_screen(canvas, horizon), ground, ident)
    canvas.flat((-90, 90), (NEAR, FAR), ground, ident)
    depth = (NEAR, FAR)
    for side in (-1, 1):
        _strip(canvas, street.curb(side), street.frontage(side), depth, paved, Id.SIDEWALK)
        _pavers(canvas, street, side, paved)
        if street.verge:
            _strip(canvas, street.curb(side), street.curb(side, street.verge), depth, ground, ident)
    canvas.flat((street.left, street.right), depth, asphalt, Id.ROAD)
    for side in (-1, 1):
        _strip(
            canvas, street.curb(side), street.curb(side, 0.22), depth, pick(rng, palette["curb"]), Id.SIDEWALK
        )
    _draw_parking(canvas, rng, street, asphalt)
    _draw_marks(canvas, rng, look, street)
    if street.tracks is not None:
        x = street.tracks
        canvas.flat((x - 1.5, x + 1.5), depth, shade(asphalt, 0.8), Id.RAIL_TRACK)
        for rail in (-0.72, 0.72):
            canvas.flat((x + rail - 0.08, x + rail + 0.08), depth, (168, 166, 164), Id.RAIL_TRACK)
    canvas.fade_ground()


def _screen(canvas: Canvas, top: float) -> Points:
    return np.array(
        [(0, top), (canvas.width, top), (canvas.width, canvas.height), (0, canvas.height)], np.float64
    )


def _strip(canvas: Canvas, a: float, b: float, z: tuple[float, float], color: RGB, ident: int) -> None:
    canvas.flat((min(a, b), max(a, b)), z, color, ident)


def _pavers(canvas: Canvas, street: Street, side: int, paved: RGB) -> None:
    near, far = street.curb(side, street.verge + 0.22), street.frontage(side)
    z = np.arange(3.0, 28.0, 1.5)
    _dashes(canvas, np.full(z.shape, min(near, far)), z, abs(far - near), 0.09, shade(paved, 0.84), None)


def _dashes(
    canvas: Canvas,
    x: NDArray[np.float64],
    z: NDArray[np.float64],
    width: float,
    length: float,
    color: Color,
    ident: int | None,
) -> None:
    """Rectangles on the ground whose near left corners are at (x, z)."""
    corners = ((0.0, 0.0), (width, 0.0), (width, length), (0.0, length))
    quads = [np.stack([x + dx, np.zeros(x.shape), z + dz], axis=1) for dx, dz in corners]
    canvas.fill(canvas.project(np.stack(quads, axis=1)), color, ident)


def _draw_parking(canvas: Canvas, rng: np.random.Generator, street: Street, asphalt: RGB) -> None:
    if street.parking[1] and rng.random() < 0.25:
        depths = (float(rng.uniform(6, 14)), float(rng.uniform(25, 50)))
        canvas.flat((street.right - 2.2, street.right), depths, shade(asphalt, 1.18), Id.PARKING)


def _draw_marks(canvas: Canvas, rng: np.random.Generator, look: Look, street: Street) -> None:
    white = pick(rng, look.palette["mark"][:1])
    center = pick(rng, look.palette["mark"])
    starts = np.arange(float(rng.uniform(1.3, 7.0)), 75.0, 6.0)
    for number in range(1, len(street.lanes)):
        x = (street.lanes[number - 1] + street.lanes[number]) / 2
        if number == street.oncoming and rng.random() < 0.5:
            for offset in (-0.14, 0.14):
                canvas.flat((x + offset - 0.07, x + offset + 0.07), (NEAR, 90), center, Id.LANE_MARK)
            continue
        _dashes(canvas, np.full(starts.shape, x - 0.09), starts, 0.18, 2.6, white, Id.LANE_MARK)
    for x in (street.lanes[0] - LANE / 2, street.lanes[-1] + LANE / 2):
        canvas.flat((x - 0.07, x + 0.07), (NEAR, 90), white, Id.LANE_MARK)
    if rng.random() < 0.35:
        across = np.arange(street.lanes[0] - LANE / 2 + 0.3, street.lanes[-1] + LANE / 2 - 0.4, 1.1)
        z = np.full(across.shape, rng.uniform(7, 18))
        _dashes(canvas, across, z, 0.55, 3.0, white, Id.LANE_MARK)
