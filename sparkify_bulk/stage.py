"""Typed frames to unlogged staging tables, by COPY BINARY; and the batch that stages itself."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from arro3.core import DataType, Table
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.connection import Connection
from sparkify_bulk.errors import BooksError
from sparkify_bulk.extract import FileCounts, extract
from sparkify_bulk.lanes import Lane
from sparkify_bulk.manifest import Batch, Kind, ledger_names
from sparkify_bulk.records import Reject
from sparkify_bulk.transform import repeated_moments, stage_events, stage_songs

logger = logging.getLogger("sparkify_bulk")

# What plays may name: `song_id` and `artist_id` by `title`, `artist_name` and `duration`.
Credits = pl.DataFrame

# Staging tables that hold data; each lane of a run has one of each.
DATA_TABLES = ("staged_songs", "staged_songplays", "staged_users", "staged_time")
TABLES = (*DATA_TABLES, "staged_rejects", "staged_files", "staged_credits")

# More songs than this aren't held in memory (about 150 bytes each): SQL matches the plays then.
CREDITS_KEPT = 2_000_000
_MOMENTS_KEPT = 8_000_000
_DOUBTFUL_MOMENTS = 100_000

# What one call of Copy.write takes: libpq buffers it whole, so large blocks only cost memory.
_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Target:
    """Where the batches of a run are staged.

    Attributes:
        schema: the staging schema.
        run_id: part of every staging table's name, so that no other run's rows are merged.
        lanes: how many staging tables of each kind there are, so that workers side by side don't
            wait for each other.
        build: schema of a new star without keys.
        straight: the staging tables whose rows go straight into the new star.
        slowly: read record by record, by the salvage path throughout.
    """

    schema: str
    run_id: int
    lanes: int
    build: str = ""
    straight: frozenset[str] = frozenset()
    slowly: bool = False

    def table(self, name: str, lane: int) -> sql.Identifier:
        """Name the table that a lane's rows go to."""
        if name in self.straight:
            return sql.Identifier(self.build, name.removeprefix("staged_"))
        return sql.Identifier(self.schema, self.staging_table(name, lane))

    def staging_table(self, name: str, lane: int) -> str:
        """Name a lane's staging table, within the staging schema."""
        return f"{name}_{self.run_id}_{lane}"


@dataclass(slots=True)
class Staged:
    """What became of a batch: all that comes back from a worker."""

    kind: Kind
    files: int = 0
    bytes: int = 0
    records: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    moments: list[pl.Series] = field(default_factory=list)
    repeated: list[pl.Series] = field(default_factory=list)


@dataclass(slots=True)
class Moments:
    """The moments of a new star's songplays, to tell which of them were sent more than once.

    Rows of equal key have equal moments; where there are few of those, looking at them alone is a
    tenth of the work of looking at all rows. 8 bytes a moment: beyond `_MOMENTS_KEPT` nothing is
    kept, and all rows are looked at.
    """

    _series: list[pl.Series] = field(default_factory=list)
    _repeated: list[pl.Series] = field(default_factory=list)
    _kept: int = 0

    def add(self, staged: Staged) -> None:
        """Take note of a batch's moments."""
        self._kept += sum(map(len, staged.moments))
        if self._kept > _MOMENTS_KEPT:
            self._series.clear()
            self._repeated.clear()
        else:
            self._series += staged.moments
            self._repeated += staged.repeated

    def doubtful(self) -> list[datetime] | None:
        """Return the moments at which a row may stand twice; None if all may."""
        if self._kept > _MOMENTS_KEPT:
            return None
        if not self._series:
            return []
        # Sorted, not hashed: a hash table of them would take fifty bytes a moment.
        moments = pl.concat(self._series).sort()
        shared = moments.filter(moments == moments.shift(1))
        found = pl.concat([shared, *self._repeated]).unique()
        return None if len(found) > _DOUBTFUL_MOMENTS else found.to_list()


def make_staging(connection: Connection, target: Target) -> None:
    """Make a run's staging tables, in one transaction."""
    with connection.transaction():
        use_schemas(connection, target.schema)
        for lane in range(target.lanes):
            for name in TABLES:
                connection.execute(statements.read(f"staging/{name}"))
                rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
                table = sql.Identifier(target.staging_table(name, lane))
                connection.execute(rename.format(sql.Identifier(name), table))


