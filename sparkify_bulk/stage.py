"""Typed frames to unlogged staging tables, by COPY BINARY; and the batch that stages itself."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from arro3.core import DataType, Table
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.connection import Connection, connect
from sparkify_bulk.errors import BooksError
from sparkify_bulk.extract import FileCounts, extract
from sparkify_bulk.manifest import Batch, Kind, ledger_name
from sparkify_bulk.records import Reject
from sparkify_bulk.transform import stage_events, stage_songs

logger = logging.getLogger("sparkify_bulk")

# Staging tables that hold data; each lane of a run has one of each.
DATA_TABLES = ("staged_songs", "staged_songplays", "staged_users", "staged_time")
TABLES = (*DATA_TABLES, "staged_rejects", "staged_files", "staged_credits")

# What one call of Copy.write takes: libpq buffers it whole, so large blocks only cost memory.
_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Target:
    """Where the batches of a run are staged.

    Attributes:
        dsn: where to connect.
        schema: the staging schema.
        run_id: part of every staging table's name, so that no other run's rows are merged.
        lanes: how many staging tables of each kind the batches take turns in, so that as many
            merges can run side by side.
        slowly: read record by record, by the salvage path throughout.
    """

    dsn: str = field(repr=False)
    schema: str
    run_id: int
    lanes: int
    slowly: bool = False

    def table(self, name: str, lane: int) -> str:
        """Name a lane's staging table."""
        return f"{name}_{self.run_id}_{lane}"


@dataclass(slots=True)
class Staged:
    """What became of a batch: all that comes back from a worker.

    `began` and `ended` are seconds of the system's monotonic clock.
    """

    kind: Kind
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    files: int = 0
    bytes: int = 0
    records: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def make_staging(connection: Connection, target: Target) -> None:
    """Make a run's staging tables, in one transaction."""
    with connection.transaction():
        use_schemas(connection, target.schema)
        for lane in range(target.lanes):
            for name in TABLES:
                connection.execute(statements.read(f"staging/{name}"))
                rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
                connection.execute(
                    rename.format(sql.Identifier(name), sql.Identifier(target.table(name, lane)))
                )


def see_staging(connection: Connection, target: Target, lanes: range | None = None) -> None:
    """Let the statements of this transaction see a run's staging tables by their plain names.

    Temporary views, so that any merge statement runs in psql as it stands.
    """
    for name in TABLES:
        # Credits are noted in one place, whoever staged the songs: a view of one table takes rows.
        seen = range(1) if name == "staged_credits" else lanes or range(target.lanes)
        tables = (sql.Identifier(target.schema, target.table(name, lane)) for lane in seen)
        parts = sql.SQL(" UNION ALL ").join(sql.SQL("SELECT * FROM {}").format(t) for t in tables)
        connection.execute(
            sql.SQL("CREATE TEMPORARY VIEW {} AS {}").format(sql.Identifier(name), parts)
        )


def unsee_staging(connection: Connection) -> None:
    """Drop what `see_staging` made: behind a pooler the session outlives the transaction."""
    views = sql.SQL(", ").join(sql.Identifier("pg_temp", name) for name in TABLES)
    connection.execute(sql.SQL("DROP VIEW {}").format(views))


def use_schemas(connection: Connection, *names: str) -> None:
    """Resolve plain names in these schemas until the transaction ends, never in `public`.

    `pg_catalog` isn't named, so PostgreSQL looks there first: no function of anybody's own can
    stand in for a built-in one.
    """
    path = ", ".join(f'"{name}"' for name in names)
    connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (path,))


def stage_batch(batch: Batch, target: Target) -> Staged:
    """Extract, transform and stage one batch in one transaction: all of it, or nothing.

    Raises:
        BooksError: the records of a file, or the rows of a COPY, don't add up.
        psycopg.Error: the server refused.
    """
    staged = Staged(batch.kind)
    lane = batch.number % target.lanes
    files = batch.files
    names = [ledger_name(batch.root, file) for file in files]
    counts = [FileCounts(file) for file in files]
    with connect(target.dsn) as connection, connection.transaction():
        # Nothing staged outlives a crash anyway, and the commit that publishes is synchronous.
        connection.execute("SET LOCAL synchronous_commit = off")
        for part in extract(batch, counts, slowly=target.slowly):
            frames = _frames(batch.kind, part.frame, names)
            if part.rejects:
                frames["staged_rejects"] = _reject_frame(batch.kind, part.rejects, names)
                staged.reasons.update(reject.reason for reject in part.rejects)
                _log_rejects(part.rejects, names)
            staged.rows.update(_send(connection, target, lane, frames))
        _balance(counts)
        books = {"staged_files": _file_frame(batch, counts, names)}
        staged.rows.update(_send(connection, target, lane, books))
    staged.files = len(files) if batch.start == 0 else 0
    for what in ("bytes", "records", "accepted", "filtered", "rejected"):
        setattr(staged, what, sum(getattr(count, what) for count in counts))
    staged.ended = time.monotonic()
    return staged


