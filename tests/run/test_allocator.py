"""glibc is set to keep freed memory, unless the user sets something else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import hiast.run.allocator
from hiast.run.allocator import is_glibc

PROGRAM = """
import resource, runpy
import numpy as np
# The file alone: it needs nothing else of the library, whose import takes seconds.
found = runpy.run_path({file!r})
allocator, keep_freed_memory = found["allocator"], found["keep_freed_memory"]
if {keep}:
    print(keep_freed_memory(), keep_freed_memory())
for _ in range(3):
    np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(allocator())
"""


def run(keep: bool, **environment: str) -> list[str]:
    known = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROGRAM.format(keep=keep, file=hiast.run.allocator.__file__)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=known | environment)
    return result.stdout.splitlines()


@pytest.mark.skipif(not is_glibc(), reason="the C library is not glibc")
def test_pages_are_not_faulted_in_again() -> None:
    faults, _ = run(keep=False)
    answer, kept_faults, name = run(keep=True)
    assert answer == "True True" and "freed memory kept" in name
    assert int(kept_faults) < int(faults) / 10


@pytest.mark.skipif(not is_glibc(), reason="the C library is not glibc")
def test_the_settings_of_the_user_stay() -> None:
    answer, _, name = run(keep=True, MALLOC_MMAP_MAX_="10")
    assert answer == "False False" and "MALLOC_MMAP_MAX_=10" in name
