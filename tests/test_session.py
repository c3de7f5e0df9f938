"""Settings of a session: whatever role, database, service or environment say, runs go well."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from command import run
from psycopg import sql
from servers import Server
from trees import Tree, event, query, read_star, slow_star, song

import sparkify_bulk
from sparkify_bulk.database import session
from sparkify_bulk.database.connection import connect
from sparkify_bulk.errors import DatabaseError

# Each of the settings, at a value that would end a run, or make it wrong or slow.
AWKWARD = {
    **dict.fromkeys(session.RUN, "off"),
    "bytea_output": "escape",
    "client_min_messages": "debug5",
    "datestyle": "German, DMY",
    "default_table_access_method": "other",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "exit_on_error": "on",
    "extra_float_digits": "-15",
    "from_collapse_limit": "1",
    "idle_in_transaction_session_timeout": "400ms",
    "idle_session_timeout": "400ms",
    "intervalstyle": "sql_standard",
    "join_collapse_limit": "1",
    "lock_timeout": "1ms",
    "plan_cache_mode": "force_generic_plan",
    "quote_all_identifiers": "on",
    "restrict_nonsystem_relation_kind": "view",
    "row_security": "on",
    "session_replication_role": "replica",
    # Not shorter: show and query keep the user's limit. Runs meet a short one in test_faults.
    "statement_timeout": "20s",
    "timezone": "Asia/Kathmandu",
    "transaction_timeout": "400ms",
    "transform_null_equals": "on",
    "vacuum_cost_delay": "100ms",
}
COMMANDS = (
    ("plan", "{data}"),
    ("load", "{data}"),
    ("reload", "{data}"),
    ("load", "{data}"),
    ("verify", "{data}"),
    ("rejects",),
    ("rejects", "replay"),
    ("runs",),
    ("prune", "--older-than", "1d"),
    ("show",),
    ("query", "TABLE users"),
    ("report", "--output", "{page}"),
    ("doctor",),
)


def known_names(dsn: str) -> set[str]:
    """Return the names of the server's settings."""
    return {name.lower() for (name,) in query(dsn, "SELECT name FROM pg_settings")}


def known(dsn: str) -> dict[str, str]:
    """Return the awkward values of those settings that the server knows."""
    names = known_names(dsn)
    return {name: value for name, value in AWKWARD.items() if name in names}


@contextlib.contextmanager
def by_database(dsn: str, values: dict[str, str]) -> Iterator[dict[str, str]]:
    """Let a database set them."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        for setting, value in values.items():
            alter = sql.SQL("ALTER DATABASE {} SET {} = {}")
            connection.execute(alter.format(name, sql.Identifier(setting), value))
    yield {}


@contextlib.contextmanager
def by_role(dsn: str, values: dict[str, str]) -> Iterator[dict[str, str]]:
    """Let a role set them, in this database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        for setting, value in values.items():
            alter = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}")
            role = sql.Identifier(connection.info.user)
            connection.execute(alter.format(role, name, sql.Identifier(setting), value))
    yield {}


def as_options(values: dict[str, str]) -> str:
    """Return them as libpq takes them."""
    return " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in values.items()
    )


@contextlib.contextmanager
def by_environment(_: str, values: dict[str, str]) -> Iterator[dict[str, str]]:
    """Let PGOPTIONS set them."""
    yield {"PGOPTIONS": as_options(values)}


@contextlib.contextmanager
def by_service(_: str, values: dict[str, str]) -> Iterator[dict[str, str]]:
    """Let a service of libpq's set them, but for what its file has no room for."""
    values = {name: value for name, value in values.items() if not name.startswith("enable_")}
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"[awkward]\noptions={as_options(values)}\n")
        file.flush()
        yield {"PGSERVICEFILE": file.name, "PGSERVICE": "awkward"}


Way = Callable[[str, dict[str, str]], contextlib.AbstractContextManager[dict[str, str]]]
WAYS = [by_database, by_role, by_environment, by_service]


@pytest.fixture
def database_with_other_method(database: str) -> str:
    """Return a database that has another table access method, which is the same by another name."""
    query(database, "CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler")
    return database


def test_every_setting_has_an_awkward_value(database: str) -> None:
    """None is its own, and none is unknown to all servers."""
    assert set(AWKWARD) == set(session.RUN)
    assert [name for name, value in AWKWARD.items() if session.RUN[name] == value] == []
    unknown = set(AWKWARD) - set(known(database))
    assert unknown <= {"transaction_timeout", "restrict_nonsystem_relation_kind"}


@pytest.mark.every(4)
@pytest.mark.parametrize("way", WAYS)
def test_all_commands_go_well_whatever_the_settings_are(
    database_with_other_method: str, tree: Tree, tmp_path: Path, way: Way
) -> None:
    """Every setting at its most awkward: the star is right, and no command minds."""
    dsn = database_with_other_method
    for number in range(4):
        tree.songs(f"{number}.json", song(number, duration=200.1 + number))
        tree.logs(f"{number}.json", *(event(10 * number + item) for item in range(10)), b"{bad")
    expected = slow_star(dsn, tree.root)
    with way(dsn, known(dsn)) as environment:
        for command in COMMANDS:
            words = [w.format(data=tree.root, page=tmp_path / "p.html") for w in command]
            done = run(*words, "--dsn", dsn, **environment)
            assert done.returncode in (0, 3), (command, done.stderr, done.stdout)
    reset_all(dsn)
    assert read_star(dsn) == expected
    access = """SELECT DISTINCT amname FROM pg_class AS c JOIN pg_am AS a ON c.relam = a.oid
        WHERE relnamespace = 'sparkify'::regnamespace AND relkind = 'r'"""
    assert query(dsn, access) == [("heap",)]


