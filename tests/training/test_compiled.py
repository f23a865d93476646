"""Compiled passes of training: the same losses, gradients and statistics."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from small_network import CLASSES, TinyNetwork, draw

from hiast import HIASTModule, OnlineModule
from hiast.training import AdaptationModule

COMPILE = torch.compile
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def built(kind: type[AdaptationModule], **settings: Any) -> AdaptationModule:
    module = kind(TinyNetwork(), CLASSES, max_steps=4, **settings)
    module.teacher.reset(module.network)  # type: ignore[operator, union-attr]
    return module


def batch(device: str, seed: int) -> dict[str, dict[str, Any]]:
    samples = {domain: draw(seed + number, ignored=0.5) for number, domain in enumerate(("source", "target"))}
    return {
        domain: {
            key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in one.items()
        }
        for domain, one in samples.items()
    }


def steps(module: AdaptationModule, device: str) -> list[torch.Tensor]:
    """Losses, gradients and statistics of three steps."""
    module.to(device).train()
    found = []
    for seed in range(3):
        if module.compile_mode is not None:
            torch.compiler.cudagraph_mark_step_begin()
        module.zero_grad()
        total = module.losses(batch(device, 10 * seed))["total"]
        total.backward()
        found += [total.detach().clone()]
        found += [value.grad.clone() for value in module.network.parameters() if value.grad is not None]
        module.teacher.update(module.network)  # type: ignore[operator, union-attr]
    return found + [buffer.clone() for buffer in module.network.buffers()]


def compare(kind: type[AdaptationModule], device: str, mode: str, **settings: Any) -> None:
    plain = built(kind, **settings)
    compiled = copy.deepcopy(plain)
    compiled.compile_mode = mode  # type: ignore[assignment]
    compiled.compile_passes()
    wanted = steps(plain, device)
    for found, right in zip(steps(compiled, device), wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [partial(HIASTModule, source_weight=1.0), OnlineModule])
def test_compiled_passes_train_alike(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def traced(function: Any, mode: str) -> Any:
        compiled.append((function.__self__, mode))
        return COMPILE(function, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    compare(kind, "cpu", "default")
    assert len(compiled) == 2, "student and teacher"


@pytest.mark.gpu
@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("kind", [partial(HIASTModule, source_weight=1.0), OnlineModule])
def test_compiled_passes_train_alike_on_a_gpu(kind: Any, mode: str) -> None:
    compare(kind, "cuda", mode)


def test_a_hook_on_the_student_keeps_it_as_it_is() -> None:
    module = built(OnlineModule, feature_distance={"weight": 0.1, "things": None})
    module.compile_mode = "default"
    module.compile_passes()
    assert module._compiled is None
    assert module.teacher._compiled is not None  # type: ignore[union-attr]
