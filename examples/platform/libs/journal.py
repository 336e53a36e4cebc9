"""A record of which syncs ran when, for rehearsals: off unless IAC_JOURNAL names a file."""

import fcntl
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator


def _append(journal: str, line: str) -> None:
    # One write to a file opened for appending: lines of different processes never mix.
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (line + "\n").encode("utf-8"))
    finally:
        os.close(descriptor)


def _commit(folder: Path) -> str:
    git = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "-"
    return found.stdout.decode("ascii", "replace").strip() or "-"


@contextmanager
def recorded(service: str, folder: Path) -> Iterator[None]:
    """Writes `start` and `end` lines around a sync, and OVERLAP when two of one service run at once.

    A line is `start <service> <commit> <pid> <monotonic nanoseconds> <run id>`. A sync that raises writes `failed` in
    place of `end`; a killed one leaves neither. An environment that has a name has a journal of its own.
    """
    journal = os.environ.get("IAC_JOURNAL")
    if not journal:
        yield
        return
    environment = os.environ.get("IAC_ENVIRONMENT")
    if environment:
        journal = f"{journal}.{environment}"
    commit = _commit(folder)
    run = os.environ.get("IAC_RUN_ID", "-")
    ending = "failed"
    scratch = open(f"{journal}.{service.replace('/', '.')}.lock", "w")
    with scratch:
        try:
            fcntl.flock(scratch, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _append(journal, f"OVERLAP {service}")
        _append(journal, f"start {service} {commit} {os.getpid()} {time.monotonic_ns()} {run}")
        try:
            yield
            ending = "end"
        finally:
            _append(journal, f"{ending} {service} {commit} {os.getpid()} {time.monotonic_ns()} {run}")
