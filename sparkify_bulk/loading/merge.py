"""Merge staged rows into a star, and build its constraints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.multirange import Multirange
from psycopg.types.range import TimestamptzRange

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.transaction import set_locally, use_schemas
from sparkify_bulk.errors import CountMismatchError
from sparkify_bulk.report import TableReport
from sparkify_bulk.tables import NAMES, STAR, Table
from sparkify_bulk.transform.reductions import Doubtful

_SETTINGS = {
    # Compiling these statements costs more than it gives at any size.
    "jit": "off",
    # For sorts and hashes of a merge, each of which a worker runs one at a time.
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
}


def prepare(connection: Connection) -> None:
    """Set what merge statements need until the transaction ends."""
    set_locally(connection, _SETTINGS)


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


def merge_all(connection: Connection) -> dict[str, TableReport]:
    """Merge everything staged into the star in sight; return what became of each table."""
    merged = {}
    for name in NAMES:
        # How the staged songs are credited is noted before they are merged, and after.
        credits_change = name == "songs"
        if credits_change:
            connection.execute(statements.read("merge/credits"))
        merged[name] = run_merge(connection, name)
        if credits_change:
            connection.execute(statements.read("merge/credits"))
    merged["songplays"].updated += run_merge(connection, "claims").updated
    return merged


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
    table = sql.Identifier("songplays" if name == "duplicates" else "time")
    # Without a key nothing can be deleted from a table that is published, as all may be.
    identity = sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}")
    connection.execute(identity.format(table, sql.SQL("FULL")))
    removed = connection.execute(statements.read(f"fill/{name}"), parameters).rowcount
    connection.execute(identity.format(table, sql.SQL("DEFAULT")))
    return removed


def check_staged(connection: Connection, sent: Mapping[str, int]) -> None:
    """Compare the rows staged with the rows sent.

    Raises:
        CountMismatchError: some are missing, or there are too many.
    """
    staged = _counts(connection, "checks/staged")
    for name, rows in sent.items():
        if staged[name] != rows:
            raise CountMismatchError(
                f"{rows} rows were sent to {name}, but it has {staged[name]}",
                hint="the server may have restarted during the run; run it again",
            )


def count_rows(connection: Connection) -> dict[str, int]:
    """Count the rows of each table of the star in sight."""
    return _counts(connection, "checks/rows")


def table_sizes(connection: Connection, star: str) -> dict[str, int]:
    """Return how many rows each table that a schema has holds, by the server's statistics.

    Nothing is read of the tables; -1 stands for a table without statistics.
    """
    with connection.transaction():
        use_schemas(connection, star)
        parameters = {"star": star, "tables": list(NAMES)}
        return dict(connection.execute(statements.read("checks/sizes"), parameters).fetchall())


def count_table(connection: Connection, star: str, table: str) -> int:
    """Count the rows of one table of a star."""
    count = sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(sql.Identifier(star, table))
    with connection.transaction():
        (rows,) = connection.execute(count).fetchone() or (0,)
        return int(rows)


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
    for table in STAR:
        views = {f"found_{table.name}": star, f"expected_{table.name}": build}
        for view, schema in views.items():
            _see_rows(connection, view, schema, table)
        rows = connection.execute(statements.read(f"verify/{table.name}")).fetchall()
        found += [Difference(table.name, *row) for row in rows]
        connection.execute(sql.SQL("DROP VIEW {}, {}").format(*map(sql.Identifier, views)))
    return found


def _see_rows(connection: Connection, view: str, schema: str, table: Table) -> None:
    """Make a view of a table without its surrogate key, which says nothing of a row."""
    columns = [
        sql.Identifier(column.name)
        for column in table.all_columns
        if column.name in table.natural_key or column.name != table.primary_key
    ]
    select = sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT {} FROM {}").format(
        sql.Identifier(view), sql.SQL(", ").join(columns), sql.Identifier(schema, table.name)
    )
    connection.execute(select)