def reset_all(dsn: str) -> None:
    """Take back what a database, and a role in it, set."""
    with psycopg.connect(
        dsn, autocommit=True, options="-c default_transaction_read_only=off"
    ) as connection:
        name, role = map(sql.Identifier, (connection.info.dbname, connection.info.user))
        connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(name))
        connection.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(role, name))


@pytest.mark.parametrize("way", WAYS[:3])
def test_each_setting_is_set_and_those_of_a_query_of_ones_own_are_left(
    database_with_other_method: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's connection has every value of the list; a query keeps the limits of its user."""
    dsn = database_with_other_method
    awkward = known(dsn)
    with way(dsn, awkward) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with connect(dsn) as connection:
            found = {name: setting(connection, name) for name in awkward}
            assert found == {name: session.RUN[name] for name in awkward}
            assert connection.refused == {}
        with connect(dsn, settings=session.QUERY) as connection:
            found = {name: setting(connection, name) for name in awkward}
            assert found == {
                name: session.QUERY.get(name, value) for name, value in awkward.items()
            }
    reset_all(dsn)


def setting(connection: psycopg.Connection[Any], name: str) -> str:
    """Return the value of a setting."""
    (value,) = connection.execute("SELECT current_setting(%s)", (name,)).fetchone() or ("",)
    return str(value)


@pytest.mark.parametrize("value", ["on", "local", "remote_apply"])
def test_a_commit_that_waits_longer_than_for_the_servers_disk_may(
    database: str, value: str
) -> None:
    """Only one that doesn't wait at all is made to."""
    with connect(f"{database} options='-c synchronous_commit={value}'") as connection:
        assert setting(connection, "synchronous_commit") == value
    with connect(f"{database} options='-c synchronous_commit=off'") as connection:
        assert setting(connection, "synchronous_commit") == "on"


def test_a_query_ends_at_its_users_limit(database: str, tree: Tree) -> None:
    """The limit is the user's own, and so is the query."""
    tree.logs("a.json", event())
    sparkify_bulk.reload(tree.root, dsn=database)
    done = run(
        "query", "SELECT pg_sleep(60)", "--dsn", database, PGOPTIONS="-c statement_timeout=100ms"
    )
    assert done.returncode != 0
    assert "statement timeout" in done.stderr


def test_a_run_warns_where_transactions_are_read_only_by_default(database: str, tree: Tree) -> None:
    """A service may have set that as its disk is full: the run goes on, and says so."""
    tree.logs("a.json", event())
    done = run(
        "reload", str(tree.root), "--dsn", database,
        PGOPTIONS="-c default_transaction_read_only=on",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "default_transaction_read_only" in done.stderr


@pytest.fixture
def follower(server: Server, database: str) -> Iterator[str]:
    """Make a role for which an administrator has set what it may not set itself."""
    server.execute(sql.SQL("CREATE ROLE follower LOGIN"))
    server.execute(sql.SQL("ALTER ROLE follower SET session_replication_role = replica"))
    name = database.rpartition("dbname=")[2]
    grant = sql.SQL("GRANT CREATE ON DATABASE {} TO follower")
    server.execute(grant.format(sql.Identifier(name)))
    yield server.dsn(name, "follower")
    query(database, "DROP OWNED BY follower CASCADE")
    server.execute(sql.SQL("DROP ROLE follower"))


def test_a_setting_that_cannot_be_overridden_is_named(follower: str, tree: Tree) -> None:
    """No foreign key would be checked: a run is refused, and the doctor says what to do."""
    tree.logs("a.json", event())
    for command in (sparkify_bulk.reload, sparkify_bulk.load):
        with pytest.raises(DatabaseError, match="session_replication_role is replica") as caught:
            command(tree.root, dsn=follower)
        assert 'ALTER ROLE "follower" RESET session_replication_role' in caught.value.hint
    done = run("doctor", "--dsn", follower, "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["session settings"]["status"] == "failure"
    assert "session_replication_role" in checks["session settings"]["found"]
    assert (
        'ALTER ROLE "follower" RESET session_replication_role' in checks["session settings"]["hint"]
    )


def test_the_doctor_names_the_settings_that_a_run_overrides(database: str) -> None:
    """They are no fault: each is set otherwise for as long as the run takes."""
    done = run(
        "doctor", "--dsn", database, "--json",
        PGOPTIONS="-c statement_timeout=2min -c default_transaction_read_only=on",
    )  # fmt: skip
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["session settings"]["status"] == "ok"
    assert "statement_timeout" in checks["session settings"]["found"]
    assert checks["writes"]["status"] == "warning"
    assert done.returncode == 0
