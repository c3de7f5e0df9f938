"""Build a new star from all files, beside the live one.

The new star has no keys while it fills, and nobody sees it: songplays and moments go straight into
it by COPY, as if its tables were staging tables. What was sent twice is removed, then references
are checked and indexes built.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from psycopg import sql

from sparkify_bulk import ledger, statements
from sparkify_bulk.database.connection import Connection, connect, is_here
from sparkify_bulk.database.transaction import mark_table, set_locally, use_schemas
from sparkify_bulk.errors import BooksError
from sparkify_bulk.loading import marks, merge
from sparkify_bulk.loading.batches import (
    Fill,
    Numbers,
    Straight,
    Target,
    fill_time,
    see_staging,
    send_users,
    unsee_staging,
)
from sparkify_bulk.loading.collect import prepare_staging, run_lanes, stage_kind
from sparkify_bulk.loading.workers import Lane, Lanes, Step
from sparkify_bulk.report import TableReport
from sparkify_bulk.run import Run, phase, step_phase
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.manifest import Manifest
from sparkify_bulk.transform.reductions import (
    Credits,
    Doubtful,
    Moments,
    Plays,
    Songs,
    UserRows,
    Users,
)

_REFERENCE_TO_TIME = "constraints/references_songplays_start_time"
_MERGED = ("artists", "songs", "users")
_FILLED = ("songplays", "time")


def build_star(
    run: Run,
    manifests: dict[Kind, Manifest],
    meanwhile: Callable[[Target], None] | None = None,
    *,
    slowly: bool = False,
) -> None:
    """Build a star from all files, keys and all, and the ledger's table of these files beside it.

    Args:
        run: the run; its books are kept.
        manifests: what to read.
        meanwhile: what else to do while references are checked, which keeps one processor busy.
        slowly: read record by record.

    Raises:
        SparkifyBulkError: the books don't balance, or too much was rejected.
    """
    target = _make_tables(run, prepare_staging(run, manifests, slowly=slowly))
    # In this order: connections are closed when no worker uses them any more.
    with _fills(run) as (songplays, time), run_lanes(run, target) as lanes:
        lanes.share(songplays.connection, time.connection)
        songs = _stage_songs(run, lanes, target, manifests.get("songs"))
        # Side by side with the first events: what plays may name is known already.
        for name in ("songs", "artists"):
            lanes.begin(_merge_songs, run, target, name)
        sent = _Sent(songs.credits(), songplays, time)
        _stage_events(run, lanes, target, manifests.get("events"), sent)
        lanes.join()
        sent.songplays.commit()
        if sent.credits is None:
            with phase(run, "match songplays"):
                _fill_songplays(run, lanes, target)
        with phase(run, "complete star") as steps:
            for step in lanes.run(*_last_steps(run, target, sent, meanwhile)):
                steps.append(step_phase(run, step))


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
    run.target = replace(target, build=run.schemas.build)
    return run.target


@contextlib.contextmanager
def _fills(run: Run) -> Iterator[tuple[Fill, Fill]]:
    """Make the tables that rows go straight into, each over a connection of its own."""
    with contextlib.ExitStack() as stack:
        fills = []
        for name in _FILLED:
            connection = stack.enter_context(connect(run.dsn))
            run.backends.append(connection)
            fills.append(Fill(connection, run.schemas.build, name, run.mark))
        yield fills[0], fills[1]
        del run.backends[-len(fills) :]


# --- songs ----------------------------------------------------------------------------------------


def _stage_songs(run: Run, lanes: Lanes, target: Target, manifest: Manifest | None) -> Songs:
    songs = Songs()
    for staged in stage_kind(run, lanes, manifest, target):
        for frame in staged.songs:
            songs.add(frame, staged.place)
    return songs


def _merge_songs(lane: Lane, run: Run, target: Target, name: str) -> None:
    """Merge songs, or artists, from all staging tables into the new star, and give it its keys."""
    with _in_star(lane.connection, run, target):
        merge.check_staged(lane.connection, {"staged_songs": run.sent["staged_songs"]})
        run.report.tables[name] = TableReport(inserted=merge.fill(lane.connection, name))
    for group in ("indexes", "keys"):
        _constrain(lane, run, statements.constraints(group, name))
    _analyse(lane, run, name)


# --- events ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sent:
    """What was sent of the events, how, and what is left to be sent when all have been read."""

    credits: Credits | None
    songplays: Fill
    time: Fill
    numbers: Numbers = field(default_factory=Numbers)
    plays: Plays = field(default_factory=Plays)
    users: Users = field(default_factory=Users)


def _stage_events(
    run: Run, lanes: Lanes, target: Target, manifest: Manifest | None, sent: _Sent
) -> None:
    straight = (
        None if sent.credits is None else Straight(sent.credits, sent.numbers, sent.songplays)
    )
    for staged in stage_kind(run, lanes, manifest, target, straight):
        for frame in staged.users:
            if (users := sent.users.add(frame)) is not None:
                lanes.begin(_send_users, run, target, users)
        for keys in staged.keys:
            if (moments := sent.plays.add(keys)) is not None:
                lanes.begin(_send_moments, sent.time, moments)


def _send_users(lane: Lane, run: Run, target: Target, users: UserRows) -> None:
    run.sent.update(send_users(lane, target, users))


def _send_moments(_: Lane, time: Fill, moments: Moments) -> None:
    fill_time(time, moments)


def _fill_songplays(run: Run, lanes: Lanes, target: Target) -> None:
    """Fill songplays from every lane's staging table, each play with its song."""

    def fill(lane: Lane, number: int) -> int:
        with _in_star(lane.connection, run, target, range(number, number + 1)):
            return merge.fill(lane.connection, "songplays")

    filled = sum(lanes.each(fill, range(target.lanes)))
    if filled != run.sent["staged_songplays"]:
        raise BooksError(
            f"{run.sent['staged_songplays']} songplays were staged, {filled} were merged"
        )


