"""One batch: read, transformed and staged in one transaction, by a worker wherever it runs."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import NamedTuple, Self

import polars as pl

from sparkify_bulk.database.connection import Connection
from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import Extract, add_up
from sparkify_bulk.extract.decoder import interruptible
from sparkify_bulk.extract.rejects import Reject
from sparkify_bulk.loading import copy
from sparkify_bulk.loading.fill import Straight
from sparkify_bulk.loading.staging import Target
from sparkify_bulk.loading.workers import Worker
from sparkify_bulk.source.batches import Batch, Kind
from sparkify_bulk.source.names import ledger_names
from sparkify_bulk.source.reading import join_digests
from sparkify_bulk.transform.frames import (
    credits_of,
    latest_of_each_user,
    name_songs,
    play_keys,
    songplays_frame,
    stage_events,
    stage_songs,
)
from sparkify_bulk.transform.rules import unknown_levels

logger = logging.getLogger("sparkify_bulk")

# What is counted of each file.
_COUNTED = ("bytes", "records", "accepted", "filtered", "rejected")
# Frames by the name of the table that they go to.
Frames = dict[str, pl.DataFrame]


class Part(NamedTuple):
    """What was read of a part of a big file: a row of its counts, and where the part begins."""

    file: str
    start: int
    counted: pl.DataFrame


class _Sum:
    """A value of fields that can be added, and can so itself."""

    __slots__ = ()

    def __add__(self, other: Self) -> Self:
        """Add each field to the other value's."""
        names = [one.name for one in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True, slots=True)
class Counts(_Sum):
    """How much was read and staged.

    Attributes:
        files: how many files were begun.
        bytes: how many bytes were read.
        records: how many records these are: `accepted`, `filtered` and `rejected` together.
        unknown_levels: how many plays have a level that is neither free nor paid.
        rows: rows sent, by staging table.
        reasons: rejects, by reason.
    """

    files: int = 0
    bytes: int = 0
    records: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: int = 0
    unknown_levels: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Staged(_Sum):
    """What came of staging batches: all that comes from a worker.

    Attributes:
        counts: how much was read and staged.
        parts: what was read of parts of big files; whole files are on record already.
        songs: how the songs of a new star are credited, and the place of their batch among all.
        users: each user of a part of a new star's events, as of the latest play.
        keys: the keys of its plays.
    """

    counts: Counts = field(default_factory=Counts)
    parts: tuple[Part, ...] = ()
    songs: tuple[tuple[pl.DataFrame, tuple[bytes, int]], ...] = ()
    users: tuple[pl.DataFrame, ...] = ()
    keys: tuple[pl.Series, ...] = ()


def stage_batch(
    worker: Worker, batch: Batch, target: Target, straight: Straight | None = None
) -> Staged:
    """Extract, transform and stage one batch in one transaction: all of it, or nothing.

    Where too many records are rejected it ends early: what was rejected by then is staged.

    Args:
        worker: who does it.
        batch: what to read.
        target: the run's tables.
        straight: lets plays go straight into a new star; None to stage them.

    Raises:
        StoppedError: the run has ended meanwhile.
        CountMismatchError: the records of a file, or the rows of a COPY, don't add up.
        psycopg.Error: the server refused.
    """
    total = Staged()
    with worker.connection.transaction(), interruptible(worker.check):
        # Nothing staged outlives a crash anyway, and the commit that publishes is synchronous.
        worker.connection.execute("SET LOCAL synchronous_commit = off")
        for frames, staged in _read(batch, target, straight):
            for name, frame in frames.items():
                if straight and name == "songplays":
                    straight.songplays.copy(frame)
                else:
                    copy.send(worker.connection, target.table(name, worker.number), frame)
            total += staged
            worker.check()
    return total


def _read(
    batch: Batch, target: Target, straight: Straight | None
) -> Iterator[tuple[Frames, Staged]]:
    """Yield what is to be sent of each part of a batch, and what the result is then."""
    counts: list[pl.DataFrame] = []
    names = ledger_names(batch.root, batch.files)
    rejected = 0
    for part in extract(batch, record_by_record=target.record_by_record):
        frames, staged = _transform(batch, part, names, target, straight)
        counts.append(part.counts())
        rejected += len(part.rejects)
        yield frames, staged
        if target.max_rejects is not None and rejected > target.max_rejects:
            break
    yield _close(batch, add_up(batch.files, counts), names, target)


def _transform(
    batch: Batch, part: Extract, names: list[str], target: Target, straight: Straight | None
) -> tuple[Frames, Staged]:
    """Return the frames of a part of a batch, rejects and all, and what they are reduced to."""
    rows = part.frame
    frames, staged = (
        _new_star_frames(batch, rows, names, straight)
        if target.build
        else (_frames(batch.kind, rows, names), Staged())
    )
    if part.rejects:
        frames["staged_rejects"] = _reject_frame(batch.kind, part.rejects, names)
        _log_rejects(part.rejects, names)
    counts = Counts(
        unknown_levels=unknown_levels(rows) if batch.kind == "events" else 0,
        rows=_heights(frames),
        reasons=Counter(reject.reason for reject in part.rejects),
    )
    return frames, staged + Staged(counts)


def _close(
    batch: Batch, closed: pl.DataFrame, names: list[str], target: Target
) -> tuple[Frames, Staged]:
    """Return the frame of the files that were read whole, and how much was read."""
    frames: Frames = {}
    parts: tuple[Part, ...] = ()
    if batch.is_part:
        parts = (Part(batch.files[0], batch.start, closed),)
    else:
        frames = {"staged_files": _file_frame(batch.kind, closed, names, target)}
    files = len(batch.files) if batch.start == 0 else 0
    bytes_, records, accepted, filtered, rejected = closed.select(pl.col(_COUNTED).sum()).row(0)
    counts = Counts(files, bytes_, records, accepted, filtered, rejected, rows=_heights(frames))
    return frames, Staged(counts, parts)


def _heights(frames: Frames) -> Counter[str]:
    return Counter({name: frame.height for name, frame in frames.items()})


def stage_parts(
    worker: Worker, target: Target, kind: Kind, root: str, parts: Iterable[Part]
) -> Counts:
    """Stage the accounts of big files, each read in parts; return the rows sent.

    Args:
        worker: who does it.
        target: the run's tables.
        kind: what the files hold.
        root: the folder that they are below.
        parts: in any order.
    """
    ordered = sorted(parts, key=attrgetter("file", "start"))
    counted = pl.concat(part.counted for part in ordered)
    files = pl.Series("file", [part.file for part in ordered], dtype=pl.String)
    whole = (
        counted.with_columns(files)
        .group_by("file", maintain_order=True)
        .agg(pl.col(_COUNTED).sum(), pl.col("modified_ns").max(), "digest")
        .with_columns(pl.col("digest").map_elements(join_digests, return_dtype=pl.Binary))
    )
    names = ledger_names(root, whole["file"])
    frame = _file_frame(kind, whole.drop("file"), names, target)
    with worker.connection.transaction():
        copy.send(worker.connection, target.table("staged_files", worker.number), frame)
    return Counts(rows=Counter(staged_files=frame.height))


def stage_again(
    connection: Connection, target: Target, kind: Kind, rows: pl.DataFrame, names: list[str]
) -> Counts:
    """Stage records that were rejected once; return the rows sent to each table.

    Args:
        connection: in the transaction that stages.
        target: where to.
        kind: what the records are.
        rows: their typed frame.
        names: the names of the files that its column `file` points to.
    """
    frames = _frames(kind, rows, names)
    for name, frame in frames.items():
        copy.send(connection, target.table(name, 0), frame)
    return Counts(rows=_heights(frames))


def _log_rejects(rejects: list[Reject], names: list[str]) -> None:
    """Name rejects in the log by place and reason; what they hold stays out of it."""
    for reject in rejects:
        logger.debug("%s line %s: %s", names[reject.file], reject.line, reject.reason)


def _frames(kind: Kind, rows: pl.DataFrame, names: list[str]) -> Frames:
    return {"staged_songs": stage_songs(rows, names)} if kind == "songs" else stage_events(rows)


def _new_star_frames(
    batch: Batch, rows: pl.DataFrame, names: list[str], straight: Straight | None
) -> tuple[Frames, Staged]:
    """Return what is sent of a batch for a new star, and what it is reduced to.

    Plays go straight into it, where they can.
    """
    if batch.kind == "songs":
        songs = ((credits_of(rows), batch.place),)
        return {"staged_songs": stage_songs(rows, names)}, Staged(songs=songs)
    staged = Staged(users=(latest_of_each_user(rows),), keys=(play_keys(rows),))
    plays = songplays_frame(rows)
    if straight is None:
        return {"staged_songplays": plays}, staged
    numbers = straight.numbers.take(plays.height)
    return {"songplays": name_songs(plays, straight.credits).with_columns(numbers)}, staged


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


def _file_frame(
    kind: Kind, counted: pl.DataFrame, names: list[str], target: Target
) -> pl.DataFrame:
    return counted.with_columns(
        pl.Series("file", names, dtype=pl.String),
        pl.lit(kind).alias("kind"),
        pl.lit(target.roots[kind], pl.Int64).alias("root_id"),
        pl.lit(target.run_id, pl.Int64).alias("run_id"),
    )
