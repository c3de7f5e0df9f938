"""Build a new star from all files, beside the live one.

The new star has no keys while it fills, and nobody sees it: songplays and moments go straight into
it by COPY, as if its tables were staging tables. What was sent twice is removed, then indexes are
built, keys and references checked.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from psycopg import sql

from sparkify_bulk import merge, statements
from sparkify_bulk.collect import prepare_staging, run_lanes, stage_kind
from sparkify_bulk.connection import Connection
from sparkify_bulk.errors import BooksError
from sparkify_bulk.lanes import Lane, Lanes
from sparkify_bulk.manifest import Kind, Manifest
from sparkify_bulk.report import TableReport
from sparkify_bulk.run import Run, phase
from sparkify_bulk.stage import (
    Credits,
    Target,
    read_credits,
    see_staging,
    unsee_staging,
    use_schemas,
)
from sparkify_bulk.tables import NAMES

_STRAIGHT = frozenset({"staged_songplays", "staged_time"})


def build_star(
    run: Run,
    manifests: dict[Kind, Manifest],
    meanwhile: Callable[[Target], None] | None = None,
    *,
    slowly: bool = False,
) -> None:
    """Build a star from all files, keys and all.

    Args:
        run: the run; its books are kept.
        manifests: what to read.
        meanwhile: what else to do while references are checked, which keeps one processor busy.
        slowly: read record by record.

    Raises:
        SparkifyBulkError: the books don't balance, or too much was rejected.
    """
    target = prepare_staging(run, manifests, slowly=slowly)
    target = run.target = replace(target, build=run.schemas.build, straight=_STRAIGHT)
    merge.make_schema(run.control, run.schemas.star)
    merge.make_schema(run.control, run.schemas.build)
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        merge.make_tables(run.control)
    with run_lanes(run, target) as lanes:
        stage_kind(run, lanes, manifests.get("songs"), target)
        with phase(run, "merge songs"):
            songs = _merge_songs(run, lanes, target)
        if songs is None:
            target = replace(target, straight=_STRAIGHT - {"staged_songplays"})
        moments = stage_kind(run, lanes, manifests.get("events"), target, songs)
        if songs is None:
            with phase(run, "match songplays"):
                _fill_songplays(run, lanes, target)
        doubtful = moments.doubtful()
        with phase(run, "merge events"):
            lanes.run(
                lambda lane: _finish_songplays(lane, run, doubtful),
                lambda lane: _finish_dimensions(lane, run, target, doubtful),
            )
        with phase(run, "build indexes"):
            _build_indexes(run, lanes)
        with phase(run, "check references"):
            lanes.run(
                lambda lane: _constrain(lane, run, "references", "songs", "songplays"),
                lambda _: meanwhile(target) if meanwhile else None,
            )
            _count_rows(run)


def _merge_songs(run: Run, lanes: Lanes, target: Target) -> Credits | None:
    """Merge artists and songs into the new star; return what plays may name."""

    def merge_table(lane: Lane, name: str) -> None:
        with _in_star(lane.connection, run, target):
            inserted = merge.fill(lane.connection, name)
        run.report.tables[name] = TableReport(inserted=inserted)
        _constrain(lane, run, "indexes", name)
        _constrain(lane, run, "keys", name)
        _analyse(lane, run, name)

    with _in_star(run.control, run, target):
        merge.check_staged(run.control, {"staged_songs": run.sent["staged_songs"]})
    lanes.run(lambda lane: merge_table(lane, "songs"), lambda lane: merge_table(lane, "artists"))
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        return read_credits(run.control)


def _fill_songplays(run: Run, lanes: Lanes, target: Target) -> None:
    """Fill songplays from every lane's staging table, each play with its song."""

    def fill(lane: Lane, number: int) -> int:
        with _in_star(lane.connection, run, target, range(number, number + 1)):
            return merge.fill(lane.connection, "songplays")

    futures = [lanes.submit(fill, number) for number in range(target.lanes)]
    filled = sum(future.result() for future in futures)
    if filled != run.sent["staged_songplays"]:
        raise BooksError(
            f"{run.sent['staged_songplays']} songplays were staged, {filled} were merged"
        )


def _finish_songplays(lane: Lane, run: Run, doubtful: list[datetime] | None) -> None:
    """Remove plays read twice."""
    with lane.connection.transaction():
        _enter(lane.connection, run)
        removed = merge.remove_repeated(lane.connection, "duplicates", doubtful)
    sent = run.sent["staged_songplays"]
    run.report.tables["songplays"] = TableReport(inserted=sent - removed)
    _analyse(lane, run, "songplays")


def _finish_dimensions(
    lane: Lane, run: Run, target: Target, doubtful: list[datetime] | None
) -> None:
    """Remove moments sent twice, merge users, and give both tables their keys."""
    with _in_star(lane.connection, run, target):
        removed = merge.remove_repeated(lane.connection, "moments", doubtful)
        merge.constrain(lane.connection, "keys", "users")
        merge.check_staged(lane.connection, {"staged_users": run.sent["staged_users"]})
        run.report.tables["users"] = merge.run_merge(lane.connection, "users")
    run.report.tables["time"] = TableReport(inserted=run.sent["staged_time"] - removed)
    _constrain(lane, run, "keys", "time")
    _analyse(lane, run, "users", "time")


def _build_indexes(run: Run, lanes: Lanes) -> None:
    """Build the indexes of songplays side by side, and make keys of them."""

    def build(lane: Lane, name: str) -> None:
        with lane.connection.transaction():
            _enter(lane.connection, run)
            lane.connection.execute(statements.read(name))

    names = statements.constraints("indexes", "songplays")
    for future in [lanes.submit(build, name) for name in names]:
        future.result()
    lanes.run(lambda lane: _constrain(lane, run, "keys", "songplays"))


def _count_rows(run: Run) -> None:
    """Compare the new star's rows with those that were merged into it.

    Raises:
        BooksError: some are missing, or there are too many.
    """
    with run.control.transaction():
        use_schemas(run.control, run.schemas.build)
        rows = merge.count_rows(run.control)
    for name in NAMES:
        table = run.report.tables[name]
        table.rows = rows[name]
        if table.inserted != table.rows:
            raise BooksError(
                f"{table.inserted} rows were merged into {name}, but {table.rows} are there"
            )


# --- in a lane ----------------------------------------------------------------------------------


def _enter(connection: Connection, run: Run) -> None:
    """Set a transaction up for statements on the new star."""
    use_schemas(connection, run.schemas.build, run.schemas.ledger)
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


def _constrain(lane: Lane, run: Run, group: str, *tables: str) -> None:
    with lane.connection.transaction():
        _enter(lane.connection, run)
        merge.constrain(lane.connection, group, *tables)


def _analyse(lane: Lane, run: Run, *tables: str) -> None:
    for table in tables:
        name = sql.Identifier(run.schemas.build, table)
        lane.connection.execute(sql.SQL("ANALYZE {}").format(name))
