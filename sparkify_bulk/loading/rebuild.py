"""Build a new star from all files, beside the live one.

The new star has no keys while it fills, and nobody sees it: songplays and moments go straight into
it by COPY, as if its tables were staging tables. What was sent twice is removed, then references
are checked and indexes built.
"""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from psycopg import sql

from sparkify_bulk import ledger, statements
from sparkify_bulk.database.connection import Connection, connect, is_here
from sparkify_bulk.database.transaction import mark_table, set_locally, use_schemas
from sparkify_bulk.errors import CountMismatchError
from sparkify_bulk.loading import copy, marks, merge
from sparkify_bulk.loading.batches import Counts, Staged
from sparkify_bulk.loading.collect import prepare_staging, run_workers
from sparkify_bulk.loading.context import Run
from sparkify_bulk.loading.fill import Fill, Numbers, Straight
from sparkify_bulk.loading.staging import Target, see_staging, unsee_staging
from sparkify_bulk.loading.workers import Step, Worker, Workers
from sparkify_bulk.report import TableReport
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.manifest import Manifest
from sparkify_bulk.tables import NAMES
from sparkify_bulk.transform.frames import moments_frame
from sparkify_bulk.transform.reductions import (
    Doubtful,
    Moments,
    Plays,
    Songs,
    UserRows,
    Users,
)

_REFERENCE_TO_TIME = "constraints/references_songplays_start_time"
# Tables that rows go straight into; the others are merged from staging tables.
_FILLED = ("songplays", "time")
_MERGED = tuple(name for name in NAMES if name not in _FILLED)


@dataclass(slots=True)
class NewStar:
    """A star under construction, and what was read for it so far. Only its own thread writes here.

    Attributes:
        run: the run.
        target: the run's staging tables.
        workers: who does it.
        songplays: the table of plays, and the transaction that fills it.
        time: the table of moments, likewise.
        counts: how much was staged.
        straight: lets plays go straight into the star; None to stage them first.
        tables: what became of each table, once that is known.
    """

    run: Run
    target: Target
    workers: Workers
    songplays: Fill
    time: Fill
    counts: Counts = field(default_factory=Counts)
    straight: Straight | None = None
    tables: dict[str, TableReport] = field(default_factory=dict)
    _songs: Songs = field(default_factory=Songs)
    _users: Users = field(default_factory=Users)
    _plays: Plays = field(default_factory=Plays)
    _merges: dict[str, Future[TableReport]] = field(default_factory=dict)
    _sent_users: int = 0

    # --- songs ------------------------------------------------------------------------------------

    def add_songs(self, staged: Staged) -> None:
        """Take the result of staging songs."""
        self.counts += staged.counts
        for frame, place in staged.songs:
            self._songs.add(frame, place)

    def merge_songs(self) -> None:
        """Let songs and artists be merged, side by side with the first events.

        What plays may name is known then.
        """
        held = self._songs.credits() if self.workers.share_memory else None
        self._songs = Songs()
        if held is not None:
            self.straight = Straight(held, Numbers(), self.songplays)
        staged = self.counts.rows["staged_songs"]
        for name in ("songs", "artists"):
            task = self.workers.begin(_merge_songs, self.run, self.target, name, staged)
            self._merges[name] = task

    # --- events -----------------------------------------------------------------------------------

    def add_events(self, staged: Staged) -> None:
        """Take the result of staging events; send on what gets too much to be held."""
        self.counts += staged.counts
        for frame in staged.users:
            if (users := self._users.add(frame)) is not None:
                self._sent_users += users.height
                self.workers.begin(_send_users, self.target, users)
        for keys in staged.keys:
            if (moments := self._plays.add(keys)) is not None:
                self.workers.begin(_send_moments, self.time, moments)

    def end_staging(self) -> None:
        """Wait for what was begun besides, and let others see the plays.

        Raises:
            CountMismatchError: rows are missing.
        """
        self.workers.join()
        self.tables |= {name: merged.result() for name, merged in self._merges.items()}
        self.songplays.commit()

    def match_songplays(self) -> None:
        """Fill songplays from every worker's staging table, each play with its song.

        Raises:
            CountMismatchError: plays are missing, or there are too many.
        """
        filling = partial(_fill_songplays, run=self.run, target=self.target)
        filled = sum(self.workers.each(filling, range(self.target.workers)))
        staged = self.counts.rows["staged_songplays"]
        if filled != staged:
            raise CountMismatchError(f"{staged} songplays were staged, {filled} were merged")

    # --- the last steps ---------------------------------------------------------------------------

    def last_steps(self) -> list[Step]:
        """Return what is left to be done once all batches are staged.

        Removing rows, ANALYZE, references and indexes lock each other out on one table, and wait
        for each other here rather than there; only indexes are built side by side.
        """
        run, target = self.run, self.target
        moments, users, doubtful = self._plays.take(), self._users.take(), self._plays.doubtful()
        self._sent_users += 0 if users is None else users.height
        rows = self.songplays.rows if self.straight else self.counts.rows["staged_songplays"]
        last = self.straight.numbers.last if self.straight else 0
        keys = statements.constraints("keys", "songplays")
        indexes = statements.constraints("indexes", "songplays")
        few = [
            name
            for table in ("songs", "songplays")
            for name in statements.constraints("references", table)
            if name != _REFERENCE_TO_TIME
        ]
        remove = partial(_remove_repeated, run=run, doubtful=doubtful, rows=rows, last=last)
        time = partial(_finish_time, run=run, time=self.time, moments=moments, doubtful=doubtful)
        merge_users = partial(
            _finish_users, run=run, target=target, users=users, sent=self._sent_users
        )
        build = partial(_build_index, run=run, workers=target.workers)
        analyse = partial(_analyse, run=run, table="songplays")
        refer, constrain = partial(_refer_to_time, run=run), partial(_constrain, run=run)
        return [
            Step("repeated plays", remove),
            Step("users", merge_users),
            Step("time", time),
            Step("analyse songplays", analyse, ("repeated plays",)),
            Step("other references", partial(constrain, names=few), ("analyse songplays", "users")),
            *(Step(name, partial(build, name=name), ("other references",)) for name in indexes),
            Step("keys", partial(constrain, names=keys), tuple(indexes)),
            Step("references to time", refer, ("keys", "time")),
            Step("count rows", partial(_count_rows, run=run), ("repeated plays", "time", "users")),
            Step("files", partial(_finish_files, run=run)),
        ]

    def check(self, results: dict[str, Any]) -> None:
        """Compare the new star's rows with those that were sent and merged.

        Args:
            results: of the last steps, by their names.

        Raises:
            CountMismatchError: some are missing, or there are too many.
        """
        self.tables["songplays"] = results["repeated plays"]
        self.tables |= {name: results[name] for name in ("time", "users")}
        for name, table in self.tables.items():
            table.rows = results["count rows"][name]
            if table.inserted != table.rows:
                raise CountMismatchError(
                    f"{table.inserted} rows were merged into {name}, but it has {table.rows}"
                )
        files = self.counts.rows["staged_files"]
        if results["files"] != files:
            raise CountMismatchError(
                f"{files} files were written to the ledger, but it has {results['files']}"
            )


