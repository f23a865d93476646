"""Strategies for several processes: those of one machine meet at its loopback address, which no other machine reaches.

torch's rendezvous server (TCPStore) listens on all addresses of the machine and asks for no password. For processes of
one machine it is given a socket that is bound to 127.0.0.1, and gloo and NCCL are restricted to the loopback
interface. Processes that torchrun starts have met at torchrun's own address before.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy as FabricDDPStrategy
from pytorch_lightning.strategies import DDPStrategy
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported, though not by name

from hiast.errors import InputError
from hiast.ranks import is_rank_zero

LOOPBACK = "127.0.0.1"
_TIMEOUT = timedelta(minutes=30)
"""For a collective call; Lightning's default."""
_STARTER = "HIAST_STARTER"
"""Variable by which a process that Lightning starts knows the id of the first one."""


def trainer_strategy(arguments: Mapping[str, Any], **options: Any) -> Any:
    """Strategy for a ``pl.Trainer``: the one in ``arguments``, or DDP for several processes.

    Args:
        arguments: Arguments of the trainer: ``devices``, ``num_nodes``, ``strategy``.
        options: Options of DDP.
    """
    wanted = arguments.get("strategy", "auto")
    if wanted not in ("auto", "ddp") or not _several(arguments):
        return wanted
    if not _one_machine(arguments):
        return DDPStrategy(**options)
    _name_starter()
    return LoopbackDDPStrategy(**options)


def fabric_strategy(arguments: Mapping[str, Any]) -> Any:
    """Strategy for ``Fabric``, likewise."""
    wanted = arguments.get("strategy", "auto")
    if wanted not in ("auto", "ddp") or not _several(arguments) or not _one_machine(arguments):
        return wanted
    _name_starter()
    return LoopbackFabricDDPStrategy()


class LoopbackDDPStrategy(DDPStrategy):
    """DDP for processes of one machine, which meet at its loopback address."""

    def setup_environment(self) -> None:
        """Meet; Lightning then finds torch.distributed initialized."""
        meet_on_loopback(self)
        super().setup_environment()


class LoopbackFabricDDPStrategy(FabricDDPStrategy):
    """The same for ``Fabric``."""

    def setup_environment(self) -> None:
        """Meet; Fabric then finds torch.distributed initialized."""
        meet_on_loopback(self)
        super().setup_environment()


def meet_on_loopback(strategy: DDPStrategy | FabricDDPStrategy) -> None:
    """Initialize torch.distributed for the processes of one machine, unless that has been done.

    Args:
        strategy: Strategy of one node whose processes have been launched.
    """
    environment = strategy.cluster_environment
    if environment is None or strategy.num_nodes > 1 or dist.is_initialized():
        return
    end_with_starter()
    if sys.platform == "linux":
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, "lo")
    device = strategy.root_device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    rank = environment.local_rank()
    dist.init_process_group(
        strategy.process_group_backend or dist.get_default_backend_for_device(device),
        store=_rendezvous(environment.main_port, strategy.num_processes, rank == 0),
        rank=rank,
        world_size=strategy.num_processes,
        timeout=_TIMEOUT,
        device_id=None if device.type == "cpu" else device,
    )


def end_with_starter(pause: float = 1.0, grace: float = 5.0) -> None:
    """End this process soon after the first one, if that has started it.

    When the first process is killed, those that it has started would go on with their share of a prediction, or wait
    for it on a GPU.

    Args:
        pause: Seconds between two looks.
        grace: Seconds in which this process may notice by itself that the other one is gone, and say so.
    """
    starter = os.getppid()
    if os.environ.get(_STARTER) != str(starter):
        return

    def watch() -> None:
        while os.getppid() == starter:
            time.sleep(pause)
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-starter", daemon=True).start()


def check_processes(arguments: Mapping[str, Any]) -> None:
    """Refuse a number of processes, started by torchrun or srun, that the trainer does not expect.

    Otherwise each of them would train alone, and all would write into the same files.

    Args:
        arguments: Arguments of the trainer: ``devices``, ``num_nodes``.

    Raises:
        InputError: There are more or fewer processes than ``devices`` times ``num_nodes``, variables of the
            environment number this process as one of more, or srun was left out in a script of SLURM.
    """
    outside = processes_outside()
    devices = arguments.get("devices", 1)
    count = len(devices) if isinstance(devices, list) else devices
    if not str(count).isdigit():
        return
    nodes = int(arguments.get("num_nodes", 1))
    wanted = int(count) * nodes
    if outside is None:
        _check_variables(int(count), nodes)
    elif outside > 1 and not TorchElasticEnvironment.detect() and "SLURM_STEP_ID" not in os.environ:
        raise InputError(
            f"SLURM has reserved {outside} tasks, which only srun starts, and this one would wait for the others: "
            "write srun before the command."
        )
    elif outside != wanted:
        raise InputError(
            f"torchrun or srun has started {outside} processes, but trainer.devices and trainer.num_nodes ask for "
            f"{wanted}: make trainer.devices the processes of one machine and trainer.num_nodes the machines."
        )


def processes_outside() -> int | None:
    """Number of processes that torchrun or srun has started; None: neither has, and Lightning starts the others."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment().world_size()
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else None


def _check_variables(devices: int, nodes: int) -> None:
    """Refuse the number of a process that there is none of: rank zero would be missing, which writes the records."""
    started = devices * nodes if nodes > 1 else 1
    numbers = {"RANK": started, "SLURM_PROCID": started, "NODE_RANK": nodes, "LOCAL_RANK": devices}
    for name, count in numbers.items():
        value = os.environ.get(name, "0")
        if not value.isdigit() or int(value) >= count:
            raise InputError(
                f"{name}={value} in the environment makes this one of several processes, but trainer.devices and "
                f"trainer.num_nodes ask for {devices * nodes}, and neither torchrun nor srun has started it: unset "
                f"{name}, or start all processes with torchrun or srun."
            )


def _name_starter() -> None:
    if is_rank_zero():
        os.environ[_STARTER] = str(os.getpid())


def _several(arguments: Mapping[str, Any]) -> bool:
    devices = arguments.get("devices", 1)
    count = len(devices) if isinstance(devices, list) else devices
    return count not in (1, "1") or int(arguments.get("num_nodes", 1)) > 1


def _one_machine(arguments: Mapping[str, Any]) -> bool:
    return int(arguments.get("num_nodes", 1)) == 1 and not dist.is_torchelastic_launched()


def _rendezvous(port: int, world_size: int, listens: bool) -> TCPStore:
    if not listens:
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
