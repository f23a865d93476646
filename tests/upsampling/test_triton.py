"""The Triton kernels, in Triton's interpreter where there is no GPU, and where they are chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from hiast.upsampling import Upsampling
from hiast.upsampling.triton_support import can_use_triton, cells, fold_corners, tile, why_not_triton

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs the package triton")


def in_a_process(name: str, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    program = Path(__file__).with_name(name)
    done = subprocess.run([sys.executable, program, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu]), "cpu"])
def test_kernels_equal_the_blocks(device: str) -> None:
    if device == "cpu" and torch.cuda.is_available():
        pytest.skip("The interpreter stands in for a GPU.")
    assert "equal" in in_a_process("triton_equal.py", device)


@needs_triton
@pytest.mark.slow
def test_kernels_compile_for_a_gpu() -> None:
    assert "compiled" in in_a_process("triton_compiled.py")


@pytest.mark.parametrize("align_corners", [True, False])
def test_cells_hold_every_row_once(align_corners: bool) -> None:
    found = cells(5, 33, 30, align_corners, torch.device("cpu"))
    assert found.first[0] == 0 and found.first[-1] == 30
    assert bool((found.first.diff() >= 0).all()) and len(found.weight) == 30


def test_corners_are_added_up() -> None:
    corners = torch.arange(4.0).view(1, 1, 1, 4, 1).expand(1, 2, 2, 4, 1)
    assert fold_corners(corners).flatten(2).tolist() == [[[0.0, 1.0, 1.0, 2.0, 6.0, 4.0, 2.0, 5.0, 3.0]]]


@pytest.mark.parametrize("classes", [1, 2, 19, 64, 255])
def test_a_tile_holds_all_classes_in_powers_of_two(classes: int) -> None:
    class_block, pixel_block, warps = tile(classes)
    assert classes <= class_block and {bin(n).count("1") for n in (class_block, pixel_block, warps)} == {1}


def test_the_cpu_gets_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    logits, up = torch.zeros(1, 2, 4, 4), Upsampling.to((32, 32))
    assert not can_use_triton(logits, up)
    assert why_not_triton(logits, up) in ("the logits are on cpu", "the package triton is not installed")


@needs_triton
def test_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    logits, up = torch.zeros(1, 2, 4, 4), Upsampling.to((32, 32))
    assert why_not_triton(logits, up) == ""
    assert "float64" in why_not_triton(logits.double(), up)
    assert "more than once" in why_not_triton(logits, up.then((9, 9)))
    assert "single row" in why_not_triton(logits[..., :1], up)
