"""Cars, trucks, buses and trains."""

from __future__ import annotations

import itertools

import numpy as np

from hiast.scenes.canvas import Canvas, Color, shade
from hiast.scenes.ids import Id
from hiast.scenes.look import Look, pick

_TIRE = (24, 24, 26)


def _shadow(canvas: Canvas, look: Look, x: float, z: float, width: float, length: float) -> None:
    dark = shade(pick(np.random.default_rng(0), look.palette["road"]), 1 - 0.65 * look.shadow)
    half = width / 2 + 0.15
    canvas.flat((x - half, x + half), (z - 0.15, z + length), canvas.faded(dark, z), None)


def _inner(x: float, half: float) -> float | None:
    """Where the side that faces the camera lies; None when only the near face is seen."""
    return x - half if x - half > 0 else x + half if x + half < 0 else None


def _wheels(canvas: Canvas, x: float | None, places: list[float], radius: float, ident: int) -> None:
    if x is not None:
        for z in sorted(places, reverse=True):
            canvas.wheel(x, radius, z, radius, _TIRE, ident)
            canvas.wheel(x, radius, z, radius * 0.5, (135, 135, 140), ident)


def _panes(
    canvas: Canvas,
    x: float | None,
    y: tuple[float, float],
    z: tuple[float, float],
    count: int,
    color: Color,
) -> None:
    """A row of side windows."""
    if x is None:
        return
    edges = np.linspace(z[0], z[1], count + 1)
    gap = (edges[1] - edges[0]) * 0.08
    quads = [
        [(x, y[0], a + gap), (x, y[0], b - gap), (x, y[1], b - gap), (x, y[1], a + gap)]
        for a, b in itertools.pairwise(edges)
    ]
    canvas.solid(np.array(quads), color)


def _lamps(
    canvas: Canvas, x: float, z: float, half: float, y: float, away: bool, radius: float = 0.13
) -> None:
    color = (205, 22, 24) if away else (255, 246, 214)
    for lamp in (-half + 0.22, half - 0.22):
        canvas.oval((x + lamp, y, z), (radius * 1.3, radius), color)


def draw_car(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float, away: bool) -> None:
    """A car whose near end is at depth z; ``away``: it drives away from the camera."""
    paint, glass = pick(rng, look.palette["car"]), pick(rng, look.palette["glass"])
    length, half, tall = rng.uniform(3.8, 4.8), rng.uniform(0.86, 0.96), rng.uniform(1.42, 1.75)
    waist = tall * 0.58
    _shadow(canvas, look, x, z, 2 * half, length)
    canvas.box((x - half, x + half), (0.25, waist), (z, z + length), paint, Id.CAR)
    for tire in (-half + 0.14, half - 0.14):
        canvas.front((x + tire - 0.13, x + tire + 0.13), (0.0, 0.3), z + 0.05, _TIRE, Id.CAR)
    side = _inner(x, half)
    _wheels(canvas, side, [z + 0.8, z + length - 0.85], 0.33, Id.CAR)
    _cabin(canvas, x, (waist, tall), (z, length), half, away, paint, glass)
    _lamps(canvas, x, z, half, waist * 0.82, away)
    canvas.front((x - half * 0.4, x + half * 0.4), (0.42, 0.56), z, (225, 225, 215) if away else (30, 30, 32))
    canvas.front((x - half, x + half), (0.24, 0.36), z, shade(paint, 0.55))


def _cabin(
    canvas: Canvas,
    x: float,
    y: tuple[float, float],
    along: tuple[float, float],
    half: float,
    away: bool,
    paint: Color,
    glass: Color,
) -> None:
    z, length = along
    near_low, near_top = (z + 0.15, z + 0.6) if away else (z + 1.0, z + 1.75)
    far_top, far_low = (z + length - 1.9, z + length - 1.1) if away else (z + length - 0.8, z + length - 0.3)
    low, top, narrow = y[0], y[1], half * 0.8
    roof = [
        (x - narrow, top, near_top),
        (x + narrow, top, near_top),
        (x + narrow, top, far_top),
        (x - narrow, top, far_top),
    ]
    canvas.solid(roof, shade(paint, 1.12), Id.CAR)
    sign = 1 if x > 0 else -1
    if abs(x) > half:
        outer, inner = x - sign * half, x - sign * narrow
        panel = [(outer, low, near_low), (outer, low, far_low), (inner, top, far_top), (inner, top, near_top)]
        canvas.solid(panel, shade(paint, canvas.lit(-sign)), Id.CAR)
        rise, run = (top - low) * 0.15, 0.12
        pane = [
            (outer, low + rise, near_low + run * 2), (outer, low + rise, far_low - run * 2),
            (inner, top - rise, far_top - run), (inner, top - rise, near_top + run),
        ]  # fmt: skip
        canvas.solid(pane, shade(glass, 0.85))
    screen = np.array([
        (x - half, low, near_low), (x + half, low, near_low), (x + narrow, top, near_top), (x - narrow, top, near_top)
    ])  # fmt: skip
    canvas.solid(screen, shade(paint, canvas.lit(0)), Id.CAR)
    canvas.solid(screen.mean(axis=0) + (screen - screen.mean(axis=0)) * (0.86, 0.78, 1.0), glass)


