"""Measure a command as a whole process: wall time, CPU time of client and server, peak memory.

A process takes over the memory peak of the one that starts it, so a command is started by a small
one: this file, run as a script. It must not import anything but the standard library.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_SECONDS = 0.1
_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: wall seconds, from its start to its end.
        cpu_seconds: CPU seconds, user and system, of it and its children.
        peak_rss_bytes: the most memory that it held, its children included.
        exit_code: as a shell has it, negative for a signal.
        said: the end of what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    exit_code: int
    said: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end; whatever ends this call ends the command and its children too."""
    # In a session of its own: Ctrl-C reaches this process alone, which then ends the whole group.
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-I", "-S", __file__, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    ) as process:
        try:
            measured, said = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    tail = said[-_TAIL_BYTES:].decode(errors="replace").strip()
    if process.returncode:
        return Measured(0.0, 0.0, 0, process.returncode, tail)
    return Measured(**json.loads(measured), said=tail)


def server_cpu(backend: int) -> float | None:
    """Return the CPU seconds that a server has used; None where it doesn't run on this machine.

    Args:
        backend: the process of one of its sessions, as `pg_backend_pid()` tells it.
    """
    try:
        postmaster = _stat(backend).parent
        if not _stat(backend).name == _stat(postmaster).name == "postgres":
            return None
        living = sum(_stat(child).own for child in _children(postmaster))
        return (_stat(postmaster).own + _stat(postmaster).reaped + living) / os.sysconf(
            "SC_CLK_TCK"
        )
    except (OSError, ValueError):
        return None


# --- /proc ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stat:
    """What the kernel has on a process: CPU in clock ticks, its own and of children it buried."""

    name: str
    parent: int
    own: int
    reaped: int


def _stat(pid: int) -> _Stat:
    text = Path(f"/proc/{pid}/stat").read_text()
    # The name stands in brackets, and may hold anything.
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    user, system, user_reaped, system_reaped = (int(field) for field in fields[11:15])
    return _Stat(name, int(fields[1]), user + system, user_reaped + system_reaped)


def _children(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        # A process that ends meanwhile has been counted by its parent, or is next time.
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


# --- the small process ----------------------------------------------------------------------------


def _main() -> None:
    began = time.perf_counter()
    pid = os.posix_spawnp(
        sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
    )
    ended = threading.Event()
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(pid, ended, peak))
    watcher.start()
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    unit = 1 if sys.platform == "darwin" else 1024
    found = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        # The kernel knows the largest process to the page; only a family is sampled.
        "peak_rss_bytes": max(usage.ru_maxrss * unit, peak[0]),
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    print(json.dumps(found))  # noqa: T201 - the answer to the process that asked


def _watch(pid: int, ended: threading.Event, peak: list[int]) -> None:
    """Add up the memory of a process and its children again and again."""
    while not ended.wait(_SAMPLE_SECONDS):
        family = list(_tree(pid))
        if len(family) > 1:
            peak[0] = max(peak[0], sum(map(_resident, family)))


if __name__ == "__main__":
    _main()
