"""A process that has everything imported and forks the runs that tests ask for, one JSON request per line.

A request names folder, overrides, ranks and faults. A fault is something done at a call of a function of the program:
``{"at": "module:Class.method", "call": 2, "when": "before", "do": "kill"}``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("kill_test", ROOT / "benchmarks" / "kill_test.py")
kill_test = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kill_test)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def signal_job(name: str) -> None:
    """Signal this process and its loader workers from outside, as a batch system or a terminal does."""
    import multiprocessing
    import subprocess

    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    assert len(pids) > 1
    subprocess.run(["kill", f"-{name}", *map(str, pids)], check=True)


def small_files(size: int) -> None:
    """From here on no file may grow beyond ``size`` bytes: writing fails in the middle, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def delete(path: str) -> None:
    Path(path).unlink()


def truncate(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def poison() -> None:
    """Every loss is NaN from here on."""
    import torch

    from hiast.training import AdaptationModule, HIASTModule, SourceOnlyModule

    for kind in (SourceOnlyModule, HIASTModule):
        losses = kind.losses

        def bad(self: AdaptationModule, batch: dict, losses: object = losses) -> dict:
            terms = losses(self, batch)
            # As when an image gives infinite activations: the statistics are spoilt before the loss is known.
            for buffer in self.network.buffers():
                if buffer.is_floating_point():
                    buffer.fill_(float("nan"))
            return {name: term * torch.nan for name, term in terms.items()}

        kind.losses = bad


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)


def clock_back() -> None:
    import time

    now = time.time
    time.time = lambda: now() - 1e6


def list_sockets(file: str) -> None:
    """Write the addresses at which this process listens, as the kernel names them."""
    links = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    own = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in own and (words[3] == "0A" or table.startswith("udp")):
                found.append(words[1].split(":")[0])
    Path(file).write_text("\n".join(found))


def count_workers(file: str) -> None:
    """Write how many child processes there are."""
    import multiprocessing

    Path(file).write_text(str(len(multiprocessing.active_children())))


def kill_workers() -> None:
    import multiprocessing

    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)


ACTIONS = {
    action.__name__: action
    for action in (
        *(kill, term, small_files, delete, truncate, poison),
        *(become_nobody, clock_back, list_sockets, count_workers, kill_workers, signal_job),
    )
}


def arm(faults: list[dict]) -> None:
    for fault in faults:
        module, _, path = fault["at"].partition(":")
        holder = importlib.import_module(module)
        *outer, name = path.split(".")
        for part in outer:
            holder = getattr(holder, part)
        setattr(holder, name, _armed(getattr(holder, name), fault))


def _armed(function: object, fault: dict) -> object:
    calls = 0
    name, *arguments = fault["do"] if isinstance(fault["do"], list) else [fault["do"]]
    action = partial(ACTIONS[name], *arguments)

    def call(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        now = calls == fault.get("call", 1)
        if now and fault.get("when", "before") == "before":
            action()
        result = function(*args, **kwargs)
        if now and fault.get("when", "before") == "after":
            action()
        return result

    return call


def run_main(name: str, words: Sequence[str]) -> int:
    """Exit code of another command of the library."""
    sys.argv = [f"hiast-{name}", *words]
    try:
        importlib.import_module(f"hiast.cli.{name}").main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def prepare(request: dict, rank: int) -> None:
    if request["ranks"] > 1:
        os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(request["port"]))
    if rank == request.get("faulty_rank", 0):
        arm(request["faults"])


def command(request: dict) -> Callable[[Sequence[str]], int]:
    return partial(run_main, request["command"]) if request.get("command") else kill_test.train


def main() -> None:
    kill_test.preload()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        children = [
            kill_test.start(
                folder,
                request["overrides"],
                partial(prepare, request, rank),
                f"log_{rank}.txt",
                command(request),
            )
            for rank in range(request["ranks"])
        ]
        codes = [kill_test.wait(child) for child in children]
        answers.write(json.dumps(codes) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
