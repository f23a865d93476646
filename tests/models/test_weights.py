from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hiast.errors import InputError
from hiast.models import DeepLabV2, load_published_weights


def model() -> DeepLabV2:
    return DeepLabV2(3, layers=(1, 1, 1, 1), width=4)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return model().state_dict()


def equal(network: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "seg_model.", "module.seg_model."])
@pytest.mark.parametrize("nested", [(), ("state_dict",), ("model",), ("model", "state_dict")])
def test_prefixes_and_nesting(tmp_path: Path, state, prefix: str, nested: tuple[str, ...]):
    content = {prefix + key: value for key, value in state.items()}
    for key in nested:
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "published.pth")
    network = model()
    report = load_published_weights(network, tmp_path / "published.pth")
    assert equal(network, state)
    assert (report.loaded, report.unused, report.missing) == (tuple(state), (), ())


def test_report_says_what_did_not_match(state):
    content = {f"seg_model.{key}": value for key, value in state.items()}
    content["seg_model.representation.0.bias"] = torch.zeros(2)
    del content["seg_model.aspp.conv2d_list.3.bias"]
    network = model()
    before = network.aspp.conv2d_list[3].bias.detach().clone()
    report = load_published_weights(network, content)
    assert report.unused == ("seg_model.representation.0.bias",)
    assert report.missing == ("aspp.conv2d_list.3.bias",)
    assert torch.equal(network.aspp.conv2d_list[3].bias, before)
    total = len(state)
    assert str(report) == (
        f"{total - 1} of {total} entries loaded; not used: seg_model.representation.0.bias; "
        "missing: aspp.conv2d_list.3.bias."
    )


def test_safetensors(tmp_path: Path, state):
    save_file(state, tmp_path / "published.safetensors")
    network = model()
    load_published_weights(network, tmp_path / "published.safetensors")
    assert equal(network, state)


def test_other_shape_names_key_and_shapes_and_changes_nothing(state):
    network = DeepLabV2(5, layers=(1, 1, 1, 1), width=4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(
        InputError, match=r"aspp\.conv2d_list\.0\.weight has shape \[3, 128, 3, 3\].*\[5, 128, 3, 3\]"
    ):
        load_published_weights(network, state)
    assert equal(network, before)


def test_nothing_in_common_is_refused():
    with pytest.raises(InputError, match=r"DeepLabV2.*decoder"):
        load_published_weights(model(), {"decoder.weight": torch.zeros(1)})


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "writer", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))]
)
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, state, writer):
    writer({"state_dict": state, "extra": Malicious(tmp_path / "owned")}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil\.pth"):
        load_published_weights(model(), tmp_path / "evil.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes, suffix: str):
    path = (tmp_path / "damaged").with_suffix(suffix)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_published_weights(model(), path)


def test_truncated_file(tmp_path: Path, state):
    torch.save(state, tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"half\.pth"):
        load_published_weights(model(), tmp_path / "half.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(1), {"model": {}}])
def test_files_without_a_state_dict(tmp_path: Path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth"):
        load_published_weights(model(), tmp_path / "other.pth")


def test_absent_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"no weights file .*absent\.pth"):
        load_published_weights(model(), tmp_path / "absent.pth")
    with pytest.raises(InputError, match="no weights file"):
        load_published_weights(model(), tmp_path)
