"""Checks of the server: whether a run can work with it, and as whom."""

import time
from datetime import UTC, datetime

from sparkify_bulk.database import session
from sparkify_bulk.database.connection import (
    OLDEST_SERVER,
    connect,
    connections_of_run,
    default_is_read_only,
    describe,
    is_pooled,
    leads_here,
    name_target,
    reset_statements,
    weak_tls,
)
from sparkify_bulk.database.server import find_server
from sparkify_bulk.doctor.findings import Finding, Subject, row, rows, some
from sparkify_bulk.errors import DatabaseError
from sparkify_bulk.settings import default_jobs
from sparkify_bulk.tables import LAST_LOAD, NAMES

_CLOCK_SECONDS = 2.0


def server(subject: Subject) -> Finding:
    """The server can be reached, and this user may connect to the database."""
    try:
        address, embedded = find_server(subject.dsn)
        subject.target = embedded or name_target(address)
        subject.connection = connect(address, settings=session.COMMAND)
    except DatabaseError as error:
        return Finding("failure", error.message, error.hint)
    subject.target = embedded or describe(subject.connection)
    return Finding("ok", f"reached as {describe(subject.connection)}")


def version(subject: Subject) -> Finding:
    """The server's version of PostgreSQL is supported."""
    number = subject.server.info.server_version
    found = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    if number // 10_000 < OLDEST_SERVER:
        return Finding("failure", f"{found} is too old", f"use PostgreSQL {OLDEST_SERVER} or later")
    return Finding("ok", found)


def encoding(subject: Subject) -> Finding:
    """The database is encoded in UTF-8."""
    (found,) = row(subject, "SELECT current_setting('server_encoding')")
    if found != "UTF8":
        hint = "make another: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;"
        return Finding("failure", f"{found}, not UTF8", hint)
    return Finding("ok", found)


def writes(subject: Subject) -> Finding:
    """The server accepts writes: it isn't a standby or read-only by default."""
    (standby,) = row(subject, "SELECT pg_is_in_recovery()")
    if standby:
        return Finding("failure", "the server is a standby", "name the primary by --dsn")
    if default_is_read_only(subject.server):
        hint = (
            "a run overrides this; some services set default_transaction_read_only when a disk is "
            "full, so check free disk space"
        )
        return Finding("warning", "transactions are read-only by default", hint)
    return Finding("ok", "the server is a primary")


def session_settings(subject: Subject) -> Finding:
    """Settings of role, database or connection string that a run overrides, or can't override."""
    server = subject.server
    if server.refused:
        found = ", ".join(f"{name} = {value}" for name, value in server.refused.items())
        hint = "\n".join(["have an administrator run this:", *reset_statements(server)])
        return Finding("failure", f"{server.info.user} can't override: {found}", hint)
    overridden = rows(subject, "overridden", names=list(session.RUN))
    if not overridden:
        return Finding("ok", "none that affects a run")
    return Finding("ok", f"overridden by runs: {some([f'{n} = {v}' for n, v in overridden])}")


def rights(subject: Subject) -> Finding:
    """The role has all rights that a run needs; else the statements that grant those missing."""
    names = subject.schemas
    lacking = rows(
        subject,
        "rights",
        star=names.star,
        schemas=[names.star, names.build, names.staging, names.ledger],
        tables=[*NAMES, LAST_LOAD.name],
        mark=names.mark(""),
    )
    user = subject.server.info.user
    if not lacking:
        return Finding("ok", f"{user} has all that a run needs")
    given = "\n".join(statement for _, statement in lacking)
    lacks = some([lack for lack, _ in lacking])
    hint = f"have an administrator run this in this database:\n{given}"
    return Finding("failure", f"{user} lacks {lacks}", hint)


def tls(subject: Subject) -> Finding:
    """Nobody can intercept the connection or impersonate the server."""
    connection = subject.server
    if weakness := weak_tls(connection):
        return Finding("warning", weakness, "use sslmode=verify-full, and name sslrootcert")
    if not leads_here(connection):
        return Finding("ok", "encrypted, and the server is verified")
    return Finding("ok", "not needed: the connection stays on this machine")


def connections(subject: Subject) -> Finding:
    """A run can get as many connections as it needs; whether it connects through a pooler."""
    needed = connections_of_run(default_jobs())
    takes = f"a run takes {needed}"
    if is_pooled(subject.server):
        return Finding(
            "ok", f"connected through a pooler: {takes} of its server connections at a time"
        )
    ((free,),) = rows(subject, "connections")
    if free < needed:
        hint = "end others, lower --jobs, or raise max_connections or the limit of role or database"
        return Finding("warning", f"{max(free, 0)} are free, {takes}", hint)
    return Finding("ok", f"no pooler; {takes}, {free} are free")


def clock(subject: Subject) -> Finding:
    """The clocks of client and server agree within two seconds."""
    before = time.time()
    (there,) = row(subject, "SELECT extract(EPOCH FROM clock_timestamp())::double precision")
    after = time.time()
    ahead = there - (before + after) / 2
    if abs(ahead) > _CLOCK_SECONDS + (after - before) / 2:
        word = "ahead of" if ahead > 0 else "behind"
        hint = "synchronise both clocks by NTP; ages and run times are wrong by this much"
        return Finding(
            "warning", f"the server's clock is {abs(ahead):.1f} s {word} this machine's", hint
        )
    return Finding("ok", f"they agree within {_CLOCK_SECONDS:.0f} s")


def time_zone(subject: Subject) -> Finding:
    """The time zones of client and server; runs always write UTC."""
    _, _, there = rows(subject, "settings")[0]
    here = datetime.now(UTC).astimezone()
    return Finding("ok", f"server {there}, here {here:%Z}; runs write UTC")
