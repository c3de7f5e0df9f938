"""Build a new star from all files, beside the live one.

The new star has no keys while it fills, and nobody sees it: songplays and moments go straight into
it by COPY, as if its tables were staging tables. What was sent twice is removed, then indexes are
built, keys and references checked.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from psycopg import sql

from sparkify_bulk import ledger, merge, statements
from sparkify_bulk.collect import prepare_staging, run_lanes, stage_kind
from sparkify_bulk.connection import Connection
from sparkify_bulk.errors import BooksError
from sparkify_bulk.gather import Credits, Doubtful, Moments, Plays, Songs, UserRows, Users
from sparkify_bulk.lanes import Lane, Lanes, Step
from sparkify_bulk.manifest import Kind, Manifest
from sparkify_bulk.report import TableReport
from sparkify_bulk.run import Run, phase, step_phase
from sparkify_bulk.stage import (
    Naming,
    Numbers,
    Target,
    see_staging,
    send_moments,
    send_users,
    unsee_staging,
    use_schemas,
)

_STRAIGHT = frozenset({"staged_songplays", "staged_time", "staged_files"})


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
    with run_lanes(run, target) as lanes:
        songs = _stage_songs(run, lanes, target, manifests.get("songs"))
        # Side by side with the first events: what plays may name is known already.
        for name in ("songs", "artists"):
            lanes.begin(_merge_songs, run, target, name)
        credits_ = songs.credits()
        if credits_ is None:
            target = replace(target, straight=_STRAIGHT - {"staged_songplays"})
        sent = _stage_events(run, lanes, target, manifests.get("events"), credits_)
        lanes.join()
        if credits_ is None:
            with phase(run, "match songplays"):
                _fill_songplays(run, lanes, target)
        with phase(run, "complete star") as steps:
            for step in lanes.run(*_last_steps(run, target, sent, meanwhile)):
                steps.append(step_phase(run, step))


def _make_tables(run: Run, target: Target) -> Target:
    """Make the new star's tables, without keys, and the ledger's table of files."""
    for name in (run.schemas.star, run.schemas.build):
        merge.make_schema(run.control, name)
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        merge.make_tables(run.control)
        run.control.execute(statements.read("ledger/files"))
    run.target = replace(target, build=run.schemas.build, straight=_STRAIGHT)
    return run.target


# --- songs ----------------------------------------------------------------------------------------


def _stage_songs(run: Run, lanes: Lanes, target: Target, manifest: Manifest | None) -> Songs:
    songs = Songs()
    for staged in stage_kind(run, lanes, manifest, target):
        for frame in staged.songs:
            songs.add(frame)
    return songs


def _merge_songs(lane: Lane, run: Run, target: Target, name: str) -> None:
    """Merge songs, or artists, from all staging tables into the new star, and give it its keys."""
    with _in_star(lane.connection, run, target):
        merge.check_staged(lane.connection, {"staged_songs": run.sent["staged_songs"]})
        run.report.tables[name] = TableReport(inserted=merge.fill(lane.connection, name))
    _constrain(lane, run, "indexes", name)
    _constrain(lane, run, "keys", name)
    _analyse(lane, run, name)


# --- events ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sent:
    """What was sent of the events, and what is left to be sent when all have been read."""

    plays: Plays = field(default_factory=Plays)
    users: Users = field(default_factory=Users)
    numbers: Numbers = field(default_factory=Numbers)


def _stage_events(
    run: Run, lanes: Lanes, target: Target, manifest: Manifest | None, credits_: Credits | None
) -> _Sent:
    sent = _Sent()
    naming = None if credits_ is None else Naming(credits_, sent.numbers)
    for staged in stage_kind(run, lanes, manifest, target, naming):
        for frame in staged.users:
            if (users := sent.users.add(frame)) is not None:
                lanes.begin(_send_users, run, target, users)
        for keys in staged.keys:
            if (moments := sent.plays.add(keys)) is not None:
                lanes.begin(_send_moments, run, target, moments)
    return sent


def _send_users(lane: Lane, run: Run, target: Target, users: UserRows | None) -> None:
    if users is not None:
        run.sent.update(send_users(lane, target, users))


def _send_moments(lane: Lane, run: Run, target: Target, moments: Moments | None) -> None:
    if moments is not None:
        run.sent.update(send_moments(lane, target, moments))


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

    Removing rows, ANALYZE, indexes and references lock each other out on one table, and wait for
    each other here rather than there.
    """
    moments, users = sent.plays.take(), sent.users.take()
    doubtful, last = sent.plays.doubtful(), sent.numbers.last
    indexes = statements.constraints("indexes", "songplays")
    return [
        Step("remove repeated", lambda lane: _finish_songplays(lane, run, doubtful, last)),
        Step("time", lambda lane: _finish_time(lane, run, target, moments, doubtful)),
        Step("users", lambda lane: _finish_users(lane, run, target, users)),
        Step(
            "analyse songplays", lambda lane: _analyse(lane, run, "songplays"), ("remove repeated",)
        ),
        *(
            Step(name, partial(_execute, run=run, name=name), ("analyse songplays",))
            for name in indexes
        ),
        Step("keys", lambda lane: _constrain(lane, run, "keys", "songplays"), tuple(indexes)),
        Step(
            "references",
            lambda lane: _constrain(lane, run, "references", "songs", "songplays"),
            ("keys", "time", "users"),
        ),
        Step(
            "count rows", lambda lane: _count_rows(lane, run), ("remove repeated", "time", "users")
        ),
        *([Step("ledger", lambda _: meanwhile(target))] if meanwhile else []),
    ]


