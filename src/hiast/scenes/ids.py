"""Raw ids in which scenes are drawn: those of Cityscapes, so that void kinds survive into the written files."""

from __future__ import annotations

from enum import IntEnum


class Id(IntEnum):
    """Cityscapes labelIds, plus one of our own for lane marks, which some datasets count apart from the road."""

    EGO = 1
    OUT_OF_ROI = 3
    STATIC = 4
    DYNAMIC = 5
    ROAD = 7
    SIDEWALK = 8
    PARKING = 9
    RAIL_TRACK = 10
    BUILDING = 11
    WALL = 12
    FENCE = 13
    POLE = 17
    LIGHT = 19
    SIGN = 20
    VEGETATION = 21
    TERRAIN = 22
    SKY = 23
    PERSON = 24
    RIDER = 25
    CAR = 26
    TRUCK = 27
    BUS = 28
    TRAIN = 31
    MOTORCYCLE = 32
    BICYCLE = 33
    LANE_MARK = 64
