"""What all commands share: help, errors in one sentence, exit codes, logging."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from hiast.cli.words import folders_in, parse, wants_help
from hiast.errors import InputError
from hiast.ranks import is_rank_zero

if TYPE_CHECKING:
    from omegaconf import DictConfig

FAULT = 1
INPUT_ERROR = 2
STOPPED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
CLOSED = 128 + signal.SIGPIPE

HYDRA_USAGE = """
Options of Hydra, anywhere among the words:
  -m, --multirun                one run for each value of key=value1,value2 (launchers: hydra/launcher=joblib, ...)
  --cfg job|hydra|all           print the configuration and stop; with --resolve, --package NAME
  --info                        print how the configuration is composed
  --shell-completion install=bash
                                print the tab completion of the command: eval "$(... --shell-completion install=bash)"
  --version
HIAST_DEBUG=1 in the environment shows tracebacks.
"""


def run_command(
    job: Callable[[DictConfig], int | None],
    config_name: str,
    usage: str,
    arguments: Sequence[str] | None = None,
    *,
    bare: Sequence[str] = (),
    also: Sequence[str] = (),
) -> int:
    """Compose the configuration from the command line and run a job with it.

    Args:
        job: The work; returns an exit code or None.
        config_name: Base configuration in ``conf``.
        usage: Text of ``--help``.
        arguments: The words; None: the command line.
        bare: Keys whose values may be written without ``key=``, in this order.
        also: Further keys that a word may begin with, where a value may be written so.

    Returns:
        0, what the job returned, 2 after wrong input, 1 after a fault of the machine (each with one sentence on
        standard error), 143 after SIGTERM, 130 after Ctrl+C, 141 when nobody reads the output any more.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    _write_any_letter()
    if wants_help(words):
        return _quietly(lambda: _write(sys.stdout, f"{usage.strip()}\n{HYDRA_USAGE}"))
    if "--version" in words:
        import hiast

        return _quietly(lambda: _write(sys.stdout, f"hiast {hiast.__version__}\n"))
    # albumentations asks the network for its latest version when it is imported, unless this is set.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # What PyTorch has not written for Apple's GPUs runs on the CPU; read when torch is imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

    def work() -> int:
        from hiast.cli import app
        from hiast.cli.settings import TABLES

        line = parse(words, bare, [*TABLES.get(config_name, {}), *also])
        if not line.has("--info"):  # Hydra shows that by its own messages.
            _log_to_stderr()
        if line.has("--shell-completion"):
            line.folders += folders_in(os.environ.get("COMP_LINE", ""))
        # In a sweep Hydra says which job it starts.
        logging.getLogger("hydra").setLevel(logging.INFO if line.has("--multirun") else logging.NOTSET)
        return app.run(job, config_name, line, guard)

    guard = Guard(config_name)
    gc.disable()  # Looking for garbage among all that imports create takes a fifth of the start; see app.
    try:
        return guard(work)
    finally:
        gc.unfreeze()
        gc.enable()


class Guard:
    """Calls something and turns what it raises into a sentence and an exit code.

    Args:
        command: Name of the base configuration.

    Attributes:
        roots: Files and folders that the user has named; what is missing there is no bug.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.roots: Sequence[Path] = ()

    def __call__(self, action: Callable[[], int]) -> int:
        """Exit code of ``action``; bugs keep their traceback."""
        try:
            code = action() or 0
            sys.stdout.flush()
            return _stopped(code) if code == STOPPED else code
        except KeyboardInterrupt:
            if is_rank_zero():
                _write(sys.stderr, f"Interrupted.{_how_to_resume(self.command)}\n")
            return _stopped(INTERRUPTED)
        except Exception as error:
            answer = self._answer(error)
            if answer is None:
                raise
            return answer

    def _answer(self, error: Exception) -> int | None:
        """Exit code after an error that is recognized and reported in one sentence."""
        from hiast.cli.faults import JobFailedError, explain

        if isinstance(error, JobFailedError):
            return error.code
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return CLOSED
        if isinstance(error, InputError):
            sentence, code = _without_trace(error), INPUT_ERROR
        else:
            found = explain(error, self.command, self.roots)
            if found is None:
                return None
            sentence, code = found, FAULT
        if os.environ.get("HIAST_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(error)
        _write(sys.stderr, f"{sentence}\n")
        return code


def _how_to_resume(command: str) -> str:
    from hiast.cli.faults import RESUMING

    if command not in RESUMING:
        return ""
    same = {"train": " with the same run=DIR", "data_prepare": ""}.get(command, " with the same output=DIR")
    return f" Rerun{same} to resume."


def _stopped(code: int) -> int:
    # Lightning kills the first process when one that it has started ends with an error.
    return 0 if os.environ.get("LOCAL_RANK", "0") != "0" else code


def _write(stream: TextIO, text: str) -> int:
    with contextlib.suppress(BrokenPipeError):
        stream.write(text)
        stream.flush()
    _nobody_reads()
    return 0


def _quietly(action: Callable[[], int]) -> int:
    code = action()
    return CLOSED if _nobody_reads() else code


def _nobody_reads() -> bool:
    """Whether standard output or error is a pipe that is closed at its other end; it is then left alone for good."""
    closed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            number = stream.fileno()
            poll = select.poll()
        except (AttributeError, OSError, ValueError):  # not a file, or a system without poll
            continue
        poll.register(number, 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            closed = True
            # What is still buffered would be written, and complained about, when Python ends.
            with Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), number)
    return closed


def _open_closed_streams() -> None:
    """Give standard streams that are closed the null device; the next file would get their number, and their text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # The lowest number that is free.
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def _write_any_letter() -> None:
    """Let terminals that do not know a letter show its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _without_trace(error: Exception) -> str:
    """The message alone, where torch has wrapped an error of a loader worker into its traceback."""
    text = str(error)
    if " in DataLoader worker process " not in text:
        return text
    return re.sub(r"^[\w.]*(Error|Exception): ", "", text.strip().splitlines()[-1])


_TALKATIVE = (
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
)
"""Loggers of Lightning that write a line at each start of a trainer."""


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the time, which a notebook or a test may replace.

    A message that follows itself is written once: files that are listed several times leave out the same images.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self._before = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message unless it is that of before."""
        message = self.format(record)
        if message != self._before:
            super().emit(record)
        self._before = message

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The present standard error."""
        return sys.stderr


def _log_to_stderr() -> None:
    # Only one process of a distributed run writes messages; errors are raised in all of them.
    level = logging.INFO if is_rank_zero() else logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_StderrHandler()])
    logging.getLogger("hiast").setLevel(level)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # It warns where there is no home folder.
    # Lightning writes about devices and its own products at every start. It sets its own level when it is imported,
    # so a filter, which it leaves alone, lets only its warnings through.
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)
    # Scores are the same in all processes already, see AdaptationModule.on_validation_epoch_end.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=".*nn.functional.all_gather is deprecated.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Found .* module.* in eval mode.*")
    # A target without validation images.
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero.*")
