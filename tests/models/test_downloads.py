"""Weights without a network: one sentence at once, or the files that were downloaded before."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from hiast.errors import InputError
from hiast.models import DAFormer, DeepLabV2, SmpNetwork
from hiast.models.downloads import downloading, hub_reachable

OFFLINE = r"no network: backbone=efficientnet_lite0_fpn needs no download"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No connection, an empty cache, and no waiting between retries."""

    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    def wait(seconds: float) -> None:
        raise AssertionError(f"waits {seconds} s")

    monkeypatch.setattr("hiast.models.downloads.create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(time, "sleep", wait)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmpNetwork("FPN", "resnet18"), r"imagenet of encoder resnet18 .*{}.*backbone\.weights=null"),
        (
            lambda: SmpNetwork("FPN", "tu-resnet18.a1_in1k"),
            r"tu-resnet18\.a1_in1k .*{}.*backbone\.weights=/path",
        ),
        (lambda: DAFormer("mit_b0"), r"imagenet of encoder mit_b0 .*{}"),
        (
            lambda: DeepLabV2(3, "imagenet", (3, 4, 6, 3)),
            r"resnet50\.tv_in1k .*{}.*backbone\.pretrained=null",
        ),
    ],
)
def test_without_network_it_is_said_at_once(no_network: None, make, message: str):
    with pytest.raises(InputError, match=message.format(OFFLINE)):
        make()
    assert not constants.HF_HUB_OFFLINE


def test_files_that_were_downloaded_before_need_no_network(no_network: None, tmp_path: Path):
    donor = timm.create_model("resnet18")
    folder = tmp_path / "models--timm--resnet18.a1_in1k"
    for part in ("refs", "snapshots/0a1b"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text("0a1b")
    save_file(donor.state_dict(), folder / "snapshots" / "0a1b" / "model.safetensors")
    network = SmpNetwork("FPN", "tu-resnet18.a1_in1k")
    assert torch.equal(network.encoder.model.layer3[0].conv2.weight, donor.layer3[0].conv2.weight)


def test_a_download_that_fails_otherwise_is_not_called_a_missing_network(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hiast.models.downloads.hub_reachable", lambda: True)
    with (
        pytest.raises(InputError, match=r"^The weights could not be downloaded: backbone=.*; or pray\."),
        downloading("The weights", "pray"),
    ):
        raise FileNotFoundError("404")


def test_other_errors_pass(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hiast.models.downloads.hub_reachable", lambda: False)
    with pytest.raises(ZeroDivisionError), downloading("The weights", "pray"):
        raise ZeroDivisionError
    assert not constants.HF_HUB_OFFLINE


def test_reachable_by_a_listening_port_and_through_a_proxy(monkeypatch: pytest.MonkeyPatch):
    for name in (
        "https_proxy",
        "HTTPS_PROXY",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        port = server.getsockname()[1]
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        assert hub_reachable()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody}")
        assert not hub_reachable()
        monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert hub_reachable()
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{nobody}")
        assert not hub_reachable()
