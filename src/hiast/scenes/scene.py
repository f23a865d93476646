"""One scene: the cast is drawn by lot, placed on the street and painted from the back to the front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.classes import CITYSCAPES_IDS, lookup_table
from hiast.scenes import furniture, people, vehicles
from hiast.scenes.camera import add_texture, photograph
from hiast.scenes.canvas import Canvas, View
from hiast.scenes.ids import Id
from hiast.scenes.look import GAME, Look, pick
from hiast.scenes.roadside import draw_backdrop, draw_roadside
from hiast.scenes.street import LANE, PARKING_STRIP, Street, draw_ground, draw_sky, plan_street

Seed = int | Sequence[int]

_TO_CLASS = lookup_table({**CITYSCAPES_IDS, int(Id.LANE_MARK): 0}, 256)


class _Placed(NamedTuple):
    """Something on the street.

    Bands along the street are painted from the outside in, each from far to near: between the camera and a
    thing there is nothing but nearer things of its own band and bands closer to the middle.
    """

    band: float
    z: float
    draw: Callable[[], None]


def draw_scene(
    seed: Seed, size: tuple[int, int] = (128, 256), look: Look = GAME
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a driving scene.

    Args:
        seed: All that is random about it: the same seed gives the same street at any size.
        size: Height and width in pixels.
        look: Its look.

    Returns:
        Image uint8 [H, W, 3] RGB and labels uint8 [H, W]: the 19 Cityscapes classes, 255 for void.
    """
    image, ids = draw_ids(seed, size, look)
    return image, _TO_CLASS[ids]


def draw_ids(seed: Seed, size: tuple[int, int], look: Look) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """As ``draw_scene``, with the raw ids of ``Id`` in place of the classes."""
    rng, grain = np.random.default_rng(seed).spawn(2)
    canvas = _stand(rng, size, look)
    counts = {
        name: 0 if name in look.layout.absent else int(rng.poisson(mean))
        for name, mean in look.layout.counts.items()
    }
    counts["train"] = min(counts["train"], 1)
    street = plan_street(rng, look, counts["train"] > 0)
    draw_sky(canvas, rng, look)
    draw_ground(canvas, rng, look, street)
    draw_backdrop(canvas, rng, look)
    draw_roadside(canvas, rng, look, street)
    cast = _place_furniture(canvas, rng, look, street, counts) + _place_traffic(
        canvas, rng, look, street, counts
    )
    for thing in sorted(cast, key=lambda thing: (-thing.band, -thing.z)):
        thing.draw()
    _draw_ego(canvas, rng, look)
    return _finish(canvas, size, grain, look)


def _stand(rng: np.random.Generator, size: tuple[int, int], look: Look) -> Canvas:
    layout = look.layout
    view = View(
        focal=rng.uniform(*layout.focal),
        horizon=rng.uniform(*layout.horizon),
        center=rng.uniform(0.4, 0.6),
        height=rng.uniform(*layout.camera),
        bend=rng.normal(0, 0.0006),
        sun=int(rng.choice((-1, 1))),
    )
    return Canvas(size, view, look.haze, pick(rng, look.palette["skyline"]), look.shadow)


def _place_furniture(
    canvas: Canvas, rng: np.random.Generator, look: Look, street: Street, counts: dict[str, int]
) -> list[_Placed]:
    placed: list[_Placed] = []
    kinds: tuple[tuple[str, Painter, float, float, float], ...] = (
        ("tree", furniture.draw_tree, 0.9, 8, 60),
        ("lamp", furniture.draw_lamp, 0.6, 7, 55),
        ("light", furniture.draw_light, 0.6, 7, 30),
        ("sign", furniture.draw_sign, 0.6, 6, 28),
        ("litter", furniture.draw_litter, 0.6, 6, 20),
    )
    taken: dict[int, list[float]] = {-1: [], 1: []}
    for name, paint, offset, near, far in kinds:
        for _ in range(counts[name]):
            side = int(rng.choice((-1, 1)))
            z = _free_depth(rng, near, far, taken[side])
            placed.append(
                _put(paint, canvas, rng, look, street.curb(side, offset), z, band=street.curb(side, 0.5))
            )
    for name, squeezed in (("bicycle", people.draw_bicycle), ("motorcycle", people.draw_motorcycle)):
        for _ in range(counts[name]):
            side, z, squeeze = int(rng.choice((-1, 1))), _depth(rng, 6, 22), _squeeze(rng)
            x = street.curb(side, 1.2)
            placed.append(_put(squeezed, canvas, rng, look, x, z, squeeze, False))
    for _ in range(counts["person"]):
        side, z = int(rng.choice((-1, 1))), _depth(rng, 6, 35)
        x = street.curb(side, street.verge + rng.uniform(1.4, max(1.6, street.sidewalk - 0.5)))
        placed.append(_put(people.draw_person, canvas, rng, look, x, z))
    return placed


