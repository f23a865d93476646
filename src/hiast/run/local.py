"""Several processes of one machine that meet over its loopback address, where no other machine can listen."""

from __future__ import annotations

import os
import socket
import sys

import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported, though not by name

LOOPBACK = "127.0.0.1"


class LocalDDPStrategy(DDPStrategy):
    """DDP whose processes run on one machine.

    torch's meeting point (TCPStore) listens at all addresses of the machine, to whoever asks, without a password.
    Here it is given a socket that is bound to the loopback address; gloo and NCCL are kept to that interface too.
    """

    def setup_distributed(self) -> None:
        """Meet at the loopback address; what comes after is the same as in any DDP."""
        environment = self.cluster_environment
        if environment is not None and self.num_nodes == 1 and not dist.is_initialized():
            self.set_world_ranks()
            if sys.platform == "linux":
                for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                    os.environ.setdefault(variable, "lo")
            dist.init_process_group(
                self._get_process_group_backend(),
                store=_meeting_point(environment.main_port, self.world_size, self.global_rank == 0),
                rank=self.global_rank,
                world_size=self.world_size,
                timeout=self._timeout,
                device_id=None if self.root_device.type == "cpu" else self.root_device,
            )
        super().setup_distributed()


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