def _finish_songplays(lane: Lane, run: Run, doubtful: Doubtful, last: int) -> None:
    """Remove plays read twice, and let the table's own numbers begin after those given."""
    with lane.connection.transaction():
        _enter(lane.connection, run)
        removed = merge.remove_repeated(lane.connection, "duplicates", doubtful)
        if last:
            lane.connection.execute(statements.read("fill/numbers"), {"last": last})
    sent = run.sent["staged_songplays"]
    run.report.tables["songplays"] = TableReport(inserted=sent - removed)


def _finish_time(
    lane: Lane, run: Run, target: Target, moments: Moments | None, doubtful: Doubtful
) -> None:
    """Send the last moments, remove those sent twice, and give the table its key."""
    _send_moments(lane, run, target, moments)
    with lane.connection.transaction():
        _enter(lane.connection, run)
        # What was sent at once has no moment twice.
        shared = Doubtful([], doubtful.spans)
        removed = merge.remove_repeated(lane.connection, "moments", shared)
    run.report.tables["time"] = TableReport(inserted=run.sent["staged_time"] - removed)
    _constrain(lane, run, "keys", "time")
    _analyse(lane, run, "time")


def _finish_users(lane: Lane, run: Run, target: Target, users: UserRows | None) -> None:
    """Send the last users, and merge all that were sent."""
    _send_users(lane, run, target, users)
    with _in_star(lane.connection, run, target):
        merge.constrain(lane.connection, "keys", "users")
        merge.check_staged(lane.connection, {"staged_users": run.sent["staged_users"]})
        run.report.tables["users"] = merge.run_merge(lane.connection, "users")
    _analyse(lane, run, "users")


def _count_rows(lane: Lane, run: Run) -> None:
    """Compare the rows of the new star, and of the files beside it, with those sent and merged.

    Raises:
        BooksError: some are missing, or there are too many.
    """
    with lane.connection.transaction():
        _enter(lane.connection, run)
        rows, files = merge.count_rows(lane.connection), ledger.count_files(lane.connection)
    if files != run.sent["staged_files"]:
        raise BooksError(f"{run.sent['staged_files']} files were put on record, {files} are there")
    for name, table in run.report.tables.items():
        table.rows = rows[name]
        if table.inserted != table.rows:
            raise BooksError(
                f"{table.inserted} rows were merged into {name}, but {table.rows} are there"
            )


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


def _execute(lane: Lane, run: Run, name: str) -> None:
    with lane.connection.transaction():
        _enter(lane.connection, run)
        lane.connection.execute(statements.read(name))


def _constrain(lane: Lane, run: Run, group: str, *tables: str) -> None:
    with lane.connection.transaction():
        _enter(lane.connection, run)
        merge.constrain(lane.connection, group, *tables)


def _analyse(lane: Lane, run: Run, table: str) -> None:
    name = sql.Identifier(run.schemas.build, table)
    lane.connection.execute(sql.SQL("ANALYZE {}").format(name))
