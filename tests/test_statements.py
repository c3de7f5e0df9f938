"""The SQL files: each runs as it stands, where the README says."""

import datetime as dt
import itertools
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from trees import Tree, event, song

import sparkify_bulk
from sparkify_bulk import ledger, statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.loading import merge, staging
from sparkify_bulk.settings import Schemas
from sparkify_bulk.tables import NAMES

GROUPS = sorted(path.name for path in statements.folder().iterdir() if path.is_dir())
ALL = [name for group in GROUPS for name in statements.names(group)]
DDL = [*statements.names("schema"), *statements.names("staging")]
PARAMETERS: dict[str, Any] = {
    "run_id": 1,
    "command": "load",
    "started_at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    "before": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    "input": "x",
    "client_host": "x",
    "client_pid": 1,
    "client_user": "x",
    "status": "succeeded",
    "exit_code": 0,
    "error": None,
    "report": "{}",
    "states": "{}",
    "limit": 5,
    "star": "star",
    "schema": "star",
    "schemas": ["star", "staging"],
    "ledger": "ledger",
    "lock": "x",
    "pattern": "^x$",
    "names": ["x"],
    "values": ["x"],
    "pid": 1,
    "needed": ["x"],
    "mark": "x",
    "tables": ["users"],
    "relations": [1, 2],
    "privileges": ["SELECT"],
    "kind": "songs",
    "root_id": 1,
    "root": "/data/song_data",
    "files": ["a.json"],
    "ids": [1],
    "rejects": [1],
    "reject_ids": [1],
    "moments": ["2018-11-01"],
    "spans": "{[2018-11-01, 2018-11-02]}",
}


def text(name: str) -> str:
    """Return a statement without its comments."""
    return re.sub(r"--.*", "", statements.read(name))


@pytest.fixture
def sandbox(module_database: str) -> Iterator[Connection]:
    """Open a transaction that is rolled back in the end."""
    with psycopg.connect(module_database) as opened:
        yield opened
        opened.rollback()


def prepare(connection: Connection, *, keys: bool) -> None:
    """Make an empty star, staging and ledger, and look into them."""
    for schema in ("star", "staging", "ledger"):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute("SET search_path = star")
    merge.make_tables(connection)
    if keys:
        for group in statements.CONSTRAINTS:
            merge.constrain(connection, group, *NAMES)
    connection.execute("SET search_path = staging")
    for name in staging.TABLES:
        connection.execute(statements.read(f"staging/{name}"))
    for side, name in itertools.product(("found", "expected"), NAMES):
        compared = sql.SQL("CREATE TABLE {} (LIKE star.{})")
        connection.execute(compared.format(sql.Identifier(f"{side}_{name}"), sql.Identifier(name)))
    connection.execute(sql.SQL("SET search_path = star"))
    connection.execute(statements.read("schema/last_load"))
    ledger.make_ledger(connection, Schemas("star", "build", "staging", "ledger"))
    connection.execute("SET search_path = star, staging, ledger")


@pytest.mark.parametrize(
    "name", [name for name in ALL if not name.startswith(("schema", "staging"))]
)
def test_every_statement_runs(sandbox: Connection, name: str) -> None:
    """Each file runs on an empty star, staging and ledger, with parameters where it has any."""
    group = name.partition("/")[0]
    prepare(sandbox, keys=group not in ("constraints", "fill"))
    for group, needed in (("keys", ("indexes",)), ("references", ("indexes", "keys"))):
        if name.startswith(f"constraints/{group}"):
            for before in needed:
                merge.constrain(sandbox, before, *NAMES)
    asked = set(re.findall(r"%\((\w+)\)s", text(name)))
    given = {key: PARAMETERS.get(key, 1) for key in asked}
    if "TO STDOUT" in text(name):
        with sandbox.cursor().copy(statements.read(name)) as stream:
            assert list(stream) == []
    elif given:
        sandbox.execute(statements.read(name), given)
    else:
        sandbox.execute(statements.read(name))


@pytest.mark.parametrize("name", DDL)
def test_every_table_is_made(sandbox: Connection, name: str) -> None:
    """Each file of DDL makes the table it is named after."""
    sandbox.execute("CREATE SCHEMA x")
    sandbox.execute("SET search_path = x")
    sandbox.execute(statements.read(name))
    made = sandbox.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'x'").fetchall()
    assert made == [(name.partition("/")[2],)]


@pytest.mark.parametrize("name", ALL)
def test_every_file_is_one_statement_with_a_header(name: str) -> None:
    """Each begins with a comment that says what it is for; only an administrator's is a script."""
    assert statements.read(name).startswith("-- ")
    code = text(name).strip()
    assert code.endswith(";")
    assert name == "roles/least_rights" or not re.search(r";\s*\n\s*[A-Z]", code)
    assert not re.search(r"\bpublic\b", code.lower().replace("'public'", ""))


@pytest.mark.parametrize("name", statements.names("analysis"))
def test_every_question_has_an_answer(connection: Connection, tree: Tree, name: str) -> None:
    """Each analysis of a star with plays returns rows."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    sparkify_bulk.reload(tree.root, dsn=connection.info.dsn)
    connection.execute("SET search_path = sparkify")
    assert connection.execute(statements.read(name)).fetchall()


def test_no_such_statement() -> None:
    """A name that no file has is an error, not an empty statement."""
    with pytest.raises(FileNotFoundError):
        statements.read("merge/nothing")
