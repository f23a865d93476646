"""What a scene looks like, in numbers: palette, layout statistics, weather and camera.

The gap between two domains is the difference between two looks; tune the numbers here, not the drawing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

RGB = tuple[int, int, int]
Range = tuple[float, float]


def pick(rng: np.random.Generator, colors: tuple[RGB, ...]) -> RGB:
    """One of the colors, all equally likely."""
    return colors[int(rng.integers(len(colors)))]


@dataclass(frozen=True)
class Layout:
    """Where things stand and how many there are.

    Attributes:
        focal: Range of the focal length in image widths.
        horizon: Range of the horizon's distance from the top, in image heights.
        camera: Range of the camera's height in meters.
        lanes: Least and greatest number of lanes on each side.
        sidewalk: Range of the sidewalk's width in meters.
        storeys: Range of the number of storeys.
        parking: Probability of a strip for parked cars, on each side.
        verge: Probability of a strip of grass between road and sidewalk.
        roadside: Relative frequency of what borders the street: building, wall, fence, park.
        counts: Mean number per scene of each movable or small thing (Poisson).
        absent: Classes that are never drawn.
        ego: Probability that the hood of the own car is seen.
        border: Width of the unlabeled border in image heights.
    """

    focal: Range
    horizon: Range
    camera: Range
    lanes: tuple[int, int]
    sidewalk: Range
    storeys: tuple[int, int]
    parking: float
    verge: float
    roadside: Mapping[str, float]
    counts: Mapping[str, float]
    absent: frozenset[str] = frozenset()
    ego: float = 0.0
    border: float = 0.0


@dataclass(frozen=True)
class Look:
    """The look of one domain.

    Attributes:
        palette: RGB colors per material, drawn from at random.
        layout: Layout statistics.
        shadow: Depth of shadows and contrast between lit and unlit faces, 0..1.
        clouds: Cover of clouds, 0..1.
        texture: Strength of surface texture; 1 is the nominal grain of each material.
        grain: Size of the texture's cells relative to the nominal one.
        haze: Extinction per meter.
        saturation: 1 leaves colors alone, 0 makes them gray.
        hue: Rotation of all hues in degrees.
        white_balance: Gains of red, green and blue.
        contrast: Gain around mid gray.
        gamma: Exponent of the tone curve; above 1 darkens the midtones.
        exposure: Standard deviation per image of the logarithm of the exposure.
        tint: Standard deviation per image of the logarithm of each color gain.
        falloff: Greatest difference of brightness between the two edges of an image.
        vignette: Loss of light in the corners, 0..1.
        blur: Standard deviation of the blur in image heights.
        noise: Standard deviation of the sensor noise in gray levels.
    """

    palette: Mapping[str, tuple[RGB, ...]] = field(repr=False)
    layout: Layout
    shadow: float = 0.6
    clouds: float = 0.3
    texture: float = 1.0
    grain: float = 1.0
    haze: float = 0.0
    saturation: float = 1.0
    hue: float = 0.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    gamma: float = 1.0
    exposure: float = 0.0
    tint: float = 0.0
    falloff: float = 0.0
    vignette: float = 0.0
    blur: float = 0.0
    noise: float = 0.0


_BASE: dict[str, tuple[RGB, ...]] = {
    "skin": ((224, 172, 138), (198, 134, 96), (141, 85, 54), (241, 200, 172)),
    "hair": ((40, 28, 20), (92, 60, 32), (150, 115, 60), (25, 25, 28)),
    "trousers": ((35, 45, 80), (45, 45, 50), (95, 85, 70), (60, 75, 110)),
    "helmet": ((235, 235, 235), (190, 30, 40), (30, 30, 34), (240, 190, 40)),
    "sign_blue": ((24, 82, 178),),
    "sign_red": ((204, 24, 32),),
    "sign_yellow": ((248, 196, 32),),
    "bin": ((60, 66, 62), (96, 78, 52), (46, 74, 58)),
}

_GAME_PALETTE: dict[str, tuple[RGB, ...]] = _BASE | {
    "zenith": ((52, 116, 214), (64, 132, 226), (44, 100, 198)),
    "skyline": ((184, 218, 246), (206, 226, 240), (244, 222, 190)),
    "cloud": ((250, 250, 252),),
    "road": ((86, 86, 92), (78, 80, 86), (94, 92, 94)),
    "mark": ((244, 242, 232), (246, 208, 72)),
    "sidewalk": ((184, 176, 166), (172, 168, 164), (192, 180, 160)),
    "curb": ((206, 200, 192),),
    "terrain": ((126, 168, 66), (142, 176, 74), (158, 158, 84)),
    "building": (
        (214, 152, 104), (226, 196, 150), (186, 98, 76), (150, 162, 178), (232, 222, 204), (172, 122, 92),
        (122, 138, 160),
    ),
    "roof": ((120, 58, 46), (84, 84, 92), (140, 82, 60)),
    "window": ((64, 92, 128), (92, 132, 168), (48, 66, 92), (150, 186, 208)),
    "shop": ((176, 44, 48), (38, 104, 92), (46, 64, 132), (208, 150, 48)),
    "wall": ((156, 112, 100), (148, 132, 122), (164, 106, 84)),
    "fence": ((196, 196, 204), (110, 72, 44), (52, 66, 58)),
    "pole": ((112, 116, 122), (88, 92, 98), (132, 132, 134)),
    "housing": ((34, 36, 34), (44, 46, 40)),
    "trunk": ((94, 66, 42), (80, 58, 40)),
    "vegetation": ((44, 126, 42), (58, 142, 48), (34, 106, 46), (82, 148, 50)),
    "cloth": ((204, 44, 52), (44, 88, 180), (236, 224, 206), (46, 140, 96), (232, 160, 50), (112, 56, 140)),
    "rider": ((240, 96, 30), (210, 226, 56), (40, 120, 200), (190, 40, 80)),
    "frame": ((196, 32, 40), (28, 90, 170), (40, 42, 46), (46, 140, 84)),
    "motorcycle": ((200, 24, 30), (28, 30, 34), (32, 84, 180)),
    "car": (
        (200, 30, 36), (32, 74, 170), (236, 238, 240), (40, 42, 48), (178, 182, 188), (236, 182, 40), (34, 116, 90),
    ),
    "glass": ((58, 78, 100), (44, 58, 76), (84, 108, 132)),
    "truck": ((198, 44, 36), (36, 84, 160), (240, 240, 238), (232, 150, 38)),
    "cargo": ((232, 232, 228), (196, 182, 150), (76, 120, 168), (204, 116, 60)),
    "bus": ((232, 176, 32), (204, 40, 44), (60, 136, 84)),
    "train": ((28, 112, 92), (190, 36, 44), (40, 70, 150)),
}  # fmt: skip

_CAMERA_PALETTE: dict[str, tuple[RGB, ...]] = _BASE | {
    "zenith": ((190, 200, 208), (176, 188, 202), (206, 208, 210)),
    "skyline": ((228, 230, 230), (220, 222, 222), (236, 232, 222)),
    "cloud": ((232, 233, 234),),
    "road": ((112, 110, 110), (102, 102, 106), (122, 118, 114)),
    "mark": ((206, 206, 202), (196, 198, 198)),
    "sidewalk": ((142, 136, 136), (132, 130, 134), (152, 140, 134)),
    "curb": ((166, 162, 158),),
    "terrain": ((118, 120, 70), (128, 118, 78), (106, 116, 72)),
    "building": (
        (170, 150, 128), (150, 128, 112), (128, 122, 118), (188, 178, 158), (142, 104, 88), (112, 112, 118),
        (198, 186, 170),
    ),
    "roof": ((98, 66, 56), (78, 76, 80)),
    "window": ((68, 74, 80), (92, 100, 106), (54, 58, 64), (140, 148, 152)),
    "shop": ((120, 60, 56), (58, 82, 84), (66, 72, 100), (150, 122, 78)),
    "wall": ((130, 120, 112), (116, 112, 110), (138, 116, 100)),
    "fence": ((126, 128, 126), (92, 84, 74), (72, 82, 76)),
    "pole": ((96, 98, 100), (82, 86, 88), (116, 116, 112)),
    "housing": ((38, 44, 42), (44, 46, 44)),
    "trunk": ((78, 68, 58), (66, 58, 52)),
    "vegetation": ((72, 92, 54), (84, 98, 58), (62, 84, 56), (96, 102, 56)),
    "cloth": ((54, 56, 64), (78, 66, 66), (48, 60, 84), (128, 118, 110), (96, 48, 50), (150, 148, 148)),
    "rider": ((70, 76, 88), (130, 70, 56), (52, 66, 96), (126, 132, 80)),
    "frame": ((56, 58, 62), (96, 52, 52), (52, 66, 92)),
    "motorcycle": ((96, 36, 38), (36, 38, 42), (52, 62, 88)),
    "car": (
        (52, 54, 60), (150, 154, 158), (196, 198, 198), (40, 52, 82), (104, 38, 40), (84, 88, 92), (112, 116, 112),
    ),
    "glass": ((62, 70, 76), (52, 58, 64), (96, 104, 110)),
    "truck": ((150, 70, 62), (74, 92, 118), (198, 198, 196)),
    "cargo": ((192, 192, 190), (160, 152, 138), (104, 122, 140)),
    "bus": ((186, 160, 92), (150, 66, 62), (182, 178, 168)),
    "train": ((150, 60, 58), (70, 104, 100), (182, 160, 96)),
}  # fmt: skip

_GAME_COUNTS = {
    "cars": 3.2, "parked": 2.2, "truck": 0.35, "bus": 0.28, "train": 0.2, "motorcycle": 0.3, "bicycle": 0.5,
    "cyclist": 0.35, "motorcyclist": 0.25, "person": 4.0, "crossing": 0.5, "tree": 4.0, "lamp": 3.5, "light": 2.2,
    "sign": 2.6, "litter": 1.0,
}  # fmt: skip

GAME = Look(
    palette=MappingProxyType(_GAME_PALETTE),
    layout=Layout(
        focal=(0.58, 0.68),
        horizon=(0.42, 0.50),
        camera=(1.4, 1.9),
        lanes=(1, 2),
        sidewalk=(3.0, 6.0),
        storeys=(2, 9),
        parking=0.5,
        verge=0.45,
        roadside=MappingProxyType({"building": 0.56, "wall": 0.13, "fence": 0.13, "park": 0.18}),
        counts=MappingProxyType(_GAME_COUNTS),
        ego=0.1,
    ),
    shadow=0.75,
    clouds=0.35,
    texture=0.7,
    haze=0.0025,
    saturation=1.05,
)
"""A clean, sunny and saturated computer game: the look of GTA5."""

CAMERA = Look(
    palette=MappingProxyType(_CAMERA_PALETTE),
    layout=Layout(
        focal=(0.62, 0.72),
        horizon=(0.38, 0.45),
        camera=(1.2, 1.4),
        lanes=(1, 2),
        sidewalk=(2.6, 5.0),
        storeys=(3, 6),
        parking=0.75,
        verge=0.35,
        roadside=MappingProxyType({"building": 0.60, "wall": 0.12, "fence": 0.12, "park": 0.16}),
        counts=MappingProxyType(
            _GAME_COUNTS
            | {"cars": 2.6, "parked": 3.4, "bicycle": 0.9, "cyclist": 0.5, "person": 4.5, "tree": 5.0}
        ),
        ego=1.0,
        border=0.012,
    ),
    shadow=0.4,
    clouds=0.6,
    texture=1.0,
    grain=0.9,
    haze=0.006,
    saturation=0.9,
    hue=-6.0,
    white_balance=(0.95, 1.02, 0.97),
    contrast=0.9,
    gamma=1.0,
    exposure=0.12,
    tint=0.03,
    falloff=0.1,
    vignette=0.25,
    blur=0.003,
    noise=2.5,
)
"""A dash camera on a hazy day: the look of Cityscapes."""

SIMULATOR = replace(
    GAME,
    layout=replace(GAME.layout, camera=(1.5, 2.6), absent=frozenset({"terrain", "truck", "train"}), ego=0.0),
    texture=0.45,
    saturation=1.15,
    contrast=1.08,
    white_balance=(1.04, 1.0, 0.95),
    haze=0.001,
)
"""A simulator with flatter surfaces and without terrain, trucks and trains: the look of SYNTHIA."""

OVERCAST = replace(
    CAMERA,
    layout=replace(CAMERA.layout, camera=(1.3, 1.6), horizon=(0.45, 0.52), lanes=(1, 1), ego=0.3, border=0.0),
    white_balance=(0.88, 0.98, 1.1),
    contrast=1.05,
    gamma=1.15,
    saturation=0.7,
    texture=1.0,
    exposure=0.1,
    haze=0.006,
    noise=4.0,
)
"""Another camera on a cold and overcast day: the look of RobotCar."""
