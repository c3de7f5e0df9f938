"""Open connections that are fit for a run, and say clearly why one can't be had."""

import contextlib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, ConninfoOption

from sparkify_bulk.database import session
from sparkify_bulk.database.refusal import LET_IN, TOO_MANY, refusal_code
from sparkify_bulk.database.session import Session
from sparkify_bulk.errors import DatabaseError
from sparkify_bulk.redaction import learn

logger = logging.getLogger("sparkify_bulk")

OLDEST_SERVER = 15
# A pulled cable ends the connection after 10 s; the defaults of libpq and server wait for hours.
_KEEPALIVES = {"keepalives_idle": "4", "keepalives_interval": "2", "keepalives_count": "3"}
_USER_TIMEOUT = {"tcp_user_timeout": "10000"}
_DEFAULTS = {
    "application_name": "sparkify_bulk",
    "connect_timeout": "10",
    **_KEEPALIVES,
    **_USER_TIMEOUT,
}
# The same on the other end, so that the server lets the star's lock go. The last one looks after
# the connection while a statement runs; servers on some systems refuse it.
_SERVER_DEFAULTS = {
    **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
    **_USER_TIMEOUT,
    "client_connection_check_interval": "5000",
}
# Errors that pass: of the connection (08), serialization and deadlock (40), too many connections,
# a server that goes down or comes up (57P). See "PostgreSQL Error Codes" in its documentation.
_TRANSIENT = ("08", "40001", "40P01", "53300", "57P01", "57P02", "57P03")
_FULL = (
    "too many connections: close others, lower --jobs, or raise max_connections or the "
    "CONNECTION LIMIT of the role or database"
)
# Beside the workers' own: one that works, one that holds the lock, two that fill a new star.
_OTHER_CONNECTIONS = 4
LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
# What of a connection string stands in messages and statements, as a name.
_OPEN_OPTIONS = (b"user", b"dbname", b"host", b"hostaddr", b"port", b"service")
_HERE = ("localhost", "127.0.0.1", "::1")
_MAINTENANCE_DATABASES = ("postgres", "template1")
_URL_PREFIXES = ("postgresql://", "postgres://")
_HOSTS = re.compile(r"[\w.:%,/-]*")
_MISSING_SERVICE = re.compile(r'service "([^"]*)" not found')
_CLOSED_DATABASE = re.compile(r'permission denied for database ("[^"]*")')
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")
_KEYWORDS = re.compile(r"(?:^|\s)(\w+)\s*=")
_PORTS = re.compile(r"[\d,]*", re.ASCII)

Connection = psycopg.Connection[tuple[Any, ...]]


def _tells_something(record: logging.LogRecord) -> bool:
    """Tell whether a log record of psycopg's is of use to anybody.

    What it couldn't do on a connection that is lost is not: the loss itself is an error that says
    what to do.
    """
    return not str(record.msg).startswith(("error ignored", "query cancellation failed"))


logging.getLogger("psycopg").addFilter(_tells_something)


def libpq_is_configured() -> bool:
    """Tell whether libpq's own environment names a server."""
    return any(os.environ.get(name) for name in LIBPQ_VARIABLES)


def connect(
    dsn: str, *, create_database: bool = False, settings: Mapping[str, str] = session.RUN
) -> Session:
    """Open a connection in autocommit mode, whose settings are those of a run.

    Args:
        dsn: libpq connection string or URL; empty for libpq's environment.
        create_database: make the database first if it doesn't exist.
        settings: others than a run's.

    Raises:
        DatabaseError: the string can't be read, or the server can't be reached or refused.
    """
    conninfo = _conninfo(dsn)
    try:
        return _open(conninfo, settings)
    except psycopg.OperationalError as error:
        code = error.sqlstate or refusal_code(conninfo)
        passes = code is not None and code.startswith((LET_IN, *_TRANSIENT))
        missing = None if passes else _missing_database(conninfo)
        if missing is None:
            raise DatabaseError(
                _first_line(error),
                hint=_FULL if code == TOO_MANY else _hint(error),
                transient=passes,
                unreachable=True,
            ) from None
        maintenance, name = missing
        if not create_database:
            raise DatabaseError(
                f'the database "{name}" does not exist',
                hint="create it with CREATE DATABASE, or use reload or load with --create-database",
            ) from None
        _create_database(maintenance, name)
        return _open(conninfo, settings)


