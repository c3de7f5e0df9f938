"""One contender's turn: it loads the tree, and its star is compared with the product's."""

import sys
from dataclasses import dataclass

from sparkify_bulk.bench.contenders import FLOOR, BenchError, Contender
from sparkify_bulk.bench.equality import differences
from sparkify_bulk.bench.ground import Ground, checkpoint, drop
from sparkify_bulk.bench.measure import Measured, measure, server_cpu
from sparkify_bulk.database.connection import Connection

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_DONE, _DONE_WITH_REJECTS = 0, 3


@dataclass(frozen=True, slots=True)
class Time:
    """What one contender took in one round; `server_cpu_seconds` is None for a server elsewhere."""

    round: int
    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float | None
    peak_rss_bytes: int


def compete(ground: Ground, contender: Contender, number: int = 1) -> Time:
    """Let a contender load the tree; compare its star with the product's; drop it.

    Raises:
        BenchError: it failed, or its star is another.
    """
    checkpoint(ground.connection)
    before = _server_cpu(ground.connection)
    measured = launch(ground, contender)
    after = _server_cpu(ground.connection)
    judge(ground, contender, measured)
    used = None if before is None or after is None else round(after - before, 2)
    return Time(
        number,
        round(measured.seconds, 3),
        round(measured.cpu_seconds, 3),
        used,
        measured.peak_rss_bytes,
    )


def launch(ground: Ground, contender: Contender) -> Measured:
    """Let a contender load the tree into a schema of its own."""
    schema = _schema(ground, contender)
    if contender.script is None:
        reload = ["-m", "sparkify_bulk", "reload", str(ground.data), "--quiet"]
        command = [sys.executable, *reload, "--dsn", ground.place.dsn, "--schema", schema]
    else:
        command = [sys.executable, str(contender.script), ground.place.dsn, schema]
        if contender.name != FLOOR:
            command.append(str(ground.data))
        else:
            command += [str(ground.floor), *([] if ground.floor_reads else ["--stdin"])]
    return measure(command, ground.place.environment)


def judge(ground: Ground, contender: Contender, measured: Measured) -> None:
    """Compare a contender's star with the product's, and drop it.

    Raises:
        BenchError: the contender failed, or its star is another.
    """
    schema = _schema(ground, contender)
    try:
        done = (_DONE, _DONE_WITH_REJECTS) if contender.script is None else (_DONE,)
        if measured.exit_code not in done:
            last = (measured.said.splitlines() or ["it said nothing"])[-1]
            raise BenchError(f"{contender.name} failed with code {measured.exit_code}: {last}")
        if found := differences(ground.connection, schema, ground.star):
            raise BenchError(f"{contender.name} made another star: {'; '.join(found)}")
    finally:
        drop(ground.connection, schema)


def _schema(ground: Ground, contender: Contender) -> str:
    return f"{ground.place.prefix}_{contender.name.replace('-', '_')}"


def _server_cpu(connection: Connection) -> float | None:
    """Return the server's CPU seconds so far, where it runs on this machine."""
    host = connection.info.host
    local = not host or host.startswith("/") or host in _LOCAL_HOSTS
    return server_cpu(connection.info.backend_pid) if local else None
