"""A canvas that is drawn on in meters: a pinhole camera over a street, image and ids painted together.

World axes: x to the right, y up from the ground, z forward; the camera stands at x = 0, z = 0. Whoever draws goes
from far to near, so occlusion is right without a depth buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float]
Point = tuple[float, float, float]
Points = NDArray[np.float64]

_SUBPIXEL_BITS = 4
_SIDES = 16
_CIRCLE = np.stack(
    [np.cos(np.arange(_SIDES) * 2 * np.pi / _SIDES), np.sin(np.arange(_SIDES) * 2 * np.pi / _SIDES)], axis=1
)


def shade(color: Color, factor: float) -> tuple[float, float, float]:
    """The color made darker (factor < 1) or brighter (factor > 1)."""
    red, green, blue = color
    return min(255.0, red * factor), min(255.0, green * factor), min(255.0, blue * factor)


@dataclass(frozen=True)
class View:
    """Where the camera looks.

    Attributes:
        focal: Focal length in image widths.
        horizon: Height of the horizon from the top, in image heights.
        center: Column of the vanishing point, in image widths.
        height: Height of the camera in meters.
        bend: How the street curves: sideways meters per square meter of depth.
        sun: -1 when the sun stands on the left, 1 on the right.
    """

    focal: float
    horizon: float
    center: float
    height: float
    bend: float
    sun: int


class Canvas:
    """Image uint8 [H*scale, W*scale, 3] RGB and raw ids uint8 [H*scale, W*scale], drawn in one go.

    Args:
        size: Height and width of the finished picture in pixels.
        view: The camera.
        haze: Extinction per meter; distant colors fade to ``haze_color``.
        haze_color: RGB.
        contrast: How far lit and unlit faces lie apart, 0..1.
    """

    def __init__(
        self, size: tuple[int, int], view: View, haze: float, haze_color: Color, contrast: float
    ) -> None:
        # Large pictures have pixels enough that jagged edges do not show.
        self.scale = 2 if size[0] <= 512 else 1
        self.view = view
        self.haze = haze
        self.haze_color = haze_color
        self.contrast = contrast
        self.height, self.width = size[0] * self.scale, size[1] * self.scale
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        self.ids = np.zeros((self.height, self.width), np.uint8)

    def pixels_per_meter(self, z: float) -> float:
        """Length of one meter at depth z, in canvas pixels."""
        return self.view.focal * self.width / z

    def column(self, x: float, z: float) -> float:
        """Canvas column of a world position."""
        return self.view.center * self.width + self.pixels_per_meter(z) * (x + self.view.bend * z * z)

    def project(self, points: Sequence[Point] | Points) -> Points:
        """Canvas positions (column, row) [..., 2] of world points [..., 3]."""
        view, focal = self.view, self.view.focal * self.width
        left, top = view.center * self.width, view.horizon * self.height
        if isinstance(points, np.ndarray):
            x, y, z = points[..., 0], points[..., 1], points[..., 2]
            placed = np.empty((*points.shape[:-1], 2))
            placed[..., 0] = left + focal * (x / z + view.bend * z)
            placed[..., 1] = top + focal * (view.height - y) / z
            return placed
        # A handful of points is projected faster without arrays, and most of a scene is quadrilaterals.
        return np.array(
            [
                (left + focal * (x / z + view.bend * z), top + focal * (view.height - y) / z)
                for x, y, z in points
            ]
        )

    def fill(self, outlines: Points, color: Color | None, ident: int | None = None) -> None:
        """Fill polygons [N, 2] or [K, N, 2] given in canvas pixels; None leaves image or ids untouched."""
        fixed = np.rint(outlines * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        polygons = [fixed] if fixed.ndim == 2 else list(fixed)
        if color is not None:
            cv2.fillPoly(self.image, polygons, color, cv2.LINE_8, _SUBPIXEL_BITS)
        if ident is not None:
            cv2.fillPoly(self.ids, polygons, (int(ident),), cv2.LINE_8, _SUBPIXEL_BITS)

    def solid(self, points: Sequence[Point] | Points, color: Color | None, ident: int | None = None) -> None:
        """Fill polygons given as world points [N, 3] or [K, N, 3]; the color fades with distance."""
        # Of a quadrilateral, opposite corners lie at its nearest and its farthest depth.
        depth = (
            float(points[..., 2].mean())
            if isinstance(points, np.ndarray)
            else (points[0][2] + points[2][2]) / 2
        )
        self.fill(self.project(points), None if color is None else self.faded(color, depth), ident)

    def faded(self, color: Color, z: float) -> Color:
        """The color as seen through z meters of haze."""
        clear = math.exp(-self.haze * z)
        (red, green, blue), (far_red, far_green, far_blue) = color, self.haze_color
        return (
            far_red + (red - far_red) * clear,
            far_green + (green - far_green) * clear,
            far_blue + (blue - far_blue) * clear,
        )

    def fade_ground(self) -> None:
        """Let everything below the horizon fade as the ground does there."""
        first = math.ceil(self.view.horizon * self.height)
        below = np.arange(first, self.height) - self.view.horizon * self.height + 0.5
        depth = self.view.focal * self.width * self.view.height / below
        clear = np.exp(-self.haze * depth).astype(np.float32)[:, None, None]
        haze = np.asarray(self.haze_color, np.float32)
        self.image[first:] = np.rint(haze + (self.image[first:] - haze) * clear).astype(np.uint8)

    def front(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: float,
        color: Color | None,
        ident: int | None = None,
    ) -> None:
        """An upright rectangle that faces the camera."""
        (x0, x1), (y0, y1) = x, y
        self.solid([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], color, ident)

    def side(
        self,
        x: float,
        y: tuple[float, float],
        z: tuple[float, float],
        color: Color | None,
        ident: int | None = None,
    ) -> None:
        """An upright rectangle along the street."""
        (y0, y1), (z0, z1) = y, z
        self.solid([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], color, ident)

    def flat(self, x: tuple[float, float], z: tuple[float, float], color: Color, ident: int | None) -> None:
        """A strip of ground along the street, which follows its bend; it does not fade."""
        pieces = 1 if z[1] < 1.5 * z[0] else 12
        depths = [z[0] * (z[1] / z[0]) ** (step / pieces) for step in range(pieces + 1)]
        outline = [(x[0], 0.0, depth) for depth in depths] + [
            (x[1], 0.0, depth) for depth in reversed(depths)
        ]
        self.fill(self.project(outline), color, ident)

    def lit(self, direction: int) -> float:
        """Brightness of a face that looks left (-1), right (1) or at the camera (0)."""
        return 1.0 - self.contrast * (0.12 if direction == 0 else 0.42 * (direction != self.view.sun))

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        color: Color,
        ident: int,
    ) -> None:
        """A cuboid: its top, the side that is seen, and its near face."""
        (x0, x1), (z0, z1) = x, z
        roof = [(x0, y[1], z0), (x1, y[1], z0), (x1, y[1], z1), (x0, y[1], z1)]
        self.solid(roof, shade(color, 1.12), ident)
        if x0 > 0:
            self.side(x0, y, z, shade(color, self.lit(-1)), ident)
        elif x1 < 0:
            self.side(x1, y, z, shade(color, self.lit(1)), ident)
        self.front(x, y, z0, shade(color, self.lit(0)), ident)

    def oval(
        self,
        center: Point,
        radii: tuple[float, float],
        color: Color | None,
        ident: int | None = None,
        roughness: NDArray[np.float64] | None = None,
    ) -> None:
        """An upright oval that faces the camera; ``roughness`` [16] scales its radius around the outline."""
        z = center[2]
        scale = self.pixels_per_meter(z)
        middle = self.project([center])
        outline = _CIRCLE if roughness is None else _CIRCLE * roughness[:, None]
        faded = None if color is None else self.faded(color, z)
        self.fill(middle + outline * (radii[0] * scale, -radii[1] * scale), faded, ident)

    def wheel(self, x: float, y: float, z: float, radius: float, color: Color, ident: int) -> None:
        """A disc in the plane along the street, as the wheels of a vehicle seen from the side."""
        points = np.stack(
            [np.full(_SIDES, x), y + radius * _CIRCLE[:, 1], z + radius * _CIRCLE[:, 0]], axis=1
        )
        self.solid(points, color, ident)

    def stroke(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        z: float,
        width: float,
        color: Color | None,
        ident: int | None = None,
        least: float = 0.0,
    ) -> None:
        """A bar from (x, y) to (x, y) at depth z; at least ``least`` finished pixels wide."""
        (x0, y0), (x1, y1) = self.project([(*start, z), (*end, z)]).tolist()
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
        half = max(width * self.pixels_per_meter(z), least * self.scale) / 2 / length
        dx, dy = (y0 - y1) * half, (x1 - x0) * half
        corners = np.array([(x0 - dx, y0 - dy), (x1 - dx, y1 - dy), (x1 + dx, y1 + dy), (x0 + dx, y0 + dy)])
        self.fill(corners, None if color is None else self.faded(color, z), ident)
