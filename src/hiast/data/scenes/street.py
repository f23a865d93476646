"""The street itself: sky, ground and what borders it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hiast.data.scenes.canvas import Canvas, shade
from hiast.data.scenes.furniture import draw_bush, draw_foliage, draw_tree
from hiast.data.scenes.ids import Id
from hiast.data.scenes.look import RGB, Look, pick

NEAR, FAR = 1.2, 120.0
LANE = 3.3


@dataclass(frozen=True)
class Street:
    """Cross-section of the street in metres; x = 0 is the middle of the own lane.

    Attributes:
        left: Left edge of the road.
        right: Right edge of the road.
        lanes: Middles of the lanes, from left to right.
        oncoming: How many of them, from the left, carry traffic towards the camera.
        verge: Width of the grass strips, 0 for none.
        sidewalk: Width of the sidewalks.
        tracks: Middle of the tram's tracks, if there are any.
    """

    left: float
    right: float
    lanes: tuple[float, ...]
    oncoming: int
    verge: float
    sidewalk: float
    tracks: float | None

    def kerb(self, side: int, offset: float = 0.0) -> float:
        """X of the road's edge on one side (-1, 1), moved outwards."""
        return (self.left if side < 0 else self.right) + side * offset

    def frontage(self, side: int) -> float:
        """X at which buildings begin."""
        return self.kerb(side, self.verge + self.sidewalk)


def plan_street(rng: np.random.Generator, look: Look, tram: bool) -> Street:
    """Draw a cross-section: lanes, parking strips of 2.3 m, verges, sidewalks."""
    layout = look.layout
    ours = int(rng.integers(layout.lanes[0], layout.lanes[1] + 1))
    oncoming = int(rng.integers(1, layout.lanes[1] + 1))
    own = int(rng.integers(ours))
    lanes = tuple(float((i - oncoming - own) * LANE) for i in range(oncoming + ours))
    verge = rng.uniform(1.2, 2.6) if rng.random() < layout.verge and "terrain" not in layout.absent else 0.0
    left, right = lanes[0] - LANE / 2 - 2.3, lanes[-1] + LANE / 2 + 2.3
    tracks = left - 1.6 if tram else None
    return Street(
        left - (3.2 if tram else 0.0),
        right,
        lanes,
        oncoming,
        float(verge),
        float(rng.uniform(*layout.sidewalk)),
        tracks,
    )


