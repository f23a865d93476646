"""Things that stand along the street: trees, poles, lights, signs and litter bins."""

from __future__ import annotations

import numpy as np

from hiast.scenes.canvas import Canvas, shade
from hiast.scenes.ids import Id
from hiast.scenes.look import Look, pick


def draw_foliage(
    canvas: Canvas, rng: np.random.Generator, look: Look, center: tuple[float, float, float], radius: float
) -> None:
    """A ragged mass of leaves: darker blobs below, lighter ones towards the sun."""
    x, y, z = center
    base = pick(rng, look.palette["vegetation"])
    blobs = [(0.0, 0.0, 1.0, 0.8)]
    # At a distance, two blobs look like four.
    for tone in (0.82, 0.95, 1.08, 1.2) if z < 40 else (0.85, 1.15):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.55)
        towards_light = (tone - 0.95) * 1.2
        blobs.append(
            (
                offset * np.cos(angle) + canvas.view.sun * towards_light,
                offset * np.sin(angle) + towards_light,
                0.58,
                tone,
            )
        )
    for dx, dy, size, tone in blobs:
        place, radii = (x + dx * radius, y + dy * radius, z), (size * radius, size * radius * 0.9)
        canvas.oval(place, radii, shade(base, tone), Id.VEGETATION, rng.uniform(0.8, 1.15, 16))


def draw_tree(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A tree; its trunk counts as vegetation, as in Cityscapes."""
    crown, trunk = rng.uniform(1.3, 2.1), rng.uniform(1.8, 2.8)
    canvas.stroke(
        (x, 0),
        (x + rng.uniform(-0.2, 0.2), trunk + crown),
        z,
        0.3,
        pick(rng, look.palette["trunk"]),
        Id.VEGETATION,
        1,
    )
    draw_foliage(canvas, rng, look, (x, trunk + crown * 0.8, z), crown)


def draw_bush(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A bush that touches the ground."""
    radius = rng.uniform(0.6, 1.2)
    draw_foliage(canvas, rng, look, (x, radius * 0.8, z), radius)


def draw_lamp(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A street lamp with an arm over the road."""
    color, tall, arm = (
        pick(rng, look.palette["pole"]),
        rng.uniform(5.5, 8.0),
        -np.sign(x) * rng.uniform(0.8, 1.8),
    )
    canvas.stroke((x, 0), (x, tall), z, 0.2, color, Id.POLE, least=1.2)
    canvas.stroke((x, tall), (x + arm, tall + 0.25), z, 0.12, color, Id.POLE, least=0.8)
    canvas.oval((x + arm, tall + 0.2, z), (0.4, 0.14), shade(color, 1.5), Id.POLE)


def draw_light(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A traffic light on a pole, sometimes with a second one hanging over the road."""
    pole, housing = pick(rng, look.palette["pole"]), pick(rng, look.palette["housing"])
    lit = int(rng.choice(3, p=(0.45, 0.1, 0.45)))
    heads = [(x, 2.9)]
    canvas.stroke((x, 0), (x, 3.0), z, 0.16, pole, Id.POLE, least=1)
    if rng.random() < 0.4:
        reach = -np.sign(x) * rng.uniform(1.8, 3.0)
        canvas.stroke((x, 2.9), (x, 5.4), z, 0.16, pole, Id.POLE, least=1)
        canvas.stroke((x, 5.4), (x + reach, 5.5), z, 0.14, pole, Id.POLE, least=0.8)
        heads.append((x + reach, 5.2))
    for column, row in heads:
        canvas.front((column - 0.3, column + 0.3), (row - 0.8, row + 0.8), z, housing, Id.LIGHT)
        for lamp, color in enumerate(((255, 44, 36), (255, 190, 30), (40, 235, 110))):
            glow = color if lamp == lit else shade(color, 0.22)
            canvas.oval((column, row + 0.5 - 0.5 * lamp, z), (0.21, 0.21), glow)


def draw_sign(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A traffic sign: blue or prohibitory disc, warning triangle, priority diamond or a blue board."""
    y, r = rng.uniform(2.3, 2.9), rng.uniform(0.45, 0.6)
    blue, red = pick(rng, look.palette["sign_blue"]), pick(rng, look.palette["sign_red"])
    yellow, white = pick(rng, look.palette["sign_yellow"]), (246, 246, 244)
    canvas.stroke((x, 0), (x, y), z, 0.12, pick(rng, look.palette["pole"]), Id.POLE, least=1)
    kind = int(rng.integers(5))
    if kind == 0:
        canvas.oval((x, y, z), (r, r), red, Id.SIGN)
        canvas.oval((x, y, z), (r * 0.66, r * 0.66), white)
    elif kind == 1:
        canvas.oval((x, y, z), (r, r), blue, Id.SIGN)
        canvas.stroke((x, y - r * 0.5), (x, y + r * 0.5), z, r * 0.3, white)
    elif kind in (2, 3):
        edge, inner, turn = ((red, white, 3), (white, yellow, 4))[kind - 2]
        angles = np.pi / 2 + np.arange(turn) * 2 * np.pi / turn
        for size, color, ident in ((1.2, edge, Id.SIGN), (0.75, inner, None)):
            ring = [(x + r * size * np.cos(a), y + r * size * np.sin(a), z) for a in angles]
            canvas.solid(ring, color, ident)
    else:
        canvas.front((x - r * 1.5, x + r * 1.5), (y - r * 0.7, y + r * 0.9), z, blue, Id.SIGN)
        for row in (-0.25, 0.3):
            canvas.front((x - r * 1.1, x + r * 0.9), (y + r * (row - 0.06), y + r * (row + 0.12)), z, white)


def draw_litter(canvas: Canvas, rng: np.random.Generator, look: Look, x: float, z: float) -> None:
    """A litter bin (dynamic) or a planter (static): things that Cityscapes does not evaluate."""
    color = pick(rng, look.palette["bin"])
    if rng.random() < 0.5:
        canvas.front((x - 0.28, x + 0.28), (0, 1.0), z, color, Id.DYNAMIC)
        canvas.front((x - 0.32, x + 0.32), (0.9, 1.05), z, shade(color, 1.4), Id.DYNAMIC)
    else:
        canvas.front((x - 0.5, x + 0.5), (0, 0.5), z, shade(color, 1.5), Id.STATIC)
        draw_foliage(canvas, rng, look, (x, 0.75, z), 0.4)
