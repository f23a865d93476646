"""Several processes of one machine that meet over its loopback address, where no other machine can listen."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy as FabricDDPStrategy
from pytorch_lightning.strategies import DDPStrategy
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported, though not by name

from hiast.errors import InputError

LOOPBACK = "127.0.0.1"


def trainer_strategy(arguments: Mapping[str, Any], **options: Any) -> Any:
    """The strategy of a ``pl.Trainer`` that is made with ``arguments``: what they say, or DDP as here.

    Args:
        arguments: Trainer arguments: ``devices``, ``num_nodes``, ``strategy``.
        options: For DDP.
    """
    wanted = arguments.get("strategy", "auto")
    if wanted not in ("auto", "ddp") or not _several(arguments):
        return wanted
    return LocalDDPStrategy(**options) if _one_machine(arguments) else DDPStrategy(**options)


def fabric_strategy(arguments: Mapping[str, Any]) -> Any:
    """Likewise for ``Fabric``."""
    wanted = arguments.get("strategy", "auto")
    if wanted not in ("auto", "ddp") or not _several(arguments) or not _one_machine(arguments):
        return wanted
    return LocalFabricDDPStrategy()


class LocalDDPStrategy(DDPStrategy):
    """DDP whose processes run on one machine.

    torch's meeting point (TCPStore) listens at all addresses of the machine, to whoever asks, without a password.
    Here it is given a socket that is bound to the loopback address; gloo and NCCL are kept to that interface too.
    """

    def setup_distributed(self) -> None:
        """Meet at the loopback address; what comes after is the same as in any DDP."""
        self.set_world_ranks()
        _meet(self)
        super().setup_distributed()


class LocalFabricDDPStrategy(FabricDDPStrategy):
    """The same for ``Fabric``."""

    def _setup_distributed(self) -> None:
        self._set_world_ranks()
        _meet(self)
        super()._setup_distributed()


def _meet(strategy: DDPStrategy | FabricDDPStrategy) -> None:
    environment = strategy.cluster_environment
    if environment is None or strategy.num_nodes > 1 or dist.is_initialized():
        return
    if sys.platform == "linux":
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, "lo")
    world_size, rank = environment.world_size(), environment.global_rank()
    dist.init_process_group(
        strategy._get_process_group_backend(),
        store=_meeting_point(environment.main_port, world_size, rank == 0),
        rank=rank,
        world_size=world_size,
        timeout=strategy._timeout,
        device_id=None if strategy.root_device.type == "cpu" else strategy.root_device,
    )


def check_processes(arguments: Mapping[str, Any]) -> None:
    """Refuse processes that torchrun or srun has started and that the trainer would not know of.

    Each of them would train alone, into the same files.

    Args:
        arguments: Trainer arguments: ``devices``, ``num_nodes``.

    Raises:
        InputError: There are more or fewer than ``devices`` on ``num_nodes``.
    """
    outside = processes_outside()
    devices = arguments.get("devices", 1)
    count = len(devices) if isinstance(devices, list) else devices
    if outside is None or not str(count).isdigit():
        return
    wanted = int(count) * int(arguments.get("num_nodes", 1))
    if outside != wanted:
        raise InputError(
            f"torchrun or srun has started {outside} processes, but trainer.devices and trainer.num_nodes ask for "
            f"{wanted}: make trainer.devices the processes of one machine and trainer.num_nodes the machines."
        )


def processes_outside() -> int | None:
    """How many processes torchrun or srun has started; None: this one is alone, or Lightning starts the others."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment().world_size()
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else None


def _several(arguments: Mapping[str, Any]) -> bool:
    devices = arguments.get("devices", 1)
    count = len(devices) if isinstance(devices, list) else devices
    return count not in (1, "1") or int(arguments.get("num_nodes", 1)) > 1


def _one_machine(arguments: Mapping[str, Any]) -> bool:
    return int(arguments.get("num_nodes", 1)) == 1 and not dist.is_torchelastic_launched()


def _meeting_point(port: int, world_size: int, first: bool) -> TCPStore:
    if not first:
        return TCPStore(LOOPBACK, port, world_size, is_master=False)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((LOOPBACK, port))
    listening.listen()
    return TCPStore(
        LOOPBACK,
        port,
        world_size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )
