"""Typed frames to unlogged staging tables, by COPY BINARY; and the batch that stages itself."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import polars as pl
from arro3.core import DataType, Table
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.session import Session
from sparkify_bulk.database.transaction import mark_table, use_schemas
from sparkify_bulk.errors import BooksError
from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import Books
from sparkify_bulk.extract.decoder import interruptible
from sparkify_bulk.extract.rejects import Reject
from sparkify_bulk.loading.workers import Lane
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.names import ledger_names
from sparkify_bulk.source.reading import join_digests
from sparkify_bulk.transform.frames import (
    credits_of,
    latest_of_each_user,
    moments_frame,
    name_songs,
    play_keys,
    songplays_frame,
    stage_events,
    stage_songs,
)
from sparkify_bulk.transform.reductions import Credits, Moments, UserRows
from sparkify_bulk.transform.rules import unknown_levels

logger = logging.getLogger("sparkify_bulk")

# Staging tables that hold data; each lane of a run has one of each.
DATA_TABLES = ("staged_songs", "staged_songplays", "staged_users", "staged_time")
TABLES = (*DATA_TABLES, "staged_rejects", "staged_files", "staged_credits")

# What one call of Copy.write takes: libpq buffers it whole, so large blocks only cost memory.
_BLOCK_BYTES = 2**20
# What is encoded at once: about a megabyte of plays. It stays in the processor's cache, and the
# encoder, which holds the interpreter's lock, doesn't hold up other workers for long.
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """Where the batches of a run are staged.

    Attributes:
        schema: the staging schema.
        run_id: part of every staging table's name, so that no other run's rows are merged.
        lanes: how many staging tables of each kind there are, so that workers side by side don't
            wait for each other.
        roots: numbers, on record, of the folders that files are read from.
        build: schema of a new star without keys; what is read of files goes there at once.
        slowly: read record by record, by the salvage path throughout.
        mark: comment of every table made, by which the next run knows it.
    """

    schema: str
    run_id: int
    lanes: int
    roots: Mapping[Kind, int] = field(default_factory=dict)
    build: str = ""
    slowly: bool = False
    mark: str = ""

    def table(self, name: str, lane: int) -> sql.Identifier:
        """Name the table that a lane's rows go to."""
        if self.build and name == "staged_files":
            return sql.Identifier(self.build, "files")
        return sql.Identifier(self.schema, self.staging_table(name, lane))

    def staging_table(self, name: str, lane: int) -> str:
        """Name a lane's staging table, within the staging schema."""
        return f"{name}_{self.run_id}_{lane}"


class Part(NamedTuple):
    """What was read of a part of a big file: a row of its books, and where the part begins."""

    file: str
    start: int
    books: pl.DataFrame


@dataclass(slots=True)
class Staged:
    """What became of a batch, which stands at a place among all: all that comes from a worker.

    `unknown_levels` counts the plays whose level is neither free nor paid.
    `part` is what was read, if that was a part of a big file; whole files are on record already.
    `songs`, `users` and `keys` are what a new star's batches are reduced to, for `reductions`.
    """

    kind: Kind
    place: tuple[bytes, int] = (b"", 0)
    files: int = 0
    bytes: int = 0
    records: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0
    unknown_levels: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    part: Part | None = None
    songs: list[pl.DataFrame] = field(default_factory=list)
    users: list[pl.DataFrame] = field(default_factory=list)
    keys: list[pl.Series] = field(default_factory=list)


class Numbers:
    """Surrogate keys, from 1: workers take as many as they have rows.

    Asking the table's own sequence row by row would cost a fifth of the COPY.
    """

    def __init__(self) -> None:
        """Begin at 1."""
        self._lock = threading.Lock()
        self.last = 0

    def take(self, number: int) -> pl.Series:
        """Return the next ones."""
        with self._lock:
            first = self.last + 1
            self.last += number
        return pl.int_range(first, first + number, eager=True).alias("songplay_id")


