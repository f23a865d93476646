"""From the drawing to the picture: surface texture, then light, color and the camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.scenes.canvas import Color
from hiast.scenes.ids import Id
from hiast.scenes.look import Look

# Strength of fine, middle and coarse texture in gray levels.
_GRAIN = {
    Id.ROAD: (7, 4, 5), Id.LANE_MARK: (5, 6, 4), Id.PARKING: (7, 4, 5), Id.RAIL_TRACK: (9, 4, 4),
    Id.SIDEWALK: (5, 5, 6), Id.BUILDING: (3, 3, 6), Id.WALL: (7, 7, 5), Id.FENCE: (4, 3, 2), Id.VEGETATION: (14, 16, 6),
    Id.TERRAIN: (11, 9, 7), Id.TRUCK: (1, 2, 3), Id.BUS: (1, 2, 3), Id.TRAIN: (1, 2, 3), Id.CAR: (1, 2, 3),
}  # fmt: skip


def add_texture(
    image: NDArray[np.float32],
    ids: NDArray[np.uint8],
    haze_color: Color,
    rng: np.random.Generator,
    look: Look,
) -> NDArray[np.float32]:
    """Roughen each material by its own grain; image float32 [H, W, 3] in 0..255, ids uint8 [H, W]."""
    height, width = ids.shape
    strength = np.zeros((256, 3), np.float32)
    for ident, values in _GRAIN.items():
        strength[ident] = values
    relief = np.zeros((height, width), np.float32)
    for scale, cells in enumerate((128, 48, 14)):
        rows = min(height, max(2, round(cells / look.grain)))
        field = rng.standard_normal((rows, max(2, round(rows * width / height))), np.float32)
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        relief += field * strength[:, scale][ids]
    # Dark surfaces show less grain, and so do those that fade into the haze.
    apart = np.abs(image - np.asarray(haze_color, np.float32)).mean(axis=2)
    relief *= np.clip(apart / 90, 0.1, 1) * np.float32(look.texture / 110)
    roughened: NDArray[np.float32] = image * (1 + relief[..., None])
    return roughened


def photograph(image: NDArray[np.float32], rng: np.random.Generator, look: Look) -> NDArray[np.uint8]:
    """What the camera makes of a drawing: image float32 [H, W, 3] in 0..255 -> uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    exposure = np.exp(rng.normal(0, 1) * look.exposure)
    gains = np.asarray(look.white_balance) * np.exp(rng.normal(0, 1, 3) * look.tint)
    slope = rng.uniform(-1, 1) * look.falloff
    matrix = (np.diag(gains * exposure) @ _color_matrix(look.saturation, look.hue)).astype(np.float32)
    picture = cv2.transform(image, matrix)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    light = (1 + slope / 2 * x) * (1 - look.vignette * (0.5 * x**2 + 0.5 * y**2) ** 1.5)
    picture = np.clip(picture * light[..., None], 0, 255) / 255
    picture = np.clip((picture**look.gamma - 0.5) * look.contrast + 0.5, 0, 1) * 255
    if look.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), look.blur * height)
    if look.noise > 0:
        gray, color = (
            rng.standard_normal((height, width, 1), np.float32),
            rng.standard_normal(picture.shape, np.float32),
        )
        picture = picture + look.noise * (0.8 * gray + 0.6 * color)
    taken: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return taken


def _color_matrix(saturation: float, hue: float) -> NDArray[np.float64]:
    """3x3 matrix on RGB: scale the distance from gray, then rotate about the gray axis (Rodrigues)."""
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    saturate = luma + saturation * (np.eye(3) - luma)
    cosine, sine = np.cos(np.deg2rad(hue)), np.sin(np.deg2rad(hue))
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), axis)
    rotate: NDArray[np.float64] = (
        cosine * np.eye(3) + sine * cross.T + (1 - cosine) * np.outer(axis, axis)
    ) @ saturate
    return rotate