def parse_conninfo(dsn: str) -> list[ConninfoOption]:
    """Take a connection string apart.

    Raises:
        DatabaseError: it can't be read; the string isn't quoted.
    """
    try:
        options = Conninfo.parse(dsn.encode())
    # The original message quotes the string, and with it perhaps the password.
    except (psycopg.OperationalError, UnicodeEncodeError):
        options = []
    given = {option.keyword.decode(): option.val.decode(errors="replace")
             for option in options if option.val is not None}  # fmt: skip
    is_url = dsn.startswith(_URL_PREFIXES)
    misleads = _misplaces_at(dsn) if is_url else _repeats(dsn)
    if not options or not _is_plausible(given) or misleads:
        raise DatabaseError(
            "the connection string can't be read",
            hint="write it as postgresql://user@host:port/database, where a password's @ : / ? # % "
            "are %40 and so on; or as host=… dbname=… user=…, each once",
        ) from None
    passwords = (given.get("password"), given.get("sslpassword"), os.environ.get("PGPASSWORD"))
    learn(*passwords, beside=[_meant(o) for o in options if o.keyword in _OPEN_OPTIONS])
    return options


def _is_plausible(given: dict[str, str]) -> bool:
    """Tell whether a connection string may mean what libpq reads into it.

    A password with `@`, `:` or `/` in it, not escaped, lends its parts to host, port and database,
    and those would be quoted when the connection fails.
    """
    hosts, ports = given.get("host", ""), given.get("port", "")
    return bool(_HOSTS.fullmatch(hosts) and _PORTS.fullmatch(ports))


def _misplaces_at(url: str) -> bool:
    """Tell whether an `@` stands behind the host: a password with a `/` may be before it."""
    return "@" in url.partition("://")[2].partition("/")[2]


def _repeats(dsn: str) -> bool:
    """Tell whether a keyword stands twice: the second may be a part of a password with blanks."""
    keywords = _KEYWORDS.findall(_QUOTED.sub("''", dsn))
    return len(keywords) != len(set(keywords))


def _conninfo(dsn: str) -> str:
    """Complete a connection string; what it says itself comes first."""
    given = {
        option.keyword.decode(): option.val.decode()
        for option in parse_conninfo(dsn)
        if option.val is not None
    }
    # Bytes on the wire are UTF-8 whatever the environment says: frames hold nothing else.
    return make_conninfo("", **(_DEFAULTS | given | {"client_encoding": "UTF8"}))


def _open(conninfo: str, settings: Mapping[str, str] = session.RUN) -> Session:
    # No prepared statements: behind a pooler they outlive the server session they were made in.
    connection = Session.connect(conninfo, autocommit=True, prepare_threshold=None)
    connection.settle(settings)
    if not is_on_socket(connection) and not connection.is_pooled:
        for name, value in _SERVER_DEFAULTS.items():
            with contextlib.suppress(psycopg.errors.InvalidParameterValue):
                query = "SELECT pg_catalog.set_config(%s, %s, false)"
                connection.execute(query, (name, value))
    return connection


def is_on_socket(connection: Connection) -> bool:
    """Tell whether a connection goes through a socket of this machine, not through a network."""
    return connection.info.host.startswith(("/", "@")) or not connection.info.host


def leads_here(connection: Connection) -> bool:
    """Tell whether a connection leads to this machine, as far as its address says."""
    return is_on_socket(connection) or connection.info.host in _HERE


def is_pooled(connection: Connection) -> bool:
    """Tell whether a pooler stands between: it gives itself as the process that serves."""
    (pid,) = _row(connection, "SELECT pg_catalog.pg_backend_pid()")
    return bool(pid != connection.info.backend_pid)


def tell_of_pooler(connection: Connection, jobs: int) -> None:
    """Say how many connections a run takes, where a pooler might not have that many."""
    if is_pooled(connection):
        logger.info(
            "Connected through a pooler: with %d workers a run needs %d of its server connections "
            "at a time, and waits where there are fewer",
            jobs,
            connections_of_run(jobs),
        )


def connections_of_run(jobs: int) -> int:
    """Return how many connections a run of so many workers has at a time, at most."""
    return jobs + _OTHER_CONNECTIONS


def is_transient(error: psycopg.Error) -> bool:
    """Tell, by its SQLSTATE, whether what an error says will probably have passed in a while.

    A connection that was lost without a word has none.
    """
    if error.sqlstate:
        return error.sqlstate.startswith(_TRANSIENT)
    return isinstance(error, psycopg.OperationalError)


def warn_of_weak_tls(connection: Connection) -> None:
    """Warn where somebody between could read along, or pass for the server."""
    if weakness := weak_tls(connection):
        logger.warning("%s: use sslmode=verify-full", weakness)


def weak_tls(connection: Connection) -> str:
    """Say what of TLS a connection to another machine lacks; nothing where it lacks nothing."""
    if leads_here(connection):
        return ""
    mode = next(
        (o.val.decode() for o in connection.pgconn.info if o.keyword == b"sslmode" and o.val), ""
    )
    where = f"The connection to {connection.info.host}"
    if not connection.pgconn.ssl_in_use:
        return f"{where} is not encrypted"
    if mode != "verify-full":
        return f"{where} is encrypted, but the server is not verified (sslmode={mode})"
    return ""


