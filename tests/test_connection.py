"""Connections: what is refused, in which words, and that no password is among them."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest
from conftest import SERVER
from psycopg import sql
from servers import LOCKED_ROLE, Server, running
from trees import Tree, event, query

import sparkify_bulk
from sparkify_bulk.database.connection import check_server, connect, describe, is_transient
from sparkify_bulk.database.server import open_connection
from sparkify_bulk.errors import DatabaseError

SECRET = "correct%20horse"  # noqa: S105 - opens nothing


def said(error: BaseException | None) -> str:
    """Return all that an error can show, with the errors behind it."""
    text = ""
    while error is not None:
        text += f"{error} {error!r} {error.__dict__} "
        error = error.__cause__
    return text


@pytest.fixture
def locked(server: Server) -> str:
    """Make a role that must show its password."""
    name = sql.Identifier(LOCKED_ROLE)
    server.execute(
        sql.SQL(
            "DO $$ BEGIN CREATE ROLE {} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$"
        ).format(name)
    )
    server.execute(sql.SQL("ALTER ROLE {} PASSWORD 'right'").format(name))
    return LOCKED_ROLE


@pytest.mark.parametrize("password", ["", f" password={SECRET}"])
def test_a_wrong_password_is_said_so_without_showing_it(
    server: Server, locked: str, password: str
) -> None:
    """A password that is wrong or missing is a DatabaseError that doesn't hold it."""
    with pytest.raises(DatabaseError) as caught:
        connect(server.dsn("postgres", locked) + password)
    assert SECRET not in said(caught.value)
    assert "password" in caught.value.hint


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql://u:{SECRET}@[/d",
        f"postgresql://u:a {SECRET}@h/d",
        f"host=h password={SECRET} nonsense",
        f"host=h password='{SECRET}",
        f"host=h pasword={SECRET}",
        f"postgresql://u:{SECRET}@127.0.0.1:1/d",
        f"host=/nowhere password={SECRET} dbname=d",
        f"host=127.0.0.1 port=1 password={SECRET} dbname=d",
    ],
)
def test_no_connection_string_shows_its_password(dsn: str) -> None:
    """Whatever is wrong with a connection string, the error doesn't hold its password."""
    with pytest.raises(DatabaseError) as caught:
        connect(dsn)
    assert SECRET not in said(caught.value)
    assert "horse" not in said(caught.value)
    assert caught.value.hint


def test_a_missing_database_is_named(server: Server) -> None:
    """A database that isn't there is named, with the option that makes it."""
    with pytest.raises(DatabaseError, match='"nowhere" does not exist') as caught:
        connect(server.dsn("nowhere"))
    assert "--create-database" in caught.value.hint


def test_a_missing_database_is_made_when_asked(server: Server, tree: Tree) -> None:
    """With create_database a run makes its database, in UTF-8, and fills it."""
    tree.logs("a.json", event())
    dsn = server.dsn('"new one"').replace('"new one"', "'new one'")
    try:
        sparkify_bulk.reload(logs=tree.log_folder, dsn=dsn, create_database=True)
        assert query(dsn, "SELECT count(*) FROM sparkify.songplays") == [(1,)]
        assert query(dsn, "SHOW server_encoding") == [("UTF8",)]
        # Asked for again it is there, and nothing is wrong with that.
        sparkify_bulk.load(logs=tree.log_folder, dsn=dsn, create_database=True)
    finally:
        server.drop("new one")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_utf8_is_refused(server: Server, tree: Tree, encoding: str) -> None:
    """A database of another encoding is refused before anything is made in it."""
    tree.logs("a.json", event())
    server.execute(
        sql.SQL(
            "CREATE DATABASE odd TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
        ).format(sql.Literal(encoding))
    )
    try:
        with pytest.raises(DatabaseError, match=encoding):
            sparkify_bulk.reload(logs=tree.log_folder, dsn=server.dsn("odd"))
        schemas = query(server.dsn("odd"), "SELECT nspname FROM pg_namespace WHERE nspname ~ '^sp'")
        assert schemas == []
    finally:
        server.drop("odd")


