"""What all commands share: help, errors in one sentence, exit codes, logging."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hiast.errors import InputError, RunError
from hiast.ranks import is_rank_zero

if TYPE_CHECKING:
    from omegaconf import DictConfig

FAULT = 1
INPUT_ERROR = 2
STOPPED = 128 + signal.SIGTERM

_FAULTS = (
    (
        r"DataLoader worker .*(killed by signal|exited unexpectedly)",
        "A loader worker was killed, most often because memory ran out: the same command goes on; if it happens "
        "again, free memory or use a smaller data.num_workers.",
    ),
    (
        r"[Cc]onnection (closed|reset|refused)|Broken pipe|remote process (has terminated|exiting)"
        r"|DDP expects same model|[Tt]imed out|socket has timed out|Interrupted system call",
        "Another process of this run has ended: its own message says why. The same command goes on.",
    ),
)
"""Errors of torch that say how the machine is doing, and what to tell the user."""


def run_command(
    job: Callable[[DictConfig], int | None],
    config_name: str,
    usage: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Compose the configuration from the command line and run a job with it.

    Args:
        job: The work; returns an exit code or None.
        config_name: Base configuration in ``conf``.
        usage: Text of ``--help``.
        arguments: Hydra overrides; None: the command line.

    Returns:
        0, what the job returned, 2 after wrong input, 1 after a fault of the machine (each with one sentence on
        standard error), 143 when told to stop.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if any(word in ("-h", "--help") for word in words):
        sys.stdout.write(usage.strip() + "\n")
        return 0
    _log_to_stderr()
    # Asked on import, and answered over the network, unless it is said that nobody wants to know.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    from hiast.cli.config import compose

    try:
        show = "--cfg" in words
        config = compose(config_name, [word for word in words if word != "--cfg"])
        if show:
            from omegaconf import OmegaConf

            sys.stdout.write(OmegaConf.to_yaml(config))
            return 0
        code = job(config) or 0
        return _stopped(code) if code == STOPPED else code
    except InputError as error:
        sys.stderr.write(f"{_without_trace(error)}\n")
        return INPUT_ERROR
    except (OSError, RuntimeError) as error:
        sentence = _fault(error)
        if sentence is None:
            raise
        sys.stderr.write(f"{sentence}\n")
        return FAULT
    except KeyboardInterrupt:
        if is_rank_zero():
            sys.stderr.write(
                "Stopped. The same command goes on from here, with the same run=DIR or output=DIR.\n"
            )
        return _stopped(128 + signal.SIGINT)


def _stopped(code: int) -> int:
    # Lightning kills the first process when one that it has started ends with an error.
    return 0 if os.environ.get("LOCAL_RANK", "0") != "0" else code


def _fault(error: OSError | RuntimeError) -> str | None:
    """What happened to the machine or to another process, in a sentence; None: it may be a mistake of the program."""
    if isinstance(error, RunError):
        return str(error)
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        what = f"{error.strerror or _without_trace(error)}{place}"
        return f"{what}: what is complete is kept; the same command goes on when that is put right."
    return next((sentence for pattern, sentence in _FAULTS if re.search(pattern, str(error))), None)


def _without_trace(error: Exception) -> str:
    """The message alone, where torch has wrapped an error of a loader worker into its traceback."""
    text = str(error)
    if " in DataLoader worker process " not in text:
        return text
    return re.sub(r"^[\w.]*(Error|Exception): ", "", text.strip().splitlines()[-1])


def _log_to_stderr() -> None:
    # Only one process of a distributed run speaks; errors are raised in all of them.
    level = logging.INFO if is_rank_zero() else logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("hiast").setLevel(level)
    # Lightning talks about devices and its own products at every start. It sets its own level when it is imported,
    # so a filter, which it leaves alone, lets only its warnings through.
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)
    # Scores are the same in all processes already, see AdaptationModule.on_validation_epoch_end.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=".*nn.functional.all_gather is deprecated.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Found .* module.* in eval mode.*")
