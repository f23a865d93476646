"""Charts: places of points, ticks, gaps, and what stands under the pointer."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from hiast.report.charts import COLORS, DASHES, MARKS, STAR, Series, line_chart, mark_path, spark, text, ticks

NAN = math.nan


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 100), (-3, 7), (1e-6, 3e-6), (47.1, 47.3), (0, 40_000), (1e12, 2e12)]
)
def test_ticks_are_round_few_and_cover_the_range(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 12 and found == sorted(found)
    assert found[0] <= low + 1e-9 * abs(low) and found[-1] >= high - 1e-9 * abs(high)
    steps = {round((b - a) / (found[1] - found[0]), 6) for a, b in itertools.pairwise(found)}
    assert steps == {1.0}
    digits = f"{found[1] - found[0]:e}".split("e")[0].rstrip("0").rstrip(".")
    assert digits in ("1", "2", "5")


def test_points_lie_where_their_values_are() -> None:
    chart = line_chart("c", [Series("a", ((0, 0.0), (5, 5.0), (10, 10.0)))])
    (path,) = chart.paths
    points = [tuple(map(float, part.split())) for part in path.path[1:].split("L")]
    assert points[0][0] == chart.left and points[2][0] == chart.right
    assert points[1] == pytest.approx(
        ((chart.left + chart.right) / 2, (points[0][1] + points[2][1]) / 2), abs=0.1
    )
    assert points[0][1] > points[2][1]  # up is more


def test_a_gap_interrupts_the_line() -> None:
    chart = line_chart("c", [Series("a", ((0, 1), (1, 2), (2, NAN), (3, 4), (4, 5)))])
    assert chart.paths[0].path.count("M") == 2 and chart.paths[0].path.count("L") == 2


def test_without_finite_values_there_is_not_a_chart() -> None:
    assert line_chart("c", []) is None
    assert line_chart("c", [Series("a", ((0, NAN), (NAN, 1), (1, math.inf)))]) is None


@pytest.mark.parametrize(
    "points", [((3, 7.0),), ((0, 0.0), (1, 0.0)), ((0, -2.0), (0, -2.0)), ((5, 1e-300), (6, 1e300))]
)
def test_degenerate_values_have_a_chart(points: tuple) -> None:
    chart = line_chart("c", [Series("a", points)], bands=[(0, "x")])
    assert len(chart.y_ticks) >= 2
    numbers = [place for place, _ in (*chart.x_ticks, *chart.y_ticks)]
    assert all(map(math.isfinite, numbers))


def test_what_is_never_negative_has_no_negative_tick() -> None:
    chart = line_chart("c", [Series("a", ((0, 0.0), (1, 1.0)))])
    assert not any(name.startswith("-") for _, name in chart.y_ticks)


def test_series_differ_without_color() -> None:
    chart = line_chart("c", [Series(str(i), ((0, i), (1, i + 1))) for i in range(8)])
    assert len({(path.dash, path.mark) for path in chart.paths}) == 8
    assert len(DASHES) == COLORS == 8 and len(MARKS) == 4
    assert len({mark_path(mark, 0, 0) for mark in MARKS}) == 4


def test_the_box_names_all_values_of_a_step() -> None:
    series = [Series('a"<', ((1, 0.5), (2, NAN))), Series("b", ((1, 12345.0), (2, 2.0)))]
    columns = json.loads(line_chart("c", series, x_name="image", bands=[(0, "first"), (1, "second")]).columns)
    assert [column["lines"] for column in columns] == [
        ["image 1, first", 'a"<: 0.5', "b: 12,345"],
        ["image 2, second", "b: 2"],
    ]


def test_many_points_have_marks_at_the_ends_only() -> None:
    chart = line_chart("c", [Series("a", tuple((i, i % 7) for i in range(500)))])
    assert chart.paths[0].marks.count("M") == 2


def test_long_series_are_thinned_and_keep_their_end() -> None:
    points = tuple((float(i), float(i)) for i in range(5001))
    chart = line_chart("c", [Series("a", (*points, (NAN, NAN), (6000.0, 1.0), (6001.0, 2.0)))])
    columns = json.loads(chart.columns)
    assert 150 < len(columns) < 260 and columns[-1]["lines"] == ["step 6,001", "a: 2"]
    assert chart.paths[0].path.count("M") == 2


def test_names_of_parts_do_not_overlap() -> None:
    bands = [(float(i), f"self_training {i}") for i in range(12)]
    chart = line_chart("c", [Series("a", ((0, 1), (12, 2)))], bands=bands)
    assert [band.name for band in chart.bands] == [name for _, name in bands]
    assert {band.row for band in chart.bands} == {0, 1, 2, None}


def test_no_tick_lies_beyond_what_is_possible() -> None:
    series = [Series("a", ((0, 58), (1, 100)))]
    assert [name for _, name in line_chart("c", series, most=100.0).y_ticks][-1] == "100"
    assert float(line_chart("c", series).y_ticks[-1][1]) > 100


def test_a_star_is_drawn_for_a_point_that_stands_out() -> None:
    chart = line_chart("c", [Series("a", ((0, 1), (1, 2))), Series("b", ((1, 2),), style=7, mark=STAR)])
    assert [path.mark for path in chart.paths] == ["circle", "star"]
    assert chart.paths[1].marks.count("L") == 9 and chart.paths[1].color == 7


def test_sparklines() -> None:
    assert spark([0.5]) == "" and spark([NAN, NAN]) == ""
    points = [tuple(map(float, point.split(","))) for point in spark([0.0, NAN, 1.0, 7.0]).split()]
    assert points == [(1, 21), (73, 1), (109, 1)]


def test_numbers_for_people() -> None:
    assert [text(value) for value in (0.0, 1e20, NAN, -0.25)] == ["0", "1e+20", "-", "-0.25"]


def test_names_of_the_stages_of_the_demo_do_not_touch() -> None:
    names = ["source_only", "warmup", "self_training 1", "self_training 2", "self_training 3"]
    bands = list(zip((0.0, 320.0, 360.0, 420.0, 480.0), names, strict=True))
    chart = line_chart("x", [Series("a", ((320.0, 1.0), (540.0, 2.0)))], bands=bands)
    assert chart is not None
    ends = {}
    for band in chart.bands:
        assert band.row is not None
        length = 7.8 * len(band.name)  # wide letters, as in "warmup", measured in Chromium
        begin = band.text_at - (0 if band.anchor == "start" else length)
        assert begin > ends.get(band.row, -10) + 4, band.name
        ends[band.row] = begin + length


def test_few_known_values_of_a_long_series_stay() -> None:
    values = [math.nan] * 2000
    values[3], values[997], values[998] = 1.0, 2.0, 3.0
    chart = line_chart("loss", [Series("a", tuple((float(x), y) for x, y in enumerate(values)))])
    assert "a from 1 to 3" in chart.summary