def draw_sky(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    """A gradient from zenith to skyline with soft clouds."""
    rows = max(2, int(np.ceil(canvas.view.horizon * canvas.height)) + 2)
    top, low = (np.asarray(pick(rng, look.palette[key]), np.float32) for key in ("zenith", "skyline"))
    blend = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.broadcast_to(top + (low - top) * blend, (rows, canvas.width, 3))
    size = (canvas.width, rows)
    layers = [
        cv2.resize(rng.normal(0, 1, cells).astype(np.float32), size, interpolation=cv2.INTER_CUBIC) * weight
        for cells, weight in (((4, 6), 0.5), ((8, 14), 0.3), ((18, 40), 0.15))
    ]
    cover = np.clip((sum(layers) + look.clouds - 0.45) * 1.6, 0, 0.85)[..., None]
    cloud = np.asarray(pick(rng, look.palette["cloud"]), np.float32)
    canvas.image[:rows] = np.clip(sky + (cloud - sky) * cover, 0, 255).astype(np.uint8)
    canvas.ids[:rows] = Id.SKY


def draw_ground(canvas: Canvas, rng: np.random.Generator, look: Look, street: Street) -> None:
    """Terrain, sidewalks, verges, road, lane marks and tracks."""
    palette = look.palette
    paved, asphalt = pick(rng, palette["sidewalk"]), pick(rng, palette["road"])
    bare = "terrain" in look.layout.absent
    ground, ident = (paved, Id.SIDEWALK) if bare else (pick(rng, palette["terrain"]), Id.TERRAIN)
    horizon = canvas.view.horizon * canvas.height
    canvas.fill(_screen(canvas, horizon), canvas.faded(ground, 80.0), ident)
    canvas.flat((-90, 90), (NEAR, FAR), ground, ident)
    depth = (NEAR, FAR)
    for side in (-1, 1):
        _strip(canvas, street.kerb(side), street.frontage(side), depth, paved, Id.SIDEWALK)
        _pavers(canvas, street, side, paved)
        if street.verge:
            _strip(canvas, street.kerb(side), street.kerb(side, street.verge), depth, ground, ident)
    canvas.flat((street.left, street.right), depth, asphalt, Id.ROAD)
    for side in (-1, 1):
        _strip(
            canvas, street.kerb(side), street.kerb(side, 0.22), depth, pick(rng, palette["kerb"]), Id.SIDEWALK
        )
    _draw_parking(canvas, rng, street, asphalt)
    _draw_marks(canvas, rng, look, street)
    if street.tracks is not None:
        x = street.tracks
        canvas.flat((x - 1.5, x + 1.5), depth, shade(asphalt, 0.8), Id.RAIL_TRACK)
        for rail in (-0.72, 0.72):
            canvas.flat((x + rail - 0.08, x + rail + 0.08), depth, (168, 166, 164), Id.RAIL_TRACK)


def _screen(canvas: Canvas, top: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(
        [(0, top), (canvas.width, top), (canvas.width, canvas.height), (0, canvas.height)], np.float64
    )


def _strip(canvas: Canvas, a: float, b: float, z: tuple[float, float], colour: RGB, ident: int) -> None:
    canvas.flat((min(a, b), max(a, b)), z, colour, ident)


def _pavers(canvas: Canvas, street: Street, side: int, paved: RGB) -> None:
    near, far = street.kerb(side, street.verge + 0.22), street.frontage(side)
    for z in np.arange(3.0, 28.0, 1.5):
        canvas.solid([(near, 0, z), (far, 0, z), (far, 0, z + 0.09), (near, 0, z + 0.09)], shade(paved, 0.84))


def _draw_parking(canvas: Canvas, rng: np.random.Generator, street: Street, asphalt: RGB) -> None:
    if rng.random() < 0.35:
        depths = (float(rng.uniform(6, 14)), float(rng.uniform(25, 50)))
        canvas.flat((street.right - 2.2, street.right), depths, shade(asphalt, 1.18), Id.PARKING)


def _draw_marks(canvas: Canvas, rng: np.random.Generator, look: Look, street: Street) -> None:
    white = pick(rng, look.palette["mark"][:1])
    centre = pick(rng, look.palette["mark"])
    starts = np.arange(float(rng.uniform(1.3, 7.0)), 75.0, 6.0)
    for number in range(1, len(street.lanes)):
        x = (street.lanes[number - 1] + street.lanes[number]) / 2
        if number == street.oncoming and rng.random() < 0.5:
            for offset in (-0.14, 0.14):
                canvas.flat((x + offset - 0.07, x + offset + 0.07), (NEAR, 90), centre, Id.LANE_MARK)
            continue
        for z in starts:
            canvas.flat((x - 0.09, x + 0.09), (z, z + 2.6), white, Id.LANE_MARK)
    for x in (street.lanes[0] - LANE / 2, street.lanes[-1] + LANE / 2):
        canvas.flat((x - 0.07, x + 0.07), (NEAR, 90), white, Id.LANE_MARK)
    if rng.random() < 0.35:
        z = float(rng.uniform(7, 18))
        for x in np.arange(street.lanes[0] - LANE / 2 + 0.3, street.lanes[-1] + LANE / 2 - 0.4, 1.1):
            canvas.flat((x, x + 0.55), (z, z + 3.0), white, Id.LANE_MARK)


def draw_backdrop(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    """What closes the view at the end of the street."""
    x = -120.0
    while x < 120:
        wide, tall = rng.uniform(10, 26), rng.uniform(5, 20)
        if rng.random() < 0.55:
            draw_foliage(canvas, rng, look, (x + wide / 2, tall * 0.2, FAR), max(wide * 0.6, tall * 0.5))
        else:
            canvas.front(
                (x, x + wide), (0, tall), FAR, shade(pick(rng, look.palette["building"]), 0.85), Id.BUILDING
            )
        x += wide * rng.uniform(0.6, 0.95)


def draw_roadside(canvas: Canvas, rng: np.random.Generator, look: Look, street: Street) -> None:
    """Buildings, walls, fences and parks on both sides, from far to near."""
    kinds = list(look.layout.roadside)
    shares = np.array([look.layout.roadside[kind] for kind in kinds])
    painters = {"building": _draw_building, "wall": _draw_wall, "fence": _draw_fence, "park": _draw_park}
    for side in (-1, 1):
        near, plots = NEAR, []
        while near < FAR - 10:
            far = min(near + float(rng.uniform(9, 24)), FAR)
            plots.append((kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))], near, far))
            near = far
        for kind, near, far in reversed(plots):
            painters[kind](canvas, rng, look, side, street.frontage(side), (near, far))