class Fill:
    """A table of a new star, made and filled in one transaction of its own.

    Nobody else sees its rows before they are committed, so they can be frozen at once: who reads
    them later, indexes and references first of all, needs not look up whether they are visible, and
    scans of indexes alone will do. A server with `wal_level = minimal` doesn't log them at all.
    Workers take turns; each COPY keeps one backend busy.
    """

    def __init__(self, connection: Session, schema: str, table: str, mark: str) -> None:
        """Begin the transaction, and make the table, with a mark."""
        self.connection = connection
        self._lock = threading.Lock()
        self._table = sql.Identifier(schema, table)
        connection.begin()
        use_schemas(connection, schema)
        connection.execute(statements.read(f"schema/{table}"))
        mark_table(connection, self._table, mark)
        self.rows = 0

    def copy(self, frame: pl.DataFrame) -> None:
        """Send a frame.

        Raises:
            BooksError: the server took another number of rows than were sent.
        """
        with self._lock:
            copy(self.connection, self._table, frame, freeze=True)
            self.rows += frame.height

    def commit(self) -> None:
        """Let others see the table."""
        self.connection.commit()


class RejectLimit:
    """Counts the rejects of all workers, so that none goes on once there are too many."""

    def __init__(self, most: int | None, count: int) -> None:
        """Begin with some; `most` is None for no limit."""
        self._most = most
        self._count = count
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        """Count some more."""
        with self._lock:
            self._count += number

    @property
    def is_passed(self) -> bool:
        """Whether there are more than are allowed."""
        return self._most is not None and self._count > self._most


class Straight(NamedTuple):
    """What lets plays go straight into a new star: what gives them songs and numbers, the table."""

    credits: Credits
    numbers: Numbers
    songplays: Fill


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
                mark_table(connection, table, target.mark)


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


def stage_batch(
    lane: Lane,
    batch: Batch,
    target: Target,
    straight: Straight | None = None,
    limit: RejectLimit | None = None,
) -> Staged:
    """Extract, transform and stage one batch in one transaction: all of it, or nothing.

    Where too many records are rejected it ends early: what was rejected by then is staged.

    Args:
        lane: where to.
        batch: what to read.
        target: the run's tables.
        straight: lets plays go straight into a new star; None to stage them.
        limit: how many records may be rejected; None for no limit.

    Raises:
        StoppedError: the run has ended meanwhile.
        BooksError: the records of a file, or the rows of a COPY, don't add up.
        psycopg.Error: the server refused.
    """
    staged = Staged(batch.kind, batch.place)
    files = batch.files
    names = ledger_names(batch.root, files)
    books = Books(files)
    with lane.connection.transaction(), interruptible(lane.check):
        # Nothing staged outlives a crash anyway, and the commit that publishes is synchronous.
        lane.connection.execute("SET LOCAL synchronous_commit = off")
        for part in extract(batch, books, slowly=target.slowly):
            if batch.kind == "events":
                staged.unknown_levels += unknown_levels(part.frame)
            frames = (
                _new_star_frames(batch, part.frame, names, staged, straight)
                if target.build
                else _frames(batch.kind, part.frame, names)
            )
            if part.rejects:
                frames["staged_rejects"] = _reject_frame(batch.kind, part.rejects, names)
                staged.reasons.update(reject.reason for reject in part.rejects)
                _log_rejects(part.rejects, names)
            staged.rows.update(_send(lane, target, frames))
            if limit:
                limit.add(len(part.rejects))
            if limit and limit.is_passed:
                break
            lane.check()
        closed = books.close()
        if batch.is_part:
            staged.part = Part(files[0], batch.start, closed)
        else:
            frame = _file_frame(batch.kind, closed, names, target)
            staged.rows.update(_send(lane, target, {"staged_files": frame}))
    staged.files = len(files) if batch.start == 0 else 0
    for what in ("bytes", "records", "accepted", "filtered", "rejected"):
        setattr(staged, what, closed[what].sum())
    return staged


