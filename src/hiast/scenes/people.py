"""Persons, riders and two-wheelers."""

from __future__ import annotations

import itertools

import numpy as np

from hiast.scenes.canvas import Canvas, Color, shade
from hiast.scenes.ids import Id
from hiast.scenes.look import Look, pick

_TIRE = (28, 28, 30)
# A bicycle's frame: joints (along in half wheelbases, height in meters) and the tubes between them.
_JOINTS = {
    "rear": (-1.0, 0.36), "pedal": (-0.1, 0.34), "seat": (-0.35, 0.92), "head": (0.75, 0.9), "front": (1.0, 0.36),
}  # fmt: skip
_TUBES = (
    ("rear", "pedal"), ("pedal", "seat"), ("rear", "seat"), ("seat", "head"), ("pedal", "head"), ("head", "front"),
)  # fmt: skip


def draw_person(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A standing or walking person whose feet are at (x, z)."""
    tall = rng.uniform(1.55, 1.9)
    cloth, trousers = pick(rng, look.palette["cloth"]), pick(rng, look.palette["trousers"])
    skin, hair = pick(rng, look.palette["skin"]), pick(rng, look.palette["hair"])
    stride, wide = rng.uniform(-0.28, 0.28), rng.uniform(0.21, 0.29)
    y = tall * 0.48
    for step, tone in ((-stride, 0.8), (stride, 1.0)):
        canvas.stroke((x, y), (x + step, 0.0), z, 0.19, shade(trousers, tone), Id.PERSON, least=1)
    canvas.stroke(
        (x - wide, tall * 0.8), (x - wide - stride / 3, tall * 0.45), z, 0.12, shade(cloth, 0.8), Id.PERSON
    )
    canvas.stroke(
        (x + wide, tall * 0.8), (x + wide + stride / 3, tall * 0.45), z, 0.12, shade(cloth, 0.9), Id.PERSON
    )
    torso = [
        (x - 0.2, y - 0.04, z),
        (x + 0.2, y - 0.04, z),
        (x + wide, tall * 0.83, z),
        (x - wide, tall * 0.83, z),
    ]
    canvas.solid(torso, cloth, Id.PERSON)
    canvas.oval((x, tall * 0.93, z), (0.12, 0.15), hair, Id.PERSON)
    canvas.oval((x + np.sign(stride) * 0.02, tall * 0.915, z), (0.1, 0.12), skin, None)


def _spokes(canvas: Canvas, x: float, y: float, z: float, radius: float, squeeze: float) -> None:
    angles = np.arange(17) * 2 * np.pi / 16
    ring = np.stack([np.cos(angles) * squeeze, np.sin(angles)], axis=1)
    canvas.oval((x, y, z), (radius * squeeze, radius), None, Id.BICYCLE)
    for a, b in itertools.pairwise(ring):
        start, end = (x + a[0] * radius, y + a[1] * radius), (x + b[0] * radius, y + b[1] * radius)
        canvas.stroke(start, end, z, 0.07, _TIRE, Id.BICYCLE)


def draw_bicycle(
    canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float, squeeze: float, ridden: bool
) -> None:
    """A bicycle; ``squeeze`` in (0, 1] foreshortens it (1: seen from the side, negative: mirrored)."""
    paint = pick(rng, look.palette["frame"])
    radius, reach = 0.36, 0.55 * squeeze
    if ridden:
        draw_rider(canvas, rng, look, x, z, squeeze, seat=0.95, lean=0.25)
    for wheel in (-reach, reach):
        _spokes(canvas, x + wheel, radius, z, radius, max(abs(squeeze), 0.25))
    place = {name: (x + dx * reach, dy) for name, (dx, dy) in _JOINTS.items()}
    for start, end in _TUBES:
        canvas.stroke(place[start], place[end], z, 0.06, paint, Id.BICYCLE, least=0.8)
    seat, head = place["seat"], place["head"]
    canvas.stroke((seat[0] - 0.12, 0.97), (seat[0] + 0.12, 0.97), z, 0.07, _TIRE, Id.BICYCLE)
    canvas.stroke((head[0] - 0.18, 1.05), (head[0] + 0.12, 1.05), z, 0.06, _TIRE, Id.BICYCLE)
    if ridden:
        foot = (place["pedal"][0] + 0.15 * squeeze, 0.22)
        _leg(canvas, rng, look, (seat[0], 0.98), foot, squeeze, z)


def draw_motorcycle(
    canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float, squeeze: float, ridden: bool
) -> None:
    """A motorcycle; arguments as for a bicycle."""
    paint = pick(rng, look.palette["motorcycle"])
    reach, narrow = 0.72 * squeeze, max(abs(squeeze), 0.35)
    if ridden:
        draw_rider(canvas, rng, look, x - 0.1 * squeeze, z, squeeze, seat=0.85, lean=0.45)
    for wheel in (-reach, reach):
        canvas.oval((x + wheel, 0.34, z), (0.34 * narrow, 0.34), _TIRE, Id.MOTORCYCLE)
        canvas.oval((x + wheel, 0.34, z), (0.16 * narrow, 0.16), (150, 150, 155), None)
    canvas.oval((x, 0.45, z), (0.5 * narrow, 0.24), (70, 70, 75), Id.MOTORCYCLE)
    tank = [(-0.95, 0.82), (-0.2, 0.74), (0.25, 0.95), (0.6, 0.9), (0.55, 0.55), (-0.3, 0.5), (-0.8, 0.65)]
    canvas.solid([(x + dx * reach, dy, z) for dx, dy in tank], paint, Id.MOTORCYCLE)
    canvas.stroke((x - 0.9 * reach, 0.85), (x - 0.05 * reach, 0.79), z, 0.1, _TIRE, Id.MOTORCYCLE)
    canvas.stroke((x + 0.5 * reach, 1.08), (x + reach, 0.34), z, 0.09, (120, 120, 125), Id.MOTORCYCLE)
    canvas.oval((x + 0.72 * reach, 0.86, z), (0.1, 0.12), (250, 245, 215), Id.MOTORCYCLE)
    if ridden:
        _leg(canvas, rng, look, (x - 0.2 * reach, 0.86), (x - 0.05 * reach, 0.35), squeeze, z)


def _leg(
    canvas: Canvas,
    rng: np.random.Generator,
    look: Look,
    hip: tuple[float, float],
    foot: tuple[float, float],
    squeeze: float,
    z: float,
) -> None:
    color: Color = pick(rng, look.palette["trousers"])
    knee = ((hip[0] + foot[0]) / 2 + 0.28 * squeeze, (hip[1] + foot[1]) / 2 + 0.12)
    canvas.stroke(hip, knee, z, 0.19, color, Id.RIDER)
    canvas.stroke(knee, foot, z, 0.15, shade(color, 0.9), Id.RIDER)


def draw_rider(
    canvas: Canvas,
    rng: np.random.Generator,
    look: Look,
    x: float,
    z: float,
    squeeze: float,
    seat: float,
    lean: float,
) -> None:
    """The upper body of someone who rides, leaning forward by ``lean`` meters at the shoulders."""
    cloth, helmet = pick(rng, look.palette["rider"]), pick(rng, look.palette["helmet"])
    hip = x - 0.2 * squeeze
    shoulder, top = hip + lean * squeeze, seat + 0.58
    torso = [
        (hip - 0.17, seat - 0.05),
        (hip + 0.17, seat - 0.05),
        (shoulder + 0.22, top),
        (shoulder - 0.22, top),
    ]
    canvas.solid([(px, py, z) for px, py in torso], cloth, Id.RIDER)
    canvas.stroke((shoulder, top - 0.08), (x + 0.42 * squeeze, 1.08), z, 0.13, shade(cloth, 0.8), Id.RIDER)
    head = shoulder + 0.06 * squeeze
    canvas.oval((head, top + 0.16, z), (0.14, 0.18), helmet, Id.RIDER)
    canvas.oval((head + 0.05 * squeeze, top + 0.11, z), (0.09, 0.09), pick(rng, look.palette["skin"]), None)
