"""Find out, without writing anything, whether a run would go well: one check after the other.

A check is a function that looks at the subject and returns what it found. Its docstring is the line
that the documentation has of it. Each runs in a transaction of its own, read-only, in which plain
names mean `pg_catalog`'s; what it can't see it says so, and the next one goes on.
"""

from collections.abc import Callable
from datetime import timedelta

from sparkify_bulk.doctor import inputs, room, server, star
from sparkify_bulk.doctor.findings import Diagnosis, Finding, Subject, ask
from sparkify_bulk.redaction import redact
from sparkify_bulk.settings import schemas

# In this order; the input is looked at before the room that it takes.
CHECKS: tuple[Callable[[Subject], Finding], ...] = (
    server.server,
    server.version,
    server.encoding,
    server.writes,
    server.session_settings,
    server.rights,
    server.tls,
    server.connections,
    server.clock,
    server.time_zone,
    star.star,
    star.record,
    star.neighbours,
    star.dependents,
    star.lock,
    star.leftovers,
    star.last_run,
    star.newest_event,
    inputs.songs,
    inputs.logs,
    room.disk,
    room.checkpoints,
    room.wal_level,
)


def diagnose(
    *,
    dsn: str | None,
    schema: str,
    songs: str | None = None,
    logs: str | None = None,
    follow_links: bool = False,
    max_age: timedelta | None = None,
) -> Diagnosis:
    """Look at everything a run needs. Nothing is written, and no lock is taken that others mind.

    Raises:
        UsageError: no star can be named so.
    """
    subject = Subject(dsn, schemas(schema), songs, logs, follow_links, max_age)
    try:
        findings = tuple(ask(subject, check) for check in CHECKS)
        reached = subject.connection is not None and not subject.connection.closed
        return Diagnosis(redact(subject.target), findings, reached)
    finally:
        if subject.connection is not None:
            subject.connection.close()