# --- the last steps -------------------------------------------------------------------------------


def _last_steps(
    run: Run, target: Target, sent: _Sent, meanwhile: Callable[[Target], None] | None
) -> list[Step]:
    """Return what is left to be done once all batches are staged.

    Removing rows, ANALYZE, references and indexes lock each other out on one table, and wait for
    each other here rather than there; only indexes are built side by side.
    """
    moments, users = sent.plays.take(), sent.users.take()
    doubtful = sent.plays.doubtful()
    keys = statements.constraints("keys", "songplays")
    indexes = statements.constraints("indexes", "songplays")
    few = [
        name
        for table in ("songs", "songplays")
        for name in statements.constraints("references", table)
        if name != _REFERENCE_TO_TIME
    ]
    constrain, analyse = partial(_constrain, run=run), partial(_analyse, run=run)
    index = partial(_build_index, run=run, lanes=target.lanes)
    all_rows = ("repeated plays", "time", "users")
    steps = [
        Step("repeated plays", lambda lane: _remove_repeated(lane, run, sent, doubtful)),
        Step("users", lambda lane: _finish_users(lane, run, target, users)),
        Step("time", lambda lane: _finish_time(lane, run, sent.time, moments, doubtful)),
        Step("analyse songplays", partial(analyse, table="songplays"), ("repeated plays",)),
        Step("other references", partial(constrain, names=few), ("analyse songplays", "users")),
        *(Step(name, partial(index, name=name), ("other references",)) for name in indexes),
        Step("keys", partial(constrain, names=keys), tuple(indexes)),
        Step("references to time", lambda lane: _refer_to_time(lane, run), ("keys", "time")),
        Step("count rows", lambda lane: _count_rows(lane, run), all_rows),
        Step("files", lambda lane: _finish_files(lane, run)),
    ]
    return [*steps, Step("ledger", lambda _: meanwhile(target))] if meanwhile else steps


def _remove_repeated(lane: Lane, run: Run, sent: _Sent, doubtful: Doubtful) -> None:
    """Remove plays read twice, and let the table's own numbers begin after those given."""
    with lane.connection.transaction():
        _enter(lane.connection, run)
        removed = merge.remove_repeated(lane.connection, "duplicates", doubtful)
        if sent.numbers.last:
            numbers = {"last": sent.numbers.last}
            lane.connection.execute(statements.read("fill/numbers"), numbers)
    rows = run.sent["staged_songplays"] if sent.credits is None else sent.songplays.rows
    run.report.tables["songplays"] = TableReport(inserted=rows - removed)


