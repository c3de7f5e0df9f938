"""Staging tables: unlogged, a run's own, and as many of each kind as there are workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.transaction import mark_table, use_schemas
from sparkify_bulk.source.batches import Kind

# Staging tables that hold data; each worker of a run has one of each.
DATA_TABLES = ("staged_songs", "staged_songplays", "staged_users", "staged_time")
# Those whose rows are compared with the rows sent.
COUNTED = (*DATA_TABLES, "staged_rejects", "staged_files")
TABLES = (*COUNTED, "staged_credits")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the batches of a run are staged, and how they are read.

    Attributes:
        schema: the staging schema.
        run_id: part of every staging table's name, so that no other run's rows are merged.
        workers: how many staging tables of each kind there are, so that workers side by side don't
            wait for each other.
        roots: numbers, on record, of the folders that files are read from.
        build: schema of a new star without keys; what is read of files goes there at once.
        record_by_record: read record by record, by the salvage path throughout.
        max_rejects: a batch with more rejects than these is read no further; None for no limit.
        mark: comment of every table made, by which the next run knows it.
    """

    schema: str
    run_id: int
    workers: int
    roots: Mapping[Kind, int] = field(default_factory=dict)
    build: str = ""
    record_by_record: bool = False
    max_rejects: int | None = None
    mark: str = ""

    def table(self, name: str, worker: int) -> sql.Identifier:
        """Name the table that a worker's rows go to."""
        if self.build and name == "staged_files":
            return sql.Identifier(self.build, "files")
        return sql.Identifier(self.schema, self.staging_table(name, worker))

    def staging_table(self, name: str, worker: int) -> str:
        """Name a worker's staging table, within the staging schema."""
        return f"{name}_{self.run_id}_{worker}"


def make_staging(connection: Connection, target: Target) -> None:
    """Make a run's staging tables, in one transaction."""
    with connection.transaction():
        use_schemas(connection, target.schema)
        for worker in range(target.workers):
            for name in TABLES:
                connection.execute(statements.read(f"staging/{name}"))
                rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
                table = sql.Identifier(target.staging_table(name, worker))
                connection.execute(rename.format(sql.Identifier(name), table))
                mark_table(connection, table, target.mark)


def find_staging(connection: Connection, schema: str, run_id: int) -> Target | None:
    """Find the staging tables that a run has made; None if it has none yet."""
    prefix = f"staged_rejects_{run_id}_"
    (workers,) = connection.execute(
        "SELECT pg_catalog.count(*)::integer FROM pg_catalog.pg_tables"
        " WHERE schemaname = %s AND pg_catalog.starts_with(tablename::text, %s)",
        (schema, prefix),
    ).fetchone() or (0,)
    return Target(schema, run_id, workers) if workers else None


def see_staging(connection: Connection, target: Target, workers: range | None = None) -> None:
    """Let the statements of this transaction see a run's staging tables by their plain names.

    Temporary views, so that any merge statement runs in psql as it stands.
    """
    for name in TABLES:
        # Credits are noted in one place, whoever staged the songs: a view of one table takes rows.
        seen = range(1) if name == "staged_credits" else workers or range(target.workers)
        tables = (sql.Identifier(target.schema, target.staging_table(name, n)) for n in seen)
        parts = sql.SQL(" UNION ALL ").join(sql.SQL("SELECT * FROM {}").format(t) for t in tables)
        connection.execute(
            sql.SQL("CREATE TEMPORARY VIEW {} AS {}").format(sql.Identifier(name), parts)
        )


def unsee_staging(connection: Connection) -> None:
    """Drop what `see_staging` made: behind a pooler the session outlives the transaction."""
    views = sql.SQL(", ").join(sql.Identifier("pg_temp", name) for name in TABLES)
    connection.execute(sql.SQL("DROP VIEW {}").format(views))