def see_staging(connection: Connection, target: Target, lanes: range | None = None) -> None:
    """Let the statements of this transaction see a run's staging tables by their plain names.

    Temporary views, so that any merge statement runs in psql as it stands.
    """
    for name in TABLES:
        # Credits are noted in one place, whoever staged the songs: a view of one table takes rows.
        seen = range(1) if name == "staged_credits" else lanes or range(target.lanes)
        tables = (sql.Identifier(target.schema, target.staging_table(name, n)) for n in seen)
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


def stage_batch(
    lane: Lane, batch: Batch, target: Target, credits_: Credits | None = None
) -> Staged:
    """Extract, transform and stage one batch in one transaction: all of it, or nothing.

    Args:
        lane: where to.
        batch: what to read.
        target: the run's tables.
        credits_: the songs that plays may name, from `read_credits`; None to leave that to SQL.

    Raises:
        BooksError: the records of a file, or the rows of a COPY, don't add up.
        psycopg.Error: the server refused.
    """
    staged = Staged(batch.kind)
    files = batch.files
    names = ledger_names(batch.root, files)
    counts = [FileCounts(file) for file in files]
    with lane.connection.transaction():
        # Nothing staged outlives a crash anyway, and the commit that publishes is synchronous.
        lane.connection.execute("SET LOCAL synchronous_commit = off")
        for part in extract(batch, counts, slowly=target.slowly):
            frames = _frames(batch.kind, part.frame, names, credits_)
            if part.rejects:
                frames["staged_rejects"] = _reject_frame(batch.kind, part.rejects, names)
                staged.reasons.update(reject.reason for reject in part.rejects)
                _log_rejects(part.rejects, names)
            staged.rows.update(_send(lane, target, frames))
            if "staged_time" in target.straight and batch.kind == "events":
                staged.moments.append(frames["staged_time"]["start_time"])
                staged.repeated.append(repeated_moments(frames["staged_songplays"]))
        _balance(counts)
        staged.rows.update(_send(lane, target, {"staged_files": _file_frame(batch, counts, names)}))
    staged.files = len(files) if batch.start == 0 else 0
    for what in ("bytes", "records", "accepted", "filtered", "rejected"):
        setattr(staged, what, sum(getattr(count, what) for count in counts))
    return staged


def _log_rejects(rejects: list[Reject], names: list[str]) -> None:
    """Name rejects in the log by place and reason; what they hold stays out of it."""
    for reject in rejects:
        logger.debug("%s line %s: %s", names[reject.file], reject.line, reject.reason)


def read_credits(connection: Connection) -> Credits | None:
    """Read how the songs in sight are credited, to match plays with; None if they are too many.

    Of several songs with one title, artist and duration the smallest `song_id` is named.
    """
    columns = {
        "title": pl.String, "artist_name": pl.String, "duration": pl.Float64,
        "song_id": pl.String, "artist_id": pl.String,
    }  # fmt: skip
    with connection.cursor() as cursor:
        (number,) = cursor.execute(statements.read("fill/credits_number")).fetchone() or (0,)
        if number > CREDITS_KEPT:
            return None
        with cursor.copy(statements.read("fill/credits")) as stream:
            text = b"".join(stream)
    read = pl.read_csv(text, has_header=False, schema=columns, empty_string_is_null=False)
    # PostgreSQL holds -0.0 equal to 0.0; so does a join of floats.
    return read.sort("song_id").unique(["title", "artist_name", "duration"], keep="first")


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
    return _send(Lane(0, connection), target, _frames(kind, rows, names))


def _send(lane: Lane, target: Target, frames: dict[str, pl.DataFrame]) -> Counter[str]:
    """Send frames to a lane's tables; return the rows sent to each."""
    for name, frame in frames.items():
        copy(lane.connection, target.table(name, lane.number), frame)
    return Counter({name: frame.height for name, frame in frames.items()})


def _frames(
    kind: Kind, rows: pl.DataFrame, names: list[str], credits_: pl.DataFrame | None = None
) -> dict[str, pl.DataFrame]:
    return stage_songs(rows, names) if kind == "songs" else stage_events(rows, credits_)


def copy(connection: Connection, table: sql.Identifier, frame: pl.DataFrame) -> None:
    """Send a frame to a table by COPY BINARY.

    Args:
        connection: where to.
        table: the table's name.
        frame: its columns carry the names and the types of the table's.

    Raises:
        BooksError: the server took another number of rows than were sent.
    """
    if not frame.height:
        return
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as stream:
            for block in encode(frame):
                stream.write(block)
        if cursor.rowcount != frame.height:
            raise BooksError(
                f"{frame.height} rows were sent to {table.as_string()}, "
                f"the server took {cursor.rowcount}"
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