def _finish_time(
    lane: Lane, run: Run, time: Fill, moments: Moments | None, doubtful: Doubtful
) -> None:
    """Send the last moments, remove those sent twice, and give the table its key."""
    if moments is not None:
        fill_time(time, moments)
    time.commit()
    with lane.connection.transaction():
        _enter(lane.connection, run)
        # What was sent at once has no moment twice.
        shared = Doubtful([], doubtful.spans)
        removed = merge.remove_repeated(lane.connection, "moments", shared)
    run.report.tables["time"] = TableReport(inserted=time.rows - removed)
    _constrain(lane, run, statements.constraints("keys", "time"))
    _analyse(lane, run, "time")


def _finish_users(lane: Lane, run: Run, target: Target, users: UserRows | None) -> None:
    """Send the last users, and merge all that were sent."""
    if users is not None:
        _send_users(lane, run, target, users)
    with _in_star(lane.connection, run, target):
        merge.constrain(lane.connection, "keys", "users")
        merge.check_staged(lane.connection, {"staged_users": run.sent["staged_users"]})
        run.report.tables["users"] = merge.run_merge(lane.connection, "users")
    _analyse(lane, run, "users")


def _count_rows(lane: Lane, run: Run) -> None:
    """Compare the new star's rows with those that were sent and merged.

    Raises:
        BooksError: some are missing, or there are too many.
    """
    with lane.connection.transaction():
        _enter(lane.connection, run)
        rows = merge.count_rows(lane.connection)
    for name, table in run.report.tables.items():
        table.rows = rows[name]
        if table.inserted != table.rows:
            raise BooksError(
                f"{table.inserted} rows were merged into {name}, but {table.rows} are there"
            )


def _finish_files(lane: Lane, run: Run) -> None:
    """Give the table of files its key, and compare its rows with those sent.

    Raises:
        BooksError: some are missing, or there are too many.
    """
    with lane.connection.transaction():
        _enter(lane.connection, run)
        files = ledger.complete_files(lane.connection)
    if files != run.sent["staged_files"]:
        raise BooksError(f"{run.sent['staged_files']} files were put on record, {files} are there")


# --- in a lane ----------------------------------------------------------------------------------


def _enter(connection: Connection, run: Run) -> None:
    """Set a transaction up for statements on the new star."""
    use_schemas(connection, run.schemas.build)
    merge.prepare(connection)


@contextlib.contextmanager
def _in_star(
    connection: Connection, run: Run, target: Target, lanes: range | None = None
) -> Iterator[None]:
    """Open a transaction that sees the new star, and what is staged for it."""
    with connection.transaction():
        _enter(connection, run)
        see_staging(connection, target, lanes)
        yield
        unsee_staging(connection)


def _build_index(lane: Lane, run: Run, name: str, lanes: int) -> None:
    """Build one of three indexes that are built side by side."""
    with lane.connection.transaction():
        _enter(lane.connection, run)
        if is_here(lane.connection):
            # The processors that this run has are busy with the other indexes.
            workers = {"max_parallel_maintenance_workers": str(lanes // 3)}
            set_locally(lane.connection, workers)
        lane.connection.execute(statements.read(name))


def _refer_to_time(lane: Lane, run: Run) -> None:
    with lane.connection.transaction():
        _enter(lane.connection, run)
        # Both indexes begin with the moment, and rows are frozen: to go through both in order takes
        # half the time of hashing nearly as many moments as there are plays.
        set_locally(lane.connection, {"enable_hashjoin": "off"})
        lane.connection.execute(statements.read(_REFERENCE_TO_TIME))


def _constrain(lane: Lane, run: Run, names: Sequence[str]) -> None:
    with lane.connection.transaction():
        _enter(lane.connection, run)
        for name in names:
            lane.connection.execute(statements.read(name))


def _analyse(lane: Lane, run: Run, table: str) -> None:
    name = sql.Identifier(run.schemas.build, table)
    with lane.connection.transaction():
        lane.connection.execute(sql.SQL("ANALYZE {}").format(name))