def _draw_building(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    storeys, storey = (
        int(rng.integers(look.layout.storeys[0], look.layout.storeys[1] + 1)),
        rng.uniform(2.9, 3.5),
    )
    tall, colour = storeys * storey + 1.2, pick(rng, look.palette["building"])
    outer = x + side * 14.0
    canvas.box((min(x, outer), max(x, outer)), (0, tall), z, colour, Id.BUILDING)
    lit = canvas.lit(-side)
    canvas.side(x, (tall - 0.5, tall), z, shade(pick(rng, look.palette["roof"]), lit))
    glass = [pick(rng, look.palette["window"]) for _ in range(2)]
    _draw_windows(canvas, rng, x, z, storeys, storey, [shade(pane, lit) for pane in glass])
    if rng.random() < 0.6:
        shop = pick(rng, look.palette["shop"])
        canvas.side(x, (2.7, 3.3), (z[0] + 0.4, z[1] - 0.4), shade(shop, lit))
        canvas.side(x, (0.5, 2.6), (z[0] + 0.8, z[1] - 0.8), shade(glass[0], 0.8 * lit))
    if rng.random() < 0.5:
        canvas.side(x, (3.35, 3.6), z, shade(colour, 0.8 * lit))
    columns = np.arange(min(x, outer) + 1.5, max(x, outer) - 1.5, 3.0)
    panes = [
        [(c, y, z[0]), (c + 1.2, y, z[0]), (c + 1.2, y + 1.5, z[0]), (c, y + 1.5, z[0])]
        for c in columns for y in np.arange(1.2, tall - 2.0, storey)
    ]  # fmt: skip
    canvas.solid(panes, shade(glass[1], canvas.lit(0)))


def _draw_windows(
    canvas: Canvas,
    rng: np.random.Generator,
    x: float,
    z: tuple[float, float],
    storeys: int,
    storey: float,
    panes: list[tuple[float, float, float]],
) -> None:
    spacing, wide, tall = rng.uniform(2.2, 3.4), rng.uniform(0.45, 0.72), rng.uniform(0.45, 0.65)
    columns = np.arange(z[0] + 0.8, z[1] - spacing, spacing)
    rows = np.arange(1, storeys) * storey + 1.1
    if not len(columns) or not len(rows):
        return
    near, low = (grid.ravel() for grid in np.meshgrid(columns, rows))
    far, high, flat = near + spacing * wide, low + storey * tall, np.full(near.shape, x)
    corners = [(flat, low, near), (flat, low, far), (flat, high, far), (flat, high, near)]
    quads = np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
    which = rng.random(len(quads)) < 0.3
    for group, pane in zip((quads[~which], quads[which]), panes, strict=True):
        canvas.solid(group, pane)


def _draw_wall(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    _draw_garden(canvas, rng, look, side, x, z)
    tall, colour = float(rng.uniform(1.9, 3.2)), pick(rng, look.palette["wall"])
    outer = x + side * 0.4
    canvas.box((min(x, outer), max(x, outer)), (0, tall), z, colour, Id.WALL)
    lit = canvas.lit(-side)
    for y in np.arange(0.35, tall - 0.1, 0.35):
        canvas.side(x, (y, y + 0.05), z, shade(colour, 0.78 * lit))
    canvas.side(x, (tall - 0.12, tall + 0.08), z, shade(colour, 1.22 * lit), Id.WALL)


def _draw_fence(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    _draw_garden(canvas, rng, look, side, x, z)
    tall, colour = float(rng.uniform(1.3, 2.0)), shade(pick(rng, look.palette["fence"]), canvas.lit(-side))
    canvas.side(x, (0, tall), z, None, Id.FENCE)
    bars = np.arange(z[0], z[1], 0.42)
    canvas.solid([[(x, 0, b), (x, 0, b + 0.16), (x, tall, b + 0.16), (x, tall, b)] for b in bars], colour)
    for y in (0.12, tall - 0.2):
        canvas.side(x, (y, y + 0.16), z, colour)


def _draw_garden(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    """What is seen above a wall or through a fence."""
    if rng.random() < 0.4:
        _draw_building(canvas, rng, look, side, x + side * 6.0, z)
    for depth in np.linspace(z[1] - 1.0, z[0] + 2.0, 3):
        draw_tree(canvas, rng, look, x + side * float(rng.uniform(2.0, 4.5)), float(depth))


def _draw_park(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    outer = x + side * 40.0
    if "terrain" not in look.layout.absent:
        _strip(canvas, x, outer, z, pick(rng, look.palette["terrain"]), Id.TERRAIN)
    for depth in np.linspace(z[1], z[0] + 1.0, 6):
        draw_foliage(
            canvas,
            rng,
            look,
            (x + side * float(rng.uniform(16, 24)), 2.0, float(depth)),
            float(rng.uniform(2.5, 4.5)),
        )
    for depth in np.linspace(z[1] - 1, z[0] + 2, 3):
        paint = draw_tree if rng.random() < 0.6 else draw_bush
        paint(canvas, rng, look, x + side * float(rng.uniform(2.0, 10.0)), float(depth))
