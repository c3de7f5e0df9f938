"""The other loaders make the same star as the slow one: only then are their times worth comparing.

What is not installed is skipped; hand-written psql needs nothing, and always runs.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from generate import generate
from psycopg import sql
from row_loader import load

OTHERS = Path(__file__).parent / "others"
NEEDS = {
    "psql_jsonb": [],
    "duckdb_copy": ["duckdb"],
    "polars_adbc": ["adbc_driver_postgresql"],
    "dlt_arrow": ["dlt", "pyarrow", "adbc_driver_postgresql"],
}
COLUMNS = {
    "artists": "artist_id, name, location, latitude, longitude",
    "songs": "song_id, title, artist_id, year, duration",
    "users": "user_id, first_name, last_name, gender, level",
    "time": "start_time, hour, day, week, month, year, weekday",
    "songplays": "start_time, user_id, level, song_id, artist_id, session_id, location,"
    " user_agent, item_in_session, event_song, event_artist, event_length",
}
EXPECTED, MADE = "others_expected", "others made"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small tree, under a name that a shell would trip over."""
    folder = tmp_path_factory.mktemp("others") / "it's data"
    generate(out=folder, events=6000, songs=600, seed=7)
    return folder


@pytest.fixture(scope="module")
def connection(dsn: str, data: Path) -> Iterator[psycopg.Connection]:
    """Open a connection to a database that holds the slow loader's star."""
    with psycopg.connect(dsn) as opened:
        load(opened, data, EXPECTED)
        opened.commit()
        opened.autocommit = True
        yield opened
        opened.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(EXPECTED)))


@pytest.mark.parametrize("name", NEEDS)
def test_same_star(name: str, dsn: str, connection: psycopg.Connection, data: Path) -> None:
    """Every table has the slow loader's rows, keys and references; nothing else is left behind."""
    missing = [module for module in NEEDS[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    command = [sys.executable, str(OTHERS / f"{name}.py"), dsn, MADE, str(data)]
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PG")}
    try:
        for _ in range(2):  # the second run begins anew
            done = subprocess.run(  # noqa: S603 - this repository's own script
                command, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        for table, columns in COLUMNS.items():
            assert _rows(connection, MADE, table, columns) > 0
            assert _differences(connection, table, columns) == []
        assert _constraints(connection, MADE) == _constraints(connection, EXPECTED)
        assert _tables(connection, MADE) == _tables(connection, EXPECTED)
    finally:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(MADE)))


def _rows(connection: psycopg.Connection, schema: str, table: str, columns: str) -> int:
    """Count the rows of a table."""
    query = sql.SQL("SELECT count(*) FROM (SELECT {} FROM {}) AS rows").format(
        sql.SQL(columns), sql.Identifier(schema, table)
    )
    return connection.execute(query).fetchall()[0][0]


def _differences(connection: psycopg.Connection, table: str, columns: str) -> list[tuple]:
    """Return the rows that only one of the two stars has."""
    query = sql.SQL(
        "(SELECT {columns} FROM {a} EXCEPT ALL SELECT {columns} FROM {b})"
        " UNION ALL (SELECT {columns} FROM {b} EXCEPT ALL SELECT {columns} FROM {a}) LIMIT 5"
    ).format(
        columns=sql.SQL(columns),
        a=sql.Identifier(EXPECTED, table),
        b=sql.Identifier(MADE, table),
    )
    return connection.execute(query).fetchall()


def _constraints(connection: psycopg.Connection, schema: str) -> list[tuple]:
    """Return each key and reference: its table, kind, columns and the table it names."""
    query = """
        SELECT c.conrelid::regclass::text, c.contype, c.conkey::text, c.confrelid::regclass::text
        FROM pg_constraint AS c
        INNER JOIN pg_namespace AS n ON n.oid = c.connamespace
        WHERE n.nspname = %s AND c.contype IN ('p', 'u', 'f') AND c.convalidated
    """
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    return sorted(connection.execute(query, [schema]).fetchall())


def _tables(connection: psycopg.Connection, schema: str) -> list[tuple]:
    """Return the tables of a schema, and whether a crash of the server spares them."""
    query = """
        SELECT relname, relpersistence FROM pg_class AS c
        INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND relkind = 'r' ORDER BY relname
    """
    return connection.execute(query, [schema]).fetchall()
