"""Blocks of rows put together are the full size, and their gradients those of autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hiast.upsampling import Plan, Upsampling, exact_matmul, make_plan, narrow, widen
from hiast.upsampling import blocks as module

CASES = [
    ((3, 5, 8, 16), Upsampling.to((64, 130))),
    ((2, 4, 9, 17), Upsampling.to((65, 127), align_corners=False)),
    ((4, 3, 16, 24), Upsampling.to((64, 96), True, kept=(60, 90)).then((101, 140))),
    ((2, 3, 6, 7), Upsampling.to((6, 7))),
    ((2, 3, 8, 8), Upsampling.to((8, 8), kept=(5, 6))),
    ((1, 2, 1, 1), Upsampling.to((9, 10))),
    ((2, 2, 7, 9), Upsampling.to((3, 4))),
    ((1, 2, 4, 300), Upsampling.to((12, 900))),
]


def through_blocks(plan: Plan, maps: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Full-size maps, and the gradient to the coarse maps of a ``gradient`` to them."""
    full, coarse = torch.empty_like(gradient), torch.full_like(maps, torch.nan)
    wide, total = plan.wide(2)
    (scratch,) = plan.scratch(1)
    for group in plan.groups:
        widen(maps[group], plan.columns, wide)
        total.zero_()
        for block in plan.blocks:
            rows = block.expand(wide, scratch)
            full[group, :, block.rows] = rows.permute(1, 2, 0, 3)
            block.fold(gradient[group, :, block.rows].permute(2, 0, 1, 3).contiguous(), total)
        narrow(total, plan.columns, coarse[group])
    return full, coarse


@pytest.mark.parametrize(("shape", "upsampling"), CASES)
@pytest.mark.parametrize("elements", [1, 500, 3000, 10**6])
def test_blocks_are_the_full_size(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], upsampling: Upsampling, elements: int
) -> None:
    monkeypatch.setattr(module, "CPU_BLOCK", elements)
    torch.manual_seed(0)
    maps = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    wanted = upsampling(maps)
    gradient = torch.randn_like(wanted)
    plan = make_plan(maps, upsampling, torch.float64)
    full, coarse = through_blocks(plan, maps.detach(), gradient)
    torch.testing.assert_close(full, wanted.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(coarse, torch.autograd.grad(wanted, maps, gradient)[0], rtol=0, atol=1e-12)
    assert [block.top for block in plan.blocks] == [0, *(block.end for block in plan.blocks)][:-1]
    assert plan.blocks[-1].end == upsampling.size[0]


def test_blocks_have_the_size_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU_BLOCK", 8 * 19 * 128)
    plan = make_plan(torch.zeros(2, 19, 16, 16), Upsampling.to((128, 128)), torch.float32)
    assert plan.images == 1
    assert {block.last - block.first for block in plan.blocks} == {2}
    assert all(4 <= block.end - block.top <= 12 for block in plan.blocks)
    small = make_plan(torch.zeros(6, 19, 2, 2), Upsampling.to((16, 16)), torch.float32)
    assert small.images == 6


def test_the_same_rows_for_another_scale() -> None:
    plan = make_plan(torch.zeros(2, 3, 8, 8), Upsampling.to((70, 50)), torch.float32)
    other = make_plan(torch.zeros(2, 3, 11, 9), Upsampling.to((70, 50)), torch.float32, like=plan)
    assert [block.rows for block in other.blocks] == [block.rows for block in plan.blocks]
    assert other.groups == plan.groups


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_exact_matmul_restores_what_it_found(precision: str) -> None:
    place = torch.backends.mkldnn.matmul
    before = place.fp32_precision
    place.fp32_precision = precision
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), exact_matmul(torch.device("cpu")):
            assert place.fp32_precision == "ieee"
            assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32
        assert place.fp32_precision == precision
        with pytest.raises(KeyError), exact_matmul(torch.device("cpu")):
            raise KeyError
        assert place.fp32_precision == precision
    finally:
        place.fp32_precision = before
