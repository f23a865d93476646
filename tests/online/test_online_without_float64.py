"""Devices without float64, as Apple's GPUs: the meta device stands for one, where every float64 tensor is an error."""

from __future__ import annotations

import copy

import pytest
import torch
from test_online_no_waiting import CALLS, C
from without_float64 import RefuseFloat64

from hiast import online
from hiast.upsampling import precision


@pytest.fixture(autouse=True)
def no_float64(monkeypatch):
    monkeypatch.setattr(precision, "WITHOUT_FLOAT64", {"meta"})


@pytest.mark.parametrize("name", CALLS)
def test_parts_need_no_float64(name):
    with RefuseFloat64():
        CALLS[name]()


@pytest.mark.parametrize(
    "trust",
    [
        online.InstanceAdaptive(C),
        online.InstanceAdaptive(C, per="image"),
        online.ClassBalanced(C),
    ],
)
def test_state_in_float32_selects_nearly_the_same(trust, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    found = []
    for device_types in (set(), {"cpu"}):
        monkeypatch.setattr(precision, "WITHOUT_FLOAT64", device_types)
        state = copy.deepcopy(trust).to("cpu")
        assert {each.dtype for each in state.buffers()} == {torch.float32 if device_types else torch.float64}
        generator.manual_seed(0)
        for _ in range(5):
            logits = 3 * torch.randn(2, C, 24, 32, generator=generator)
            confidence, prediction = logits.softmax(1).max(1)
            trusted = state(confidence, prediction)
        found.append(trusted)
    assert found[0].labels.ne(found[1].labels).float().mean() < 0.002
    torch.testing.assert_close(found[0].weights.mean(), found[1].weights.mean(), atol=2e-3, rtol=0)