@pytest.mark.parametrize(
    ("file", "named"), [(None, "~/.pg_service.conf"), ("services", "services")]
)
def test_a_missing_service_names_the_file_it_is_looked_up_in(
    file: str | None, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By an option or by the environment; the hint has the section to add."""
    monkeypatch.setenv("HOME", str(tmp_path))
    if file:
        monkeypatch.chdir(tmp_path)
        Path(file).touch()
        monkeypatch.setenv("PGSERVICEFILE", file)
    with pytest.raises(DatabaseError, match='service "warehouse" not found') as caught:
        connect("service=warehouse")
    assert caught.value.hint.startswith("add a section [warehouse] ")
    assert caught.value.hint.endswith(f" to {named}")


def test_a_server_older_than_15_is_refused_with_what_to_use() -> None:
    """PostgreSQL 14 is out of support: the error names its version and the oldest that will do."""
    old = SimpleNamespace(info=SimpleNamespace(server_version=140_020))
    with pytest.raises(DatabaseError, match="the server is PostgreSQL 14, ") as caught:
        check_server(cast("psycopg.Connection", old))
    assert caught.value.hint == "use PostgreSQL 15 or later"


def test_a_fit_server_is_accepted_and_described(database: str, server: Server) -> None:
    """A good connection passes the check, and its description tells user, place and database."""
    with connect(database) as connection:
        check_server(connection)
        name = connection.info.dbname
        assert describe(connection) == f"postgres@{server.home}/{name}"
        assert connection.info.encoding == "utf-8"
        assert connection.autocommit


def test_a_server_that_takes_no_connections_yet_is_taken_to_pass() -> None:
    """It is there: here as a standby, which would say the same for a moment when it starts."""
    with running(SERVER) as server:
        server.stop("fast")
        (server.data / "standby.signal").touch()
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("hot_standby = off\n")
        server.start()
        with pytest.raises(DatabaseError, match="not accepting connections") as caught:
            connect(server.dsn("postgres"))
        assert caught.value.transient
        server.stop("fast")
        with pytest.raises(DatabaseError) as caught:
            connect(server.dsn("postgres"))
        assert not caught.value.transient
        assert caught.value.unreachable


@pytest.fixture
def full(server: Server) -> Iterator[dict[str, str]]:
    """Make a role and a database that take no more connections; return how each is reached."""
    server.execute(sql.SQL("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0"))
    server.execute(sql.SQL("CREATE ROLE guest LOGIN"))
    server.create("crowded")
    server.execute(sql.SQL("ALTER DATABASE crowded CONNECTION LIMIT 0"))
    yield {"role": server.dsn("postgres", "crowded"), "database": server.dsn("crowded", "guest")}
    server.drop("crowded")
    server.execute(sql.SQL("DROP ROLE crowded"))
    server.execute(sql.SQL("DROP ROLE guest"))


@pytest.mark.parametrize("what", ["role", "database"])
def test_a_role_or_database_with_enough_connections_is_taken_to_pass(
    full: dict[str, str], what: str
) -> None:
    """Libpq gives no code where a connection is refused; the server has one all the same."""
    with pytest.raises(DatabaseError, match="too many connections") as caught:
        connect(full[what])
    assert caught.value.transient
    assert "CONNECTION LIMIT" in caught.value.hint


def test_a_full_server_is_taken_to_pass() -> None:
    """For everybody, or but for the slots that are kept for superusers."""
    few = "max_connections = 6\nsuperuser_reserved_connections = 2\nmax_wal_senders = 0\n"
    with running(SERVER, few) as server, contextlib.ExitStack() as stack:
        server.execute(sql.SQL("CREATE ROLE guest LOGIN"))
        for user, number in (("guest", 4), ("postgres", 2)):
            dsn = server.dsn("postgres", user)
            for _ in range(number):
                stack.enter_context(psycopg.connect(dsn))
            with pytest.raises(DatabaseError, match=r"reserved|too many") as caught:
                connect(dsn)
            assert caught.value.transient
            assert "max_connections" in caught.value.hint


def test_a_run_waits_for_a_connection(server: Server, database: str, tree: Tree) -> None:
    """It tries again, as after any other fault that passes, and ends well when there is room."""
    tree.logs("a.json", event())
    name = sql.Identifier(database.rpartition("dbname=")[2])
    server.execute(sql.SQL("CREATE ROLE guest LOGIN CONNECTION LIMIT 8"))
    server.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO guest").format(name))
    dsn = database.replace("user=postgres", "user=guest")
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(psycopg.connect(dsn))
            words = ["load", tree.root, "--dsn", dsn, "--jobs=1", "--retries=4"]
            run = subprocess.Popen(
                [sys.executable, "-m", "sparkify_bulk", *words],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert run.stderr is not None
            first = run.stderr.readline()
        _, said = run.communicate(timeout=120)
        assert "too many connections for role" in first
        assert "trying again in 2 s" in first
        assert run.returncode == 0, said
        assert query(database, "SELECT count(*) FROM sparkify.songplays") == [(1,)]
    finally:
        query(database, "DROP OWNED BY guest CASCADE")
        server.execute(sql.SQL("DROP ROLE guest"))


@pytest.mark.parametrize(
    "code",
    ["08000", "08003", "08006", "40001", "40P01", "53300", "57P01", "57P02", "57P03"],
)
def test_what_passes_by_itself_is_known_by_its_code(code: str) -> None:
    """A lost connection, a deadlock, too many connections, a server that goes down or comes up."""
    assert is_transient(psycopg.errors.lookup(code)())


@pytest.mark.parametrize(
    "code",
    ["22P02", "23505", "28P01", "3D000", "40002", "42501", "42P01", "53100", "53200", "54000",
     "55P03", "57014", "57P04", "57P05", "58030", "XX001"],
)  # fmt: skip
def test_what_stays_is_not_taken_to_pass(code: str) -> None:
    """No room, no right, no such table, what somebody cancelled: a rerun would meet it again."""
    assert not is_transient(psycopg.errors.lookup(code)())


def test_a_connection_that_ends_without_a_word_is_taken_to_pass() -> None:
    """It has no code; what the driver itself objects to has none either, and stays."""
    assert is_transient(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert not is_transient(psycopg.InterfaceError("the cursor is closed"))
    assert not is_transient(psycopg.ProgrammingError("no result"))


def test_only_a_run_says_that_the_star_is_untouched(database: str) -> None:
    """A command that only looks says what ended it, and nothing of the star."""
    with (
        pytest.raises(DatabaseError, match="the database ended the command") as caught,
        open_connection(database) as connection,
    ):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert "untouched" not in caught.value.hint
