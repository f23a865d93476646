"""What borders the street and what closes the view: buildings, walls, fences and parks."""

from __future__ import annotations

import numpy as np

from hiast.scenes.canvas import Canvas, shade
from hiast.scenes.furniture import draw_bush, draw_foliage, draw_tree
from hiast.scenes.ids import Id
from hiast.scenes.look import Look, pick
from hiast.scenes.street import FAR, NEAR, Street


def draw_backdrop(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    """What closes the view at the end of the street."""
    hedge = pick(rng, look.palette["vegetation"])
    canvas.front((-150, 150), (0, 2.5), FAR, shade(hedge, 0.9), Id.VEGETATION)
    x = -120.0
    while x < 120:
        wide, tall = rng.uniform(10, 26), rng.uniform(5, 20)
        if rng.random() < 0.55:
            draw_foliage(canvas, rng, look, (x + wide / 2, tall * 0.62, FAR), tall * 0.5)
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
            column = canvas.column(street.frontage(side), far)
            if not 0 <= column <= canvas.width:
                # All of it lies beside the picture.
                continue
            painters[kind](canvas, rng, look, side, street.frontage(side), (near, far))


def _draw_building(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    storeys, storey = (
        int(rng.integers(look.layout.storeys[0], look.layout.storeys[1] + 1)),
        rng.uniform(2.9, 3.5),
    )
    tall, color = storeys * storey + 1.2, pick(rng, look.palette["building"])
    outer = x + side * 14.0
    canvas.box((min(x, outer), max(x, outer)), (0, tall), z, color, Id.BUILDING)
    lit = canvas.lit(-side)
    canvas.side(x, (tall - 0.5, tall), z, shade(pick(rng, look.palette["roof"]), lit))
    glass = [pick(rng, look.palette["window"]) for _ in range(2)]
    _draw_windows(canvas, rng, x, z, storeys, storey, [shade(pane, lit) for pane in glass])
    if rng.random() < 0.6:
        shop = pick(rng, look.palette["shop"])
        canvas.side(x, (2.7, 3.3), (z[0] + 0.4, z[1] - 0.4), shade(shop, lit))
        canvas.side(x, (0.5, 2.6), (z[0] + 0.8, z[1] - 0.8), shade(glass[0], 0.8 * lit))
    if rng.random() < 0.5:
        canvas.side(x, (3.35, 3.6), z, shade(color, 0.8 * lit))
    columns = np.arange(min(x, outer) + 1.5, max(x, outer) - 1.5, 3.0)
    panes = [
        [(c, y, z[0]), (c + 1.2, y, z[0]), (c + 1.2, y + 1.5, z[0]), (c, y + 1.5, z[0])]
        for c in columns for y in np.arange(1.2, tall - 2.0, storey)
    ]  # fmt: skip
    if panes:
        canvas.solid(np.array(panes), shade(glass[1], canvas.lit(0)))


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
        if len(group):
            canvas.solid(group, pane)


def _draw_wall(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    _draw_garden(canvas, rng, look, side, x, z)
    tall, color = float(rng.uniform(1.9, 3.2)), pick(rng, look.palette["wall"])
    outer = x + side * 0.4
    canvas.box((min(x, outer), max(x, outer)), (0, tall), z, color, Id.WALL)
    lit = canvas.lit(-side)
    for y in np.arange(0.35, tall - 0.1, 0.35):
        canvas.side(x, (y, y + 0.05), z, shade(color, 0.78 * lit))
    canvas.side(x, (tall - 0.12, tall + 0.08), z, shade(color, 1.22 * lit), Id.WALL)


def _draw_fence(
    canvas: Canvas, rng: np.random.Generator, look: Look, side: int, x: float, z: tuple[float, float]
) -> None:
    _draw_garden(canvas, rng, look, side, x, z)
    tall, color = float(rng.uniform(1.3, 2.0)), shade(pick(rng, look.palette["fence"]), canvas.lit(-side))
    canvas.side(x, (0, tall), z, None, Id.FENCE)
    bars = np.arange(z[0], z[1], 0.42)
    quads = [[(x, 0, b), (x, 0, b + 0.16), (x, tall, b + 0.16), (x, tall, b)] for b in bars]
    canvas.solid(np.array(quads), color)
    for y in (0.12, tall - 0.2):
        canvas.side(x, (y, y + 0.16), z, color)


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
        lawn = canvas.faded(pick(rng, look.palette["terrain"]), (z[0] * z[1]) ** 0.5)
        canvas.flat((min(x, outer), max(x, outer)), z, lawn, Id.TERRAIN)
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
