"""Merge staged rows into a star, build its constraints, and switch a new star in."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.multirange import Multirange
from psycopg.types.range import TimestamptzRange

from sparkify_bulk import statements
from sparkify_bulk.connection import Connection
from sparkify_bulk.errors import BooksError, SparkifyBulkError
from sparkify_bulk.gather import Doubtful
from sparkify_bulk.report import TableReport
from sparkify_bulk.stage import use_schemas
from sparkify_bulk.tables import NAMES, STAR

_SETTINGS = {
    # Compiling these statements costs more than it gives at any size.
    "jit": "off",
    # For sorts and hashes of a merge, each of which a worker runs one at a time.
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
}
_SWITCH_PATIENCE_SECONDS = 120.0
_SWITCH_PAUSE_SECONDS = 0.05


def prepare(connection: Connection) -> None:
    """Set what merge statements need until the transaction ends."""
    set_locally(connection, _SETTINGS)


def star_exists(connection: Connection, star: str) -> bool:
    """Tell whether a schema holds a star.

    Raises:
        SparkifyBulkError: it holds some of the tables only, or tables of other columns.
    """
    parameters = {"star": star, "tables": list(NAMES)}
    with connection.transaction():
        use_schemas(connection, star)
        rows = connection.execute(statements.read("checks/columns"), parameters).fetchall()
    found: dict[str, list[str]] = dict(rows)
    if not found:
        return False
    wrong = [
        table.name
        for table in STAR
        if found.get(table.name) != [column.name for column in table.all_columns]
    ]
    if wrong:
        raise SparkifyBulkError(
            f"the schema {star} holds another star than this version's: see {', '.join(wrong)}",
            hint="name another schema by --schema, or drop these tables and run reload",
        )
    return True


def make_schema(connection: Connection, name: str) -> None:
    """Make a schema where it doesn't exist; asking first needs no right to make one."""
    with connection.transaction():
        # Operators are looked up by the path, too.
        use_schemas(connection, name)
        exists = connection.execute(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (name,)
        ).fetchone()
        if not exists:
            make = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}")
            connection.execute(make.format(sql.Identifier(name)))


def drop_tables(connection: Connection, *schemas: str) -> None:
    """Drop the tables that runs left in schemas."""
    with connection.transaction():
        use_schemas(connection, *schemas)
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_catalog.pg_tables WHERE schemaname = ANY (%s)",
            (list(schemas),),
        ).fetchall()
    if not tables:
        return
    names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
    with connection.transaction():
        # Should a crash bring them back, the next run drops them again.
        set_locally(connection, {"synchronous_commit": "off"})
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(names))


def make_tables(connection: Connection, names: Sequence[str] = NAMES) -> None:
    """Make tables of the star, without keys, in the schema in sight."""
    for name in names:
        connection.execute(statements.read(f"schema/{name}"))


def constrain(connection: Connection, group: str, *tables: str) -> None:
    """Add a group of constraints to tables that have any."""
    for table in tables:
        for name in statements.constraints(group, table):
            connection.execute(statements.read(name))


def run_merge(connection: Connection, name: str) -> TableReport:
    """Run one merge statement; return the rows it inserted and updated."""
    row = connection.execute(statements.read(f"merge/{name}")).fetchone()
    inserted, updated = row or (0, 0)
    return TableReport(inserted=inserted, updated=updated)


def note_credits(connection: Connection) -> None:
    """Note how the staged songs are credited, before or after they are merged."""
    connection.execute(statements.read("merge/credits"))


def fill(connection: Connection, name: str) -> int:
    """Run one statement that fills a table without keys; return the rows it inserted."""
    return connection.execute(statements.read(f"fill/{name}")).rowcount


def remove_repeated(connection: Connection, name: str, doubtful: Doubtful) -> int:
    """Remove what was sent twice from a table without keys; return the rows removed.

    Args:
        connection: where the new star is in sight.
        name: `duplicates` for songplays, `moments` for time.
        doubtful: where to look.
    """
    if not doubtful:
        return 0
    parameters = {
        "moments": doubtful.moments,
        "spans": Multirange(TimestamptzRange(*span, bounds="[]") for span in doubtful.spans),
    }
    return connection.execute(statements.read(f"fill/{name}"), parameters).rowcount


def check_staged(connection: Connection, sent: dict[str, int]) -> None:
    """Compare the rows staged with the rows sent.

    Raises:
        BooksError: some are missing, or there are too many.
    """
    staged = _counts(connection, "checks/staged")
    for name, rows in sent.items():
        if staged[name] != rows:
            raise BooksError(
                f"{rows} rows were sent to {name}, but {staged[name]} are there",
                hint="the server may have restarted during the run; run it again",
            )


def count_rows(connection: Connection) -> dict[str, int]:
    """Count the rows of each table of the star in sight."""
    return _counts(connection, "checks/rows")


def newest_event(connection: Connection) -> datetime | None:
    """Return when the newest songplay of the star in sight began; None if there is none."""
    row = connection.execute(statements.read("checks/newest_event")).fetchone()
    return row[0] if row else None


def _counts(connection: Connection, statement: str) -> dict[str, int]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row: dict[str, Any] | None = cursor.execute(statements.read(statement)).fetchone()
    return row or {}


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a table differs from what the files say: how many rows, and some keys."""

    table: str
    difference: str
    rows: int
    keys: list[str]


def compare(connection: Connection, star: str, build: str) -> list[Difference]:
    """Compare a star with another that was built from the files alone."""
    use_schemas(connection, star)
    found = []
    for name in NAMES:
        expected = sql.Identifier(f"expected_{name}")
        view = sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT * FROM {}")
        connection.execute(view.format(expected, sql.Identifier(build, name)))
        rows = connection.execute(statements.read(f"verify/{name}")).fetchall()
        found += [Difference(name, *row) for row in rows]
        connection.execute(sql.SQL("DROP VIEW {}").format(expected))
    return found


# --- switch -------------------------------------------------------------------------------------


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