def draw_truck(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float, away: bool) -> None:
    """A truck with a plain cargo box and a lower cab."""
    cab, cargo = pick(rng, look.palette["truck"]), pick(rng, look.palette["cargo"])
    glass = pick(rng, look.palette["glass"])
    length, half, tall = rng.uniform(6.5, 9.5), 1.2, rng.uniform(3.1, 3.7)
    _shadow(canvas, look, x, z, 2 * half, length)
    side = _inner(x, half)
    cabin = (z + length - 2.0, z + length) if away else (z, z + 2.0)
    load = (z, z + length - 2.1) if away else (z + 2.1, z + length)
    for part in ("cab", "load") if away else ("load", "cab"):
        along = cabin if part == "cab" else load
        canvas.box((x - half * 0.95, x + half * 0.95), (0.45, 0.95), along, (52, 52, 56), Id.TRUCK)
        if part == "load":
            canvas.box((x - half, x + half), (0.95, tall), along, cargo, Id.TRUCK)
            _panes(canvas, side, (0.98, 1.12), along, 1, shade(cab, 0.8))
        else:
            canvas.box((x - half * 0.92, x + half * 0.92), (0.5, 2.55), along, cab, Id.TRUCK)
            _panes(canvas, _inner(x, half * 0.92), (1.6, 2.3), (along[0] + 0.3, along[1] - 0.5), 1, glass)
    _wheels(canvas, side, [z + 1.0, z + 2.1, z + length - 1.1], 0.5, Id.TRUCK)
    for tire in (-half + 0.25, half - 0.25):
        canvas.front((x + tire - 0.2, x + tire + 0.2), (0.0, 0.55), z, _TIRE, Id.TRUCK)
    _lamps(canvas, x, z, half, 0.8, away, 0.14)
    if away:
        canvas.front((x - 0.04, x + 0.04), (1.0, tall), z, shade(cargo, 0.6))
        canvas.front((x - half, x + half), (0.95, 1.06), z, (190, 40, 35))
    else:
        canvas.front((x - half * 0.8, x + half * 0.8), (1.5, 2.35), z, glass)
        canvas.front((x - half * 0.6, x + half * 0.6), (0.75, 1.2), z, (40, 40, 44))


def draw_bus(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float, away: bool) -> None:
    """A city bus with a band of windows and a destination board."""
    paint, glass = pick(rng, look.palette["bus"]), pick(rng, look.palette["glass"])
    length, half, tall = rng.uniform(9.5, 12.5), 1.25, 3.1
    _shadow(canvas, look, x, z, 2 * half, length)
    canvas.box((x - half, x + half), (0.3, tall), (z, z + length), paint, Id.BUS)
    side = _inner(x, half)
    _panes(canvas, side, (1.35, 2.5), (z + 0.3, z + length - 0.3), 6, glass)
    _panes(canvas, side, (2.75, 2.9), (z + 0.1, z + length - 0.1), 1, (245, 245, 240))
    _panes(canvas, side, (0.5, 2.45), (z + 1.2, z + 2.5), 2, shade(glass, 1.2))
    _wheels(canvas, side, [z + 2.9, z + length - 2.2], 0.48, Id.BUS)
    canvas.front((x - half * 0.9, x + half * 0.9), (1.3, 2.4), z, glass)
    canvas.front((x - half * 0.7, x + half * 0.7), (2.55, 2.92), z, (25, 25, 25))
    canvas.front((x - half * 0.55, x + half * 0.55), (2.66, 2.82), z, (255, 170, 30))
    canvas.front((x - half, x + half), (0.3, 0.5), z, (45, 45, 48))
    _lamps(canvas, x, z, half, 0.85, away, 0.15)


def draw_train(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float, away: bool) -> None:
    """A tram of two or three cars with a rounded front, a colored skirt and a pantograph."""
    paint, glass = pick(rng, look.palette["train"]), pick(rng, look.palette["glass"])
    trim, half, tall, length = (238, 236, 228), 1.3, 3.5, 9.0
    for position in reversed(range(int(rng.integers(2, 4)))):
        start = z + position * (length + 0.5)
        along = (start, start + length)
        canvas.box(
            (x - half * 0.85, x + half * 0.85),
            (0.5, 3.1),
            (start + length, start + length + 0.5),
            (40, 40, 42),
            Id.TRAIN,
        )
        canvas.box((x - half, x + half), (0.15, tall), along, trim, Id.TRAIN)
        side = _inner(x, half)
        _panes(canvas, side, (0.2, 1.25), along, 1, shade(paint, 0.9))
        _panes(canvas, side, (1.4, 2.65), (start + 0.2, start + length - 0.2), 5, glass)
        _panes(canvas, side, (3.0, 3.4), along, 1, shade(paint, 0.9))
    canvas.stroke((x - 0.5, tall), (x + 0.3, tall + 0.9), z + 4, 0.08, (50, 50, 55), Id.TRAIN, least=0.7)
    canvas.stroke(
        (x + 0.3, tall + 0.9), (x - 0.3, tall + 1.1), z + 4, 0.08, (50, 50, 55), Id.TRAIN, least=0.7
    )
    canvas.front((x - half, x + half), (0.15, 1.25), z, paint)
    canvas.front((x - half, x + half), (3.0, tall), z, paint)
    canvas.oval((x, 2.05, z), (half * 0.86, 0.8), glass)
    canvas.front((x - half * 0.5, x + half * 0.5), (3.08, 3.36), z, (255, 200, 60))
    canvas.front((x - half * 0.8, x + half * 0.8), (0.15, 0.4), z, (45, 45, 48))
    _lamps(canvas, x, z, half * 0.9, 0.85, away, 0.15)
