"""Checks of the room that a reload takes on the server's disk."""

import contextlib
import os
from collections.abc import Mapping

from sparkify_bulk.database.connection import (
    is_here,
)
from sparkify_bulk.doctor.findings import Finding, NotAskedError, Subject, row, rows
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.units import readable_size, setting_size

# What a reload takes on the server's disk at its peak, as a multiple of its input's bytes: tables,
# indexes and staging; and the log it writes, by `wal_level`. Rounded up from what was measured on
# PostgreSQL 18 by looking at the data directory every 20 ms, with what benchmarks/generate.py makes
# (in MB):
#                                        songs  logs   tables   log: replica   minimal
#   --events 300000 --songs 30000          8   141      153       134              17
#   --events 1000000 --songs 5000          1   469      413       352              17
#   --events 20000 --songs 100000         27     9       88        67              50
_TABLES: Mapping[Kind, float] = {"songs": 3.0, "events": 1.0}
_LOG: Mapping[Kind, float] = {"songs": 2.5, "events": 0.9}
_MINIMAL_LOG: Mapping[Kind, float] = {"songs": 2.0, "events": 0.15}
# A checkpoint begins when about half of max_wal_size has been written since the one before.
_LOG_ROOM = 2
_GIB = 2**30
_LARGEST_LOG = 64 * _GIB
# Fewer checkpoints than these say nothing yet.
_MANY_CHECKPOINTS = 10
_MOVED = 170_000
_CHECKPOINTS = "SELECT num_timed, num_requested FROM pg_stat_checkpointer"
_CHECKPOINTS_BEFORE = "SELECT checkpoints_timed, checkpoints_req FROM pg_stat_bgwriter"


def disk(subject: Subject) -> Finding:
    """The server's disk has room for a reload of the input in addition to the existing star."""
    connection = subject.server
    wal_level, _, _ = rows(subject, "settings")[0]
    needed = int(_scaled(subject, _TABLES) + _log_size(subject, wal_level))
    about = "at least" if subject.partly else "about"
    size = readable_size(needed)
    needs = f"a reload needs {about} {size}" if needed else "no input to compare with"
    folder = _data_folder(subject)
    if folder is None:
        where = (
            "no right to read the data directory's path"
            if is_here(connection)
            else "the server is elsewhere"
        )
        raise NotAskedError(f"free disk space can't be checked: {where}; {needs}")
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    found = f"{readable_size(free)} free, {needs} ({folder})"
    hint = "make room on the server's disk, or load what is new only: sparkify-bulk load"
    if free >= 2 * needed:
        return Finding("ok", found)
    return Finding("failure" if free < needed else "warning", found, hint)


def _scaled(subject: Subject, ratios: Mapping[Kind, float]) -> float:
    return sum(size * ratios[kind] for kind, size in subject.sizes.items())


def _log_size(subject: Subject, wal_level: str) -> float:
    """Return about how much a reload makes the server log, in bytes."""
    return _scaled(subject, _MINIMAL_LOG if wal_level == "minimal" else _LOG)


def _data_folder(subject: Subject) -> str | None:
    """Return where the server keeps the database, if that is on this machine and to be seen."""
    if not is_here(subject.server):
        return None
    tablespace, data = rows(subject, "location")[0]
    folder = tablespace or data
    if not folder:
        # A server process works in its data directory, which its own account and root may know.
        with contextlib.suppress(OSError):
            folder = os.readlink(f"/proc/{subject.server.info.backend_pid}/cwd")
    return folder if folder and os.path.exists(folder) else None


def checkpoints(subject: Subject) -> Finding:
    """Checkpoints are timed, not requested: max_wal_size is large enough for a run's log."""
    has_moved = subject.server.info.server_version >= _MOVED
    timed, requested = row(subject, _CHECKPOINTS if has_moved else _CHECKPOINTS_BEFORE)
    wal_level, room, _ = rows(subject, "settings")[0]
    wanted = min(_LOG_ROOM * _log_size(subject, wal_level), _LARGEST_LOG)
    found = f"{timed} timed, {requested} requested; max_wal_size is {setting_size(room)}"
    if requested > timed and requested >= _MANY_CHECKPOINTS and wanted > room:
        hint = (
            "checkpoints during a run cost extra writes; if the disk has room, run:\n"
            f"ALTER SYSTEM SET max_wal_size = '{setting_size(_whole_gib(wanted))}';\n"
            "SELECT pg_reload_conf();"
        )
        return Finding("warning", found, hint)
    return Finding("ok", found)


def _whole_gib(size: float) -> int:
    return -int(-size // _GIB) * _GIB


def wal_level(subject: Subject) -> Finding:
    """How much the server logs: with `minimal`, a reload's new tables aren't logged."""
    level, _, _ = rows(subject, "settings")[0]
    if level == "minimal":
        return Finding("ok", "minimal: a reload's new tables aren't logged")
    return Finding("ok", f"{level}; minimal would log less, if no standby follows")