@contextlib.contextmanager
def open_new_star(
    run: Run, manifests: dict[Kind, Manifest], *, record_by_record: bool = False
) -> Iterator[NewStar]:
    """Make staging tables and those of a new star, the ledger's of its files too; open workers.

    Args:
        run: the run.
        manifests: what it will read.
        record_by_record: read record by record.
    """
    target = _make_tables(run, prepare_staging(run, manifests, record_by_record=record_by_record))
    # In this order: connections are closed when no worker uses them any more.
    with _fills(run) as (songplays, time), run_workers(run, target) as workers:
        workers.share(songplays.connection, time.connection)
        yield NewStar(run, target, workers, songplays, time)


def _make_tables(run: Run, target: Target) -> Target:
    """Make the tables that rows are merged into, without keys, and the one of files on record."""
    for name in (run.schemas.star, run.schemas.build):
        marks.make_schema(run.control, run.schemas, name)
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        merge.make_tables(run.control, _MERGED)
        ledger.make_files(run.control)
        for name in (*_MERGED, "files"):
            mark_table(run.control, sql.Identifier(run.schemas.build, name), run.mark)
    return replace(target, build=run.schemas.build)


@contextlib.contextmanager
def _fills(run: Run) -> Iterator[tuple[Fill, Fill]]:
    """Make the tables that rows go straight into, each over a connection of its own."""
    with connect(run.dsn) as one, connect(run.dsn) as other, run.phases.counting(one, other):
        songplays, time = (
            Fill(connection, run.schemas.build, name, run.mark)
            for connection, name in zip((one, other), _FILLED, strict=True)
        )
        yield songplays, time


# --- tasks of workers -----------------------------------------------------------------------------


def _merge_songs(worker: Worker, run: Run, target: Target, name: str, staged: int) -> TableReport:
    """Merge songs, or artists, from all staging tables into the new star, and give it its keys."""
    with _in_star(worker.connection, run, target):
        merge.check_staged(worker.connection, {"staged_songs": staged})
        inserted = merge.fill(worker.connection, name)
    for group in ("indexes", "keys"):
        _constrain(worker, run, statements.constraints(group, name))
    _analyse(worker, run, name)
    return TableReport(inserted=inserted)


