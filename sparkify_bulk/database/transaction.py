"""What is set until a transaction ends, and what its statements share."""

import contextlib
from collections.abc import Iterator, Mapping

from psycopg import sql

from sparkify_bulk.database.connection import Connection


def use_schemas(connection: Connection, *names: str) -> None:
    """Resolve plain names in these schemas until the transaction ends, never in `public`.

    `pg_catalog` isn't named, so PostgreSQL looks there first: no function of anybody's own can
    stand in for a built-in one.
    """
    path = ", ".join(f'"{name}"' for name in names)
    connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (path,))


def mark_table(connection: Connection, table: sql.Identifier, mark: str) -> None:
    """Give a table the comment that tells whose it is."""
    comment = sql.SQL("COMMENT ON TABLE {} IS {}")
    connection.execute(comment.format(table, sql.Literal(mark)))


@contextlib.contextmanager
def lock_timeout(connection: Connection, seconds: float) -> Iterator[None]:
    """Let statements of an open transaction wait for locks so long, but not for anything else."""
    limits = {"lock_timeout": str(max(1, round(seconds * 1000))), "statement_timeout": "0"}
    before = {name: _setting(connection, name) for name in limits}
    with connection.transaction():
        set_locally(connection, limits)
        yield
        set_locally(connection, before)


def _setting(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT pg_catalog.current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def set_locally(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set some settings until the transaction ends."""
    for name, value in settings.items():
        connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
