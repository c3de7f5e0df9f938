"""Put a new star in the place of the old one, with all that hangs on it."""

import time
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.connection import Connection
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.merge import lock_timeout
from sparkify_bulk.stage import use_schemas
from sparkify_bulk.tables import NAMES

_SWITCH_PATIENCE_SECONDS = 120.0
_SWITCH_PAUSE_SECONDS = 0.05


def dependents(connection: Connection, schema: str, tables: Sequence[str] = NAMES) -> list[str]:
    """Name what hangs on tables and can't follow them through a switch."""
    parameters = {"schema": schema, "tables": list(tables)}
    with connection.transaction():
        use_schemas(connection, schema)
        found = connection.execute(statements.read("switch/dependents"), parameters).fetchall()
        views = connection.execute(statements.read("switch/views"), parameters).fetchall()
    stuck = [f"view {name}, which {obstacle}" for name, obstacle, _ in views if obstacle]
    return [name for (name,) in found] + stuck


def switch(
    connection: Connection,
    old: str,
    new: str,
    tables: Sequence[str] = NAMES,
    *,
    drop_dependents: bool = False,
) -> None:
    """Put new tables in the place of old ones, in the transaction that is open.

    Rights, owner and comments of the old tables pass to the new ones, and views see these.

    Args:
        connection: in the transaction.
        old: schema of the old tables, where any are, and of the new ones then.
        new: schema of the new tables.
        tables: their names; what refers to others comes after them.
        drop_dependents: drop what can't follow.
    """
    _lock_tables(connection, old, tables)
    parameters = {"schema": old, "tables": list(tables)}
    carried = connection.execute(statements.read("switch/grants"), parameters).fetchall()
    _repoint_views(connection, old, new, parameters)
    drop = "DROP TABLE IF EXISTS {} CASCADE" if drop_dependents else "DROP TABLE IF EXISTS {}"
    for name in reversed(tables):
        connection.execute(sql.SQL(drop).format(sql.Identifier(old, name)))
    for name in tables:
        connection.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                sql.Identifier(new, name), sql.Identifier(old)
            )
        )
    use_schemas(connection, old)
    for (statement,) in carried:
        # Made by the server from its own catalogue, every name in it quoted there.
        connection.execute(sql.SQL(statement))


def _repoint_views(
    connection: Connection, old: str, new: str, parameters: Mapping[str, object]
) -> None:
    """Let views of old tables see the new ones."""
    use_schemas(connection, old)
    views = connection.execute(statements.read("switch/views"), parameters).fetchall()
    use_schemas(connection, new, old)
    for _, obstacle, statement in views:
        if not obstacle:
            # Made by the server, as above.
            connection.execute(sql.SQL(statement))


def _lock_tables(connection: Connection, schema: str, names: Sequence[str]) -> None:
    """Lock the old tables all at once or not at all.

    Waiting for one of them while holding another could deadlock with a reader, and would hold up
    everybody behind it. Only upkeep is waited for, by a lock that lets readers and writers be: an
    autovacuum gives way to who waits for it, and doesn't come back.

    Raises:
        SparkifyBulkError: the tables were in use for too long.
    """
    tables = connection.execute(
        "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = ANY (%s)",
        (schema, list(names)),
    ).fetchall()
    if not tables:
        return
    locked = sql.SQL(", ").join(sql.Identifier(schema, table) for (table,) in tables)
    deadline = time.monotonic() + _SWITCH_PATIENCE_SECONDS
    try:
        with lock_timeout(connection, _SWITCH_PATIENCE_SECONDS):
            upkeep = sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE")
            connection.execute(upkeep.format(locked))
    except psycopg.errors.LockNotAvailable:
        raise _in_use(schema, "VACUUM, ANALYZE or CREATE INDEX on them") from None
    lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE NOWAIT").format(locked)
    while True:
        try:
            with connection.transaction():
                connection.execute(lock)
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise _in_use(schema, "long query or transaction that reads them") from None
            time.sleep(_SWITCH_PAUSE_SECONDS)
        else:
            return


def _in_use(schema: str, what: str) -> SparkifyBulkError:
    return SparkifyBulkError(
        f"the tables in {schema} stayed in use for {_SWITCH_PATIENCE_SECONDS:.0f} s",
        hint=f"end the {what}, and run again",
    )