def _place_traffic(
    canvas: Canvas, rng: np.random.Generator, look: Look, street: Street, counts: dict[str, int]
) -> list[_Placed]:
    placed: list[_Placed] = []
    free = {lane: 7.0 + rng.uniform(0, 12) for lane in range(len(street.lanes))}
    large: dict[str, tuple[Painter, float]] = {
        "truck": (vehicles.draw_truck, 9.5), "bus": (vehicles.draw_bus, 12.5), "cars": (vehicles.draw_car, 4.8),
    }  # fmt: skip
    fleet = [name for name in large for _ in range(counts[name])]
    for name in rng.permutation(np.array(fleet, dtype=object)):
        paint, length = large[str(name)]
        lane = int(rng.integers(len(street.lanes)))
        z = free[lane] + rng.exponential(5.0)
        free[lane] = z + length + 3.0
        if z < 70:
            x, away = street.lanes[lane] + rng.uniform(-0.3, 0.3), lane >= street.oncoming
            placed.append(_put(paint, canvas, rng, look, x, z, away, band=street.lanes[lane]))
    for _ in range(counts["parked"]):
        side, slot = int(rng.choice((-1, 1))), int(rng.integers(9))
        x = (street.lanes[0] if side < 0 else street.lanes[-1]) + side * (LANE + PARKING_STRIP) / 2
        if street.parking[side > 0] and not any(
            item.band == abs(x) and item.z == 6.0 + 5.6 * slot for item in placed
        ):
            placed.append(_put(vehicles.draw_car, canvas, rng, look, x, 6.0 + 5.6 * slot, side > 0))
    if street.tracks is not None and counts["train"]:
        placed.append(
            _put(
                vehicles.draw_train,
                canvas,
                rng,
                look,
                street.tracks,
                _depth(rng, 9, 24),
                bool(rng.random() < 0.5),
            )
        )
    return placed + _place_riders(canvas, rng, look, street, counts)


def _place_riders(
    canvas: Canvas, rng: np.random.Generator, look: Look, street: Street, counts: dict[str, int]
) -> list[_Placed]:
    placed: list[_Placed] = []
    for name, paint in (("cyclist", people.draw_bicycle), ("motorcyclist", people.draw_motorcycle)):
        for _ in range(counts[name]):
            side, z, squeeze = int(rng.choice((-1, 1))), _depth(rng, 6, 20), _squeeze(rng)
            x = (street.lanes[0] if side < 0 else street.lanes[-1]) + side * (LANE / 2 - 0.3)
            placed.append(_put(paint, canvas, rng, look, x, z, squeeze, True))
    for _ in range(counts["crossing"]):
        x, z = rng.uniform(street.lanes[0] - 1, street.lanes[-1] + 1), _depth(rng, 7, 22)
        placed.append(_put(people.draw_person, canvas, rng, look, float(x), z))
    return placed


Painter = Callable[..., None]


def _put(
    paint: Painter,
    canvas: Canvas,
    rng: np.random.Generator,
    look: Look,
    x: float,
    z: float,
    *more: float | bool,
    band: float | None = None,
) -> _Placed:
    # Each thing has its own numbers, so that it looks the same whatever is painted before it.
    own = np.random.default_rng(int(rng.integers(2**63)))
    return _Placed(
        abs(x if band is None else band), z, lambda: paint(canvas, own, look, float(x), float(z), *more)
    )


def _depth(rng: np.random.Generator, near: float, far: float) -> float:
    """A depth in meters, equally likely per doubling, so that near and far things are both seen."""
    return float(np.exp(rng.uniform(np.log(near), np.log(far))))


def _free_depth(rng: np.random.Generator, near: float, far: float, taken: list[float]) -> float:
    """A depth that is a sixth away from those taken, if a few tries find one; it is taken from then on."""
    for _ in range(6):
        z = _depth(rng, near, far)
        if all(max(z, other) > 1.17 * min(z, other) for other in taken):
            break
    taken.append(z)
    return z


def _squeeze(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.45, 1.0) * rng.choice((-1, 1)))


def _draw_ego(canvas: Canvas, rng: np.random.Generator, look: Look) -> None:
    if rng.random() >= look.layout.ego:
        return
    angles = np.linspace(np.pi, 2 * np.pi, 24)
    for rise, tone in ((0.085, (40, 42, 46)), (0.06, (58, 61, 66))):
        columns = canvas.width * (0.5 + 0.52 * np.cos(angles))
        rows = canvas.height * (1.0 + rise * np.sin(angles)) + 1
        canvas.fill(np.stack([columns, rows], axis=1), tone, Id.EGO)


def _finish(
    canvas: Canvas, size: tuple[int, int], rng: np.random.Generator, look: Look
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reduce to the size asked for, smoothing the image and never the ids; then take the picture."""
    ids = np.ascontiguousarray(canvas.ids[:: canvas.scale, :: canvas.scale])
    small = cv2.resize(canvas.image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    image = photograph(add_texture(small.astype(np.float32), ids, canvas.haze_color, rng, look), rng, look)
    border = round(look.layout.border * size[0])
    if border:
        framed = np.full_like(ids, Id.OUT_OF_ROI)
        framed[border:-border, border:-border] = ids[border:-border, border:-border]
        ids = framed
    return image, ids
