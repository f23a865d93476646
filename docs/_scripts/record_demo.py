"""Record commands in a terminal as an asciinema file (version 2): ``python docs/_scripts/record_demo.py [FILE]``.

Without further arguments the two commands of the README run in a temporary folder, with few steps, and the file is
docs/assets/demo.cast. ``python docs/_scripts/record_demo.py FILE COMMAND ...`` records other commands. Any asciinema
player shows the file; pauses are cut to two seconds.
"""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hiast.files import write_atomically

FILE = Path(__file__).parents[1] / "assets" / "demo.cast"
COMMANDS = (
    "hiast-data-demo data_root=data/demo train=24 val=8",
    "hiast-train +scenario=demo data_root=data/demo source_only.max_steps=60 warmup.max_steps=10 \\\n"
    "    self_training.rounds=2 self_training.max_steps=15",
)
COLUMNS, LINES = 104, 30
LONGEST_PAUSE = 2.0
"""Seconds; longer pauses are cut."""
PROMPT = "\x1b[32m$\x1b[0m "

Event = tuple[float, str, str]
"""Seconds since the start, "o", and the text that the terminal showed."""


class Recording:
    """Output of several commands, one after the other.

    Args:
        clock: Seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self._now = 0.0
        self._last = clock()

    def add(self, text: str) -> None:
        """Append output that has appeared now."""
        now = self.clock()
        self._now += min(LONGEST_PAUSE, now - self._last)
        self._last = now
        self.events.append((round(self._now, 3), "o", text))

    def to_text(self) -> str:
        """The asciinema file: a header, and one line of JSON per event."""
        header = {"version": 2, "width": COLUMNS, "height": LINES, "env": {"TERM": "xterm-256color"}}
        return "".join(json.dumps(line) + "\n" for line in (header, *self.events))


def run(command: str, recording: Recording, folder: Path) -> int:
    """Run a command in a new terminal and record what it shows.

    Returns:
        The exit code.
    """
    recording.add(f"{PROMPT}{command}\n".replace("\n", "\r\n"))
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - this is the new process
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        os.chdir(folder)
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(LINES))
        os.execvp("/bin/sh", ["/bin/sh", "-c", command])
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := _read(terminal):
        if text := decoder.decode(data):
            recording.add(text)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _read(terminal: int) -> bytes:
    """Output of a terminal; nothing when its process has ended, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def record(commands: Sequence[str], folder: Path) -> str:
    """The asciinema file of some commands.

    Raises:
        SystemExit: A command failed.
    """
    recording = Recording()
    for command in commands:
        code = run(command, recording, folder)
        if code:
            raise SystemExit(f"{command} ended with exit code {code}.")
    recording.add(PROMPT)
    return recording.to_text()


def main() -> None:
    """Record and write the file."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    with tempfile.TemporaryDirectory() as folder:
        text = record(sys.argv[2:] or COMMANDS, Path(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text.encode())
    print(f"Wrote {target}: {len(text.splitlines()) - 1} events.")


if __name__ == "__main__":
    main()
