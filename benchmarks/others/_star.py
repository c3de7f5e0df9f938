"""What the loaders in Python share: the schema, its SQL, and sessions side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import LiteralString

SQL = Path(__file__).parent / "sql"
SETTINGS: tuple[LiteralString, ...] = (
    "SET client_min_messages = warning",
    "SET jit = off",
    "SET maintenance_work_mem = '512MB'",
    "SET synchronous_commit = off",
    "SET work_mem = '256MB'",
)


def session(dsn: str, schema: str) -> psycopg.Connection:
    """Open a session on the schema, with settings for much data."""
    connection = psycopg.connect(dsn, autocommit=True)
    for setting in SETTINGS:
        connection.execute(setting)
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    return connection


def run(dsn: str, schema: str, *steps: str) -> None:
    """Run steps in one session: files of `sql/`, or statements."""
    with session(dsn, schema) as connection:
        for step in steps:
            text = (SQL / step).read_text() if step.endswith(".sql") else step
            connection.execute(text.encode())  # several statements, each committed with the rest


def begin(dsn: str, schema: str) -> None:
    """Make the schema anew, with five empty tables."""
    with session(dsn, schema) as connection:
        name = sql.Identifier(schema)
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    run(dsn, schema, "tables.sql")


def finish(dsn: str, schema: str, *keys: list[str]) -> None:
    """Build keys, each list in a session of its own; then references, then statistics."""
    together(*(lambda steps=steps: run(dsn, schema, *steps) for steps in keys))
    run(dsn, schema, "references.sql")
    together(
        lambda: run(dsn, schema, "drop_staging.sql", "ANALYZE songplays"),
        lambda: run(dsn, schema, 'ANALYZE artists, songs, users, "time"'),
    )


def together(*parts: Callable[[], None]) -> None:
    """Run all parts at once; the first that fails is raised."""
    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(part) for part in parts]:
            done.result()