def _send_users(worker: Worker, target: Target, users: UserRows) -> None:
    with worker.connection.transaction():
        copy.send(worker.connection, target.table("staged_users", worker.number), users)


def _send_moments(_: Worker, time: Fill, moments: Moments) -> None:
    time.copy(moments_frame(moments))


def _fill_songplays(worker: Worker, number: int, run: Run, target: Target) -> int:
    """Fill songplays from one worker's staging table."""
    with _in_star(worker.connection, run, target, range(number, number + 1)):
        return merge.fill(worker.connection, "songplays")


def _remove_repeated(
    worker: Worker, run: Run, doubtful: Doubtful, rows: int, last: int
) -> TableReport:
    """Remove plays read twice, and let the table's own numbers begin after those given.

    Args:
        worker: who does it.
        run: the run.
        doubtful: where plays may stand twice.
        rows: how many there are.
        last: the last number given; 0 if the table has given them itself.
    """
    with worker.connection.transaction():
        _enter(worker.connection, run)
        removed = merge.remove_repeated(worker.connection, "duplicates", doubtful)
        if last:
            worker.connection.execute(statements.read("fill/numbers"), {"last": last})
    return TableReport(inserted=rows - removed)


def _finish_time(
    worker: Worker, run: Run, time: Fill, moments: Moments | None, doubtful: Doubtful
) -> TableReport:
    """Send the last moments, remove those sent twice, and give the table its key."""
    if moments is not None:
        time.copy(moments_frame(moments))
    time.commit()
    with worker.connection.transaction():
        _enter(worker.connection, run)
        # What was sent at once has no moment twice.
        shared = Doubtful([], doubtful.spans)
        removed = merge.remove_repeated(worker.connection, "moments", shared)
    _constrain(worker, run, statements.constraints("keys", "time"))
    _analyse(worker, run, "time")
    return TableReport(inserted=time.rows - removed)


def _finish_users(
    worker: Worker, run: Run, target: Target, users: UserRows | None, sent: int
) -> TableReport:
    """Send the last users, and merge all that were sent."""
    if users is not None:
        with worker.connection.transaction():
            copy.send(worker.connection, target.table("staged_users", worker.number), users)
    with _in_star(worker.connection, run, target):
        merge.constrain(worker.connection, "keys", "users")
        merge.check_staged(worker.connection, {"staged_users": sent})
        merged = merge.run_merge(worker.connection, "users")
    _analyse(worker, run, "users")
    return merged


def _count_rows(worker: Worker, run: Run) -> dict[str, int]:
    with worker.connection.transaction():
        _enter(worker.connection, run)
        return merge.count_rows(worker.connection)


def _finish_files(worker: Worker, run: Run) -> int:
    """Give the table of files its key, and count its rows."""
    with worker.connection.transaction():
        _enter(worker.connection, run)
        return ledger.complete_files(worker.connection)


def _enter(connection: Connection, run: Run) -> None:
    """Set a transaction up for statements on the new star."""
    use_schemas(connection, run.schemas.build)
    merge.prepare(connection)


@contextlib.contextmanager
def _in_star(
    connection: Connection, run: Run, target: Target, workers: range | None = None
) -> Iterator[None]:
    """Open a transaction that sees the new star, and what is staged for it."""
    with connection.transaction():
        _enter(connection, run)
        see_staging(connection, target, workers)
        yield
        unsee_staging(connection)


def _build_index(worker: Worker, run: Run, name: str, workers: int) -> None:
    """Build one of three indexes that are built side by side."""
    with worker.connection.transaction():
        _enter(worker.connection, run)
        if is_here(worker.connection):
            # The processors that this run has are busy with the other indexes.
            parallel = {"max_parallel_maintenance_workers": str(workers // 3)}
            set_locally(worker.connection, parallel)
        worker.connection.execute(statements.read(name))


def _refer_to_time(worker: Worker, run: Run) -> None:
    with worker.connection.transaction():
        _enter(worker.connection, run)
        # Both indexes begin with the moment, and rows are frozen: to go through both in order takes
        # half the time of hashing nearly as many moments as there are plays.
        set_locally(worker.connection, {"enable_hashjoin": "off"})
        worker.connection.execute(statements.read(_REFERENCE_TO_TIME))


def _constrain(worker: Worker, run: Run, names: Sequence[str]) -> None:
    with worker.connection.transaction():
        _enter(worker.connection, run)
        for name in names:
            worker.connection.execute(statements.read(name))


def _analyse(worker: Worker, run: Run, table: str) -> None:
    name = sql.Identifier(run.schemas.build, table)
    with worker.connection.transaction():
        worker.connection.execute(sql.SQL("ANALYZE {}").format(name))
