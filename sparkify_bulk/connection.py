"""Open connections that are fit for a run, and say clearly why one can't be had."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, ConninfoOption

from sparkify_bulk.errors import DatabaseError

OLDEST_SERVER = 14
# A pulled cable ends the connection after 14 s; libpq's defaults wait for hours.
_DEFAULTS = {
    "application_name": "sparkify_bulk",
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "14000",
}
_LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
_HERE = ("localhost", "127.0.0.1", "::1")
_MAINTENANCE_DATABASES = ("postgres", "template1")
_PASSWORD_IN_TEXT = re.compile(r"(?i)(password\s*=\s*|://[^\s:/@]*:)('[^']*'|[^\s@'\"]+)")

Connection = psycopg.Connection[tuple[Any, ...]]


def libpq_is_configured() -> bool:
    """Tell whether libpq's own environment names a server."""
    return any(os.environ.get(name) for name in _LIBPQ_VARIABLES)


def connect(dsn: str, *, create_database: bool = False) -> Connection:
    """Open a connection in autocommit mode.

    Args:
        dsn: libpq connection string or URL; empty for libpq's environment.
        create_database: make the database first if it doesn't exist.

    Raises:
        DatabaseError: the string can't be read, or the server can't be reached or refused.
    """
    conninfo = _conninfo(dsn)
    try:
        return _open(conninfo)
    except psycopg.OperationalError as error:
        missing = _missing_database(conninfo)
        if missing is None:
            raise DatabaseError(_redact(_first_line(error)), hint=_hint(error)) from None
        maintenance, name = missing
        if not create_database:
            raise DatabaseError(
                f'the database "{name}" does not exist', hint="add --create-database to make it"
            ) from None
        _create_database(maintenance, name)
        return _open(conninfo)


def parse_conninfo(dsn: str) -> list[ConninfoOption]:
    """Take a connection string apart.

    Raises:
        DatabaseError: it can't be read; the string isn't quoted.
    """
    try:
        return Conninfo.parse(dsn.encode())
    except psycopg.OperationalError:
        # The original message quotes the string, and with it perhaps the password.
        raise DatabaseError(
            "the connection string can't be read",
            hint="write it as postgresql://user@host:port/database or as host=… dbname=… user=…",
        ) from None


def _conninfo(dsn: str) -> str:
    """Complete a connection string; what it says itself comes first."""
    given = {
        option.keyword.decode(): option.val.decode()
        for option in parse_conninfo(dsn)
        if option.val is not None
    }
    # Bytes on the wire are UTF-8 whatever the environment says: frames hold nothing else.
    return make_conninfo("", **(_DEFAULTS | given | {"client_encoding": "UTF8"}))


def _open(conninfo: str) -> Connection:
    # No prepared statements: behind a pooler they outlive the server session they were made in.
    connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    # Roles and databases may set others, in which psycopg doesn't read times.
    connection.execute("SET datestyle = 'ISO'; SET timezone = 'UTC'")
    return connection


def _missing_database(conninfo: str) -> tuple[str, str] | None:
    """If the server answers but lacks the database, say where to make it, and its name."""
    wanted = conninfo_to_dict(conninfo).get("dbname") or os.environ.get("PGDATABASE")
    if not wanted:
        return None
    for database in _MAINTENANCE_DATABASES:
        maintenance = make_conninfo(conninfo, dbname=database)
        try:
            with _open(maintenance) as connection:
                query = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
                if connection.execute(query, (wanted,)).fetchone():
                    return None
                return maintenance, str(wanted)
        except psycopg.OperationalError:
            continue
    return None


def _create_database(maintenance: str, name: str) -> None:
    create = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
    try:
        with _open(maintenance) as connection:
            connection.execute(create.format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise DatabaseError(
            f'the database "{name}" can\'t be made: {_redact(_first_line(error))}',
            hint="let somebody with the right CREATEDB make it",
        ) from None


def check_server(connection: Connection) -> None:
    """Refuse a server on which a star can't be kept right.

    Raises:
        DatabaseError: too old, not UTF-8, or read-only.
    """
    version = connection.info.server_version // 10000
    if version < OLDEST_SERVER:
        raise DatabaseError(
            f"the server is PostgreSQL {version}",
            hint=f"version {OLDEST_SERVER} or later is needed",
        )
    encoding, recovering = _row(
        connection,
        "SELECT pg_catalog.current_setting('server_encoding'), pg_catalog.pg_is_in_recovery()",
    )
    if encoding != "UTF8":
        raise DatabaseError(
            f'the database "{connection.info.dbname}" is encoded in {encoding}, not UTF8',
            hint="make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )
    if recovering:
        raise DatabaseError(
            "the server is a standby: it takes no writes", hint="name the primary by --dsn"
        )


def describe(connection: Connection) -> str:
    """Name a connection's server and database, without any password."""
    info = connection.info
    where = info.host or "local socket"
    port = "" if where.startswith("/") else f":{info.port}"
    return f"{info.user}@{where}{port}/{info.dbname}"


def backend_seconds(connections: Iterable[Connection]) -> float | None:
    """Return the processor time that the server processes of connections have used so far.

    None where it can't be known: the server runs elsewhere, or under another kind of system.
    """
    total = 0.0
    for connection in connections:
        status = _backend_status(connection)
        if status is None:
            return None
        # See proc(5): the fields after the name begin with the third; utime and stime are 14, 15.
        user, system = status[11:13]
        total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def is_here(connection: Connection) -> bool:
    """Tell whether the server is known to run on this machine."""
    return _backend_status(connection) is not None


def _backend_status(connection: Connection) -> list[str] | None:
    """Return what Linux tells of a connection's server process after its name."""
    host = connection.info.host
    if host and not host.startswith("/") and host not in _HERE:
        return None
    try:
        status = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
    except OSError:
        return None
    name, _, rest = status.partition("(")[2].rpartition(")")
    # A port may be forwarded from elsewhere: the number is another process's here.
    return rest.split() if name.startswith("postgres") else None


def _row(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    return row or ()


def _first_line(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("connection is bad: ") if lines else type(error).__name__


def _hint(error: psycopg.OperationalError) -> str:
    connection = error.pgconn
    if connection is not None and connection.needs_password:
        return "a password is needed: give it by PGPASSWORD, ~/.pgpass or a service file"
    if connection is not None and connection.used_password:
        return "check user and password (PGPASSWORD, ~/.pgpass, service file or --dsn)"
    return "check host, port and user, and that the server is running and lets this machine in"


def _redact(text: str) -> str:
    return _PASSWORD_IN_TEXT.sub(r"\1***", text)
