"""Interpolation written as matrices against torch's own, in both conventions and in chains."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.upsampling import Upsampling

CPU = torch.device("cpu")
LENGTHS = [(1, 1), (1, 7), (2, 2), (2, 9), (5, 40), (9, 65), (12, 48), (13, 7), (16, 17)]


def by_torch(length: int, wanted: int, align_corners: bool) -> torch.Tensor:
    """The matrix [wanted,length] of torch's interpolation in float64, column by column."""
    units = torch.eye(length, dtype=torch.float64)[:, None]
    return F.interpolate(units, size=wanted, mode="linear", align_corners=align_corners)[:, 0].T


@pytest.mark.parametrize(("length", "wanted"), LENGTHS)
@pytest.mark.parametrize("align_corners", [True, False])
def test_matrix_equals_torch(length: int, wanted: int, align_corners: bool) -> None:
    axis = Upsampling.to((wanted, 3), align_corners).rows(length, torch.float64, CPU)
    torch.testing.assert_close(axis.weights, by_torch(length, wanted, align_corners), rtol=0, atol=1e-14)
    for row, (first, last) in enumerate(zip(axis.first, axis.last, strict=True)):
        assert not axis.weights[row, :first].any() and not axis.weights[row, last:].any()
    assert list(axis.first) == sorted(axis.first) and list(axis.last) == sorted(axis.last)
    assert axis.identity == (length == wanted)


def test_most_rows_read_two_coarse_rows() -> None:
    axis = Upsampling.to((512, 1024)).rows(64, torch.float32, CPU)
    assert {last - first for first, last in zip(axis.first, axis.last, strict=True)} == {2}


def test_a_chain_is_the_product_of_its_steps() -> None:
    chain = Upsampling.to((64, 96), True, kept=(60, 90)).then((40, 101), align_corners=False).then((40, 101))
    assert chain.size == (40, 101)
    rows = by_torch(60, 40, False) @ by_torch(16, 64, True)[:60]
    columns = by_torch(90, 101, False) @ by_torch(24, 96, True)[:90]
    torch.testing.assert_close(chain.rows(16, torch.float64, CPU).weights, rows, rtol=0, atol=1e-14)
    torch.testing.assert_close(chain.columns(24, torch.float64, CPU).weights, columns, rtol=0, atol=1e-14)


@pytest.mark.parametrize("align_corners", [True, False])
def test_call_equals_interpolate_and_cut(align_corners: bool) -> None:
    maps = torch.randn(2, 3, 4, 6)
    up = Upsampling.to((32, 48), align_corners, kept=(30, 41))
    wanted = F.interpolate(maps, size=(32, 48), mode="bilinear", align_corners=align_corners)
    assert torch.equal(up(maps), wanted[..., :30, :41])
    twice = F.interpolate(wanted[..., :30, :41], size=(50, 50), mode="bilinear", align_corners=True)
    assert torch.equal(up.then((50, 50))(maps), twice)


def test_maps_that_fit_are_returned_themselves() -> None:
    maps = torch.randn(1, 2, 5, 7)
    assert Upsampling.to((5, 7))(maps) is maps


def test_equal_ones_share_one_cached_matrix() -> None:
    with torch.inference_mode():
        first = Upsampling.to((16, 16)).rows(4, torch.float32, CPU)
    assert Upsampling.to((16, 16)).rows(4, torch.float32, CPU) is first
    assert not first.weights.is_inference()


@pytest.mark.parametrize(("size", "kept"), [((0, 4), None), ((4, 4), (5, 4)), ((4, 4), (4, 0))])
def test_sizes_that_do_not_fit_are_refused(size: tuple[int, int], kept: tuple[int, int] | None) -> None:
    with pytest.raises(InputError, match="positive sizes"):
        Upsampling.to(size, kept=kept)
