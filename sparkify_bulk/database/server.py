"""Which server is meant, a connection to it for a command, and what its refusals mean."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import psycopg

from sparkify_bulk.database import rights, session
from sparkify_bulk.database.connection import (
    Connection,
    connect,
    is_transient,
    libpq_is_configured,
    message_of,
    parse_conninfo,
    warn_of_weak_tls,
)
from sparkify_bulk.errors import DatabaseError, SparkifyBulkError

logger = logging.getLogger("sparkify_bulk")

# What to do about some of the errors that end a run, by SQLSTATE.
_HINTS = {
    "53100": "make room on the server's disk, then run again",
    "53200": "the server is out of memory: lower --jobs, then run again",
    "57014": "the statement was cancelled by statement_timeout or pg_cancel_backend; check the "
    "role's limits, then run again",
    "55P03": "end what holds the lock, then run again",
}


@contextlib.contextmanager
def open_connection(
    dsn: str | None,
    *schemas: str,
    privileges: Sequence[str] = ("SELECT",),
    settings: Mapping[str, str] = session.COMMAND,
) -> Iterator[Connection]:
    """Open a connection for a command that is no run, with the same server and the same errors.

    Args:
        dsn: libpq connection string or URL; None for what a run would use.
        schemas: what the command looks into.
        privileges: what it does with their tables.
        settings: what the session is set to.
    """
    address, _ = find_server(dsn)
    lacking = partial(rights.lacking_to_look, schemas=schemas, privileges=privileges)
    with (
        refusals(address, lacking),
        connect(address, settings=settings) as connection,
    ):
        warn_of_weak_tls(connection)
        rights.require_usage(connection, schemas, lacking)
        yield connection


def libpq_environment(dsn: str) -> dict[str, str]:
    """Return libpq's environment variables for a connection string.

    For programs started with it: the process list would show an argument to everybody.
    """
    return {
        option.envvar.decode(): option.val.decode()
        for option in parse_conninfo(dsn)
        if option.envvar and option.val
    }


def find_server(dsn: str | None, tell: Callable[[str], None] = logger.info) -> tuple[str, str]:
    """Return the connection string of the server to use; and its name, if it is the embedded.

    Args:
        dsn: libpq connection string or URL; None for libpq's environment, or the embedded server.
        tell: called with what is done, where that takes long.
    """
    if dsn:
        return dsn, ""
    if libpq_is_configured():
        return "", ""
    from sparkify_bulk.database import embedded  # noqa: PLC0415 - only where it is needed

    server = embedded.ensure_running(tell=tell)
    logger.warning(
        "No database named: using the EMBEDDED PostgreSQL %s, data in %s (choose with --dsn)",
        server.version,
        server.data,
    )
    return server.dsn, f"embedded PostgreSQL {server.version} in {server.home}"


@contextlib.contextmanager
def refusals(
    dsn: str, lacking: rights.Lacking, *, what: str = "command", kept: str = ""
) -> Iterator[None]:
    """Turn what the server refuses into errors that say what to do.

    Args:
        dsn: where to ask again for missing rights.
        lacking: returns the statements that give them.
        what: is under way.
        kept: says what didn't change.
    """
    try:
        yield
    # The second is what a schema of the star's looks like to a role that may not use it.
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName) as error:
        raise DatabaseError(
            f"not enough rights: {error.diag.message_primary}",
            hint=rights.find_hint(dsn, lacking),
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        advice = _HINTS.get(error.sqlstate or "", "see the server's log, then run again")
        raise DatabaseError(
            f"the database ended the {what}: {message_of(error)}",
            hint=f"{advice}; {kept}" if kept else advice,
            transient=is_transient(error),
        ) from error
    except psycopg.Error as error:
        raise SparkifyBulkError(
            "the database refused a statement: "
            f"{error.diag.message_primary or type(error).__name__} (SQLSTATE {error.sqlstate})",
            hint=kept,
        ) from error