def _missing_database(conninfo: str) -> tuple[str, str] | None:
    """If the server answers but lacks the database, say where to make it, and its name."""
    wanted = conninfo_to_dict(conninfo).get("dbname") or os.environ.get("PGDATABASE")
    if not wanted:
        return None
    for database in _MAINTENANCE_DATABASES:
        maintenance = make_conninfo(conninfo, dbname=database)
        try:
            with _open(maintenance) as connection:
                # An operator, too, may have one in `public` that stands in for it.
                query = (
                    "SELECT 1 FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) %s"
                )
                if connection.execute(query, (wanted,)).fetchone():
                    return None
                return maintenance, str(wanted)
        except psycopg.OperationalError:
            continue
    return None


def check_settings(connection: Session) -> None:
    """Refuse a session in which a run would go wrong by a setting; warn of one that it passes over.

    Raises:
        DatabaseError: the role may not set it otherwise.
    """
    if connection.refused:
        found = ", ".join(f"{name} is {value}" for name, value in connection.refused.items())
        raise DatabaseError(
            f"{found}, and {connection.info.user} may not override it",
            hint="have an administrator run: " + " ".join(reset_statements(connection)),
        )
    if default_is_read_only(connection):
        logger.warning(
            "default_transaction_read_only is on for this role, database or connection; the run "
            "overrides it"
        )


def reset_statements(connection: Session) -> list[str]:
    """Return the statements that let a session set what it may not set itself."""
    role = sql.Identifier(connection.info.user).as_string(connection)
    database = sql.Identifier(connection.info.dbname).as_string(connection)
    return [
        statement
        for name in connection.refused
        for statement in (
            f"ALTER ROLE {role} RESET {name};",
            f"ALTER ROLE {role} IN DATABASE {database} RESET {name};",
            f"ALTER DATABASE {database} RESET {name};",
        )
    ]


def default_is_read_only(connection: Connection) -> bool:
    """Tell whether role, database or connection string make transactions read-only by default."""
    query = (
        "SELECT reset_val FROM pg_catalog.pg_settings "
        "WHERE name OPERATOR(pg_catalog.=) 'default_transaction_read_only'"
    )
    return _row(connection, query) == ("on",)


def _create_database(maintenance: str, name: str) -> None:
    create = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
    try:
        with _open(maintenance) as connection:
            connection.execute(create.format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise DatabaseError(
            f'the database "{name}" can\'t be made: {_first_line(error)}',
            hint="have a role with CREATEDB create it",
        ) from None


def check_server(connection: Connection) -> None:
    """Refuse a server on which a star can't be kept right.

    Raises:
        DatabaseError: too old, not UTF-8, or read-only.
    """
    version = connection.info.server_version // 10000
    if version < OLDEST_SERVER:
        raise DatabaseError(
            f"the server is PostgreSQL {version}, which is too old",
            hint=f"use PostgreSQL {OLDEST_SERVER} or later",
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


def name_target(dsn: str) -> str:
    """Name the server and database that a connection string means, before any connection is made.

    Raises:
        DatabaseError: the string can't be read.
    """
    meant = {
        option.keyword.decode(): value
        for option in parse_conninfo(dsn)
        if (value := _meant(option))
    }
    if service := meant.get("service"):
        return f"service {service}"
    where = meant.get("host") or meant.get("hostaddr") or "local socket"
    user, port, database = (meant.get(name, "") for name in ("user", "port", "dbname"))
    port = "" if where.startswith("/") else f":{port}"
    return f"{user}@{where}{port}/{database or user}"


def _meant(option: ConninfoOption) -> str:
    """Return what an option of libpq's is without being connected: given, or by its defaults."""
    by_environment = os.environ.get(option.envvar.decode()) if option.envvar else None
    value = option.val or (by_environment or "").encode() or option.compiled or b""
    return value.decode(errors="replace")


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
    if not leads_here(connection):
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


def message_of(error: psycopg.Error) -> str:
    """Return what an error says, in a line: the server's own message, if it is one of its."""
    return error.diag.message_primary or str(error).strip().split("\n")[0] or type(error).__name__


def _first_line(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("connection is bad: ") if lines else type(error).__name__


def _hint(error: psycopg.OperationalError) -> str:
    connection, said = error.pgconn, str(error)
    file = os.environ.get("PGSERVICEFILE") or "~/.pg_service.conf"
    if service := _MISSING_SERVICE.search(said):
        return f"add a section [{service[1]}] with host=, dbname= and user= to {file}"
    if "service file" in said:
        return f"mend {file}: a line [NAME] for each service, below it host=, dbname= and user="
    if refused := _CLOSED_DATABASE.search(said):
        user = connection.user.decode(errors="replace") if connection else "…"
        return f'have an administrator run: GRANT CONNECT ON DATABASE {refused[1]} TO "{user}";'
    if connection is not None and connection.needs_password:
        return "a password is needed: give it by PGPASSWORD, ~/.pgpass or a service file"
    if connection is not None and connection.used_password:
        return "check user and password (PGPASSWORD, ~/.pgpass, service file or --dsn)"
    return "check host, port and user, and that the server is running and lets this machine in"
