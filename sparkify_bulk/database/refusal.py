"""Ask a server once more why it refuses a connection: by its code, not its message.

libpq gives only the text of such a refusal, which comes in the language of the server. What it
writes to a trace of the connection has the code, too.
"""

import contextlib
import os
import re
import select
import tempfile
import time
from collections.abc import Iterator

import psycopg
from psycopg.pq import ConnStatus, PGconn, PollingStatus, Trace

LET_IN = "00000"
_SECONDS = 10.0
_ERROR = re.compile(r'^B\t\S+\tErrorResponse\t.*? C "(\w{5})" M "(.*)', re.MULTILINE)
# pgbouncer has one code for all it refuses, and its messages are in English always.
_OF_POOLER = "08P01"
_POOLER_IS_FULL = re.compile(
    r"no more connections allowed|query_wait_timeout|server_login_retry|login has been failing"
)
TOO_MANY = "53300"


def refusal_code(conninfo: str) -> str | None:
    """Return the SQLSTATE by which a server refuses a connection.

    `LET_IN` if it does so no longer; None if it says nothing, or libpq can't tell.
    """
    with _trace_file() as file:
        try:
            is_let_in = _knock(conninfo, file)
        except psycopg.Error:
            return None
        if is_let_in:
            return LET_IN
        os.lseek(file, 0, os.SEEK_SET)
        with os.fdopen(os.dup(file), errors="replace") as trace:
            found = _ERROR.findall(trace.read())
    if not found:
        return None
    code, message = found[-1]
    if code == _OF_POOLER and _POOLER_IS_FULL.search(message):
        return TOO_MANY
    return str(code)


def _knock(conninfo: str, trace: int) -> bool:
    """Try to connect, and tell whether that went well."""
    connection = PGconn.connect_start(conninfo.encode())
    deadline = time.monotonic() + _SECONDS
    try:
        if connection.status == ConnStatus.BAD:
            return False
        connection.trace(trace)
        connection.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        while (left := deadline - time.monotonic()) > 0:
            state = connection.connect_poll()
            if state in (PollingStatus.OK, PollingStatus.FAILED):
                return state == PollingStatus.OK
            reading = [connection.socket] if state == PollingStatus.READING else []
            writing = [] if reading else [connection.socket]
            select.select(reading, writing, [], left)
        return False
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.untrace()
        connection.finish()


@contextlib.contextmanager
def _trace_file() -> Iterator[int]:
    """Make a file that is nowhere on disk, where that can be had: a password may come into it."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("trace")
        try:
            yield file
        finally:
            os.close(file)
    else:
        with tempfile.TemporaryFile() as temporary:
            yield temporary.fileno()