def _log_rejects(rejects: list[Reject], names: list[str]) -> None:
    """Name rejects in the log by place and reason; what they hold stays out of it."""
    for reject in rejects:
        logger.debug("%s line %s: %s", names[reject.file], reject.line, reject.reason)


def stage_again(
    connection: Connection, target: Target, kind: Kind, rows: pl.DataFrame, names: list[str]
) -> Counter[str]:
    """Stage records that were rejected once; return the rows sent to each table.

    Args:
        connection: in the transaction that stages.
        target: where to.
        kind: what the records are.
        rows: their typed frame.
        names: the names of the files that its column `file` points to.
    """
    return _send(connection, target, 0, _frames(kind, rows, names))


def _send(
    connection: Connection, target: Target, lane: int, frames: dict[str, pl.DataFrame]
) -> Counter[str]:
    """Send frames to a lane's staging tables; return the rows sent to each."""
    for name, frame in frames.items():
        copy(connection, target.schema, target.table(name, lane), frame)
    return Counter({name: frame.height for name, frame in frames.items()})


def _frames(kind: Kind, rows: pl.DataFrame, names: list[str]) -> dict[str, pl.DataFrame]:
    return stage_songs(rows, names) if kind == "songs" else stage_events(rows)


def copy(connection: Connection, schema: str, table: str, frame: pl.DataFrame) -> None:
    """Send a frame to a table by COPY BINARY.

    Args:
        connection: where to.
        schema: the table's schema.
        table: the table's name.
        frame: its columns carry the names and the types of the table's.

    Raises:
        BooksError: the server took another number of rows than were sent.
    """
    if not frame.height:
        return
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(schema, table), sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as stream:
            for block in encode(frame):
                stream.write(block)
        if cursor.rowcount != frame.height:
            raise BooksError(
                f"{frame.height} rows were sent to {table}, the server took {cursor.rowcount}"
            )


def encode(frame: pl.DataFrame) -> Iterator[memoryview]:
    """Yield a frame's rows in PostgreSQL's binary COPY format, in blocks."""
    # One chunk a column: columns that are cut differently make the conversion crawl.
    table = _without_binary_views(Table(frame.rechunk()))
    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    parts: list[bytes] = [encoder.write_header()]
    parts.extend(encoder.write_batch(part) for part in table.to_batches())
    parts.append(encoder.finish())
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), _BLOCK_BYTES):
            yield view[start : start + _BLOCK_BYTES]


def _without_binary_views(table: Table) -> Table:
    """Copy columns of bytes into a form that the encoder knows; only rejects have one."""
    for index in range(table.num_columns):
        column = table.field(index)
        if column.type == DataType.binary_view():
            plain = table.column(index).cast(DataType.binary())
            table = table.set_column(index, column.with_type(DataType.binary()), plain)
    return table


def _balance(counts: list[FileCounts]) -> None:
    for count in counts:
        if count.records != count.accepted + count.filtered + count.rejected:
            raise BooksError(
                f"{count.file}: {count.records} records, but {count.accepted} accepted, "
                f"{count.filtered} filtered and {count.rejected} rejected"
            )


def _reject_frame(kind: Kind, rejects: list[Reject], names: list[str]) -> pl.DataFrame:
    rows = [
        (kind, names[reject.file], reject.line, reject.offset, reject.column, reject.reason,
         reject.detail, reject.raw)
        for reject in rejects
    ]  # fmt: skip
    schema = {
        "kind": pl.String, "file": pl.String, "line": pl.Int64, "offset": pl.Int64,
        "column": pl.String, "reason": pl.String, "detail": pl.String, "raw": pl.Binary,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _file_frame(batch: Batch, counts: list[FileCounts], names: list[str]) -> pl.DataFrame:
    integers = ("bytes", "modified_ns", "records", "accepted", "filtered", "rejected")
    columns: dict[str, list[Any]] = {"kind": [batch.kind] * len(counts), "file": names}
    columns["start"] = [batch.start] * len(counts)
    columns |= {name: [getattr(count, name) for count in counts] for name in integers}
    columns["digest"] = [count.digest for count in counts]
    schema = {"kind": pl.String, "file": pl.String, "digest": pl.Binary}
    return pl.DataFrame(columns, schema_overrides=schema)