def stage_parts(
    lane: Lane, target: Target, kind: Kind, root: str, parts: Iterable[Part]
) -> Counter[str]:
    """Stage the accounts of big files, each read in parts; return the rows sent.

    Args:
        lane: where to.
        target: the run's tables.
        kind: what the files hold.
        root: the folder that they are below.
        parts: in any order.
    """
    ordered = sorted(parts, key=attrgetter("file", "start"))
    books = pl.concat(part.books for part in ordered)
    files = pl.Series("file", [part.file for part in ordered], dtype=pl.String)
    counts = ("bytes", "records", "accepted", "filtered", "rejected")
    whole = (
        books.with_columns(files)
        .group_by("file", maintain_order=True)
        .agg(pl.col(counts).sum(), pl.col("modified_ns").max(), "digest")
        .with_columns(pl.col("digest").map_elements(join_digests, return_dtype=pl.Binary))
    )
    names = ledger_names(root, whole["file"])
    frame = _file_frame(kind, whole.drop("file"), names, target)
    with lane.connection.transaction():
        return _send(lane, target, {"staged_files": frame})


def send_users(lane: Lane, target: Target, users: UserRows) -> Counter[str]:
    """Stage users that `reductions` has reduced; return the rows sent."""
    with lane.connection.transaction():
        return _send(lane, target, {"staged_users": users})


def fill_time(fill: Fill, moments: Moments) -> None:
    """Send moments that `reductions` has reduced to the new star."""
    fill.copy(moments_frame(moments))


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
    return _send(Lane(0, connection), target, _frames(kind, rows, names))


def _send(lane: Lane, target: Target, frames: dict[str, pl.DataFrame]) -> Counter[str]:
    """Send frames to a lane's tables; return the rows sent to each."""
    for name, frame in frames.items():
        copy(lane.connection, target.table(name, lane.number), frame)
    return Counter({name: frame.height for name, frame in frames.items()})


def _frames(kind: Kind, rows: pl.DataFrame, names: list[str]) -> dict[str, pl.DataFrame]:
    return {"staged_songs": stage_songs(rows, names)} if kind == "songs" else stage_events(rows)


def _new_star_frames(
    batch: Batch, rows: pl.DataFrame, names: list[str], staged: Staged, straight: Straight | None
) -> dict[str, pl.DataFrame]:
    """Return what is staged of a batch for a new star.

    Plays go straight into it, where they can; what they are reduced to goes back with `staged`.
    """
    if batch.kind == "songs":
        staged.songs.append(credits_of(rows))
        return {"staged_songs": stage_songs(rows, names)}
    staged.users.append(latest_of_each_user(rows))
    staged.keys.append(play_keys(rows))
    plays = songplays_frame(rows)
    if straight is None:
        return {"staged_songplays": plays}
    numbers = straight.numbers.take(plays.height)
    straight.songplays.copy(name_songs(plays, straight.credits).with_columns(numbers))
    return {}


def copy(
    connection: Connection, table: sql.Identifier, frame: pl.DataFrame, *, freeze: bool = False
) -> None:
    """Send a frame to a table by COPY BINARY.

    Args:
        connection: where to.
        table: the table's name.
        frame: its columns carry the names and the types of the table's.
        freeze: the table was made in the transaction that is open; its rows need never be looked
            up again.

    Raises:
        BooksError: the server took another number of rows than were sent.
    """
    if not frame.height:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    options = sql.SQL("FORMAT BINARY, FREEZE" if freeze else "FORMAT BINARY")
    statement = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(table, columns, options)
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
    yield memoryview(encoder.write_header())
    for part in table.rechunk(max_chunksize=_BLOCK_ROWS).to_batches():
        view = memoryview(encoder.write_batch(part))
        for start in range(0, len(view), _BLOCK_BYTES):
            yield view[start : start + _BLOCK_BYTES]
    yield memoryview(encoder.finish())


def _without_binary_views(table: Table) -> Table:
    """Copy columns of bytes into a form that the encoder knows; only rejects have one."""
    for index in range(table.num_columns):
        column = table.field(index)
        if column.type == DataType.binary_view():
            plain = table.column(index).cast(DataType.binary())
            table = table.set_column(index, column.with_type(DataType.binary()), plain)
    return table


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


def _file_frame(kind: Kind, books: pl.DataFrame, names: list[str], target: Target) -> pl.DataFrame:
    return books.with_columns(
        pl.Series("file", names, dtype=pl.String),
        pl.lit(kind).alias("kind"),
        pl.lit(target.roots[kind], pl.Int64).alias("root_id"),
        pl.lit(target.run_id, pl.Int64).alias("run_id"),
    )
