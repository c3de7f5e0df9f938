"""What the page tells: a run, the runs beside it, and the star, all read as of one moment."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from sparkify_bulk import ledger, statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.loading import state
from sparkify_bulk.settings import Schemas

HISTORY = 30
_LONGEST_NAME = 300
EXAMPLES = 5
# What hashes the songs of some million plays without a temporary file.
_WORK_MEM = "64MB"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Star:
    """What the star says; moments are UTC.

    Attributes:
        days: rows of `day`, `plays`, `free`, `paid`, `matched`, in order; days without plays have
            none.
        hours: plays by (weekday, hour); 0 is Monday.
        new_users: how many users first played on a day.
        songs: the most played, rows of `name`, `artist`, `plays`.
        artists: the most played, rows of `name`, `plays`.
        locations: those with the most plays, as well.
        sizes: how many songs, artists and users there are, and of how many something isn't known.
    """

    days: list[Row]
    hours: Mapping[tuple[int, int], int]
    new_users: Mapping[dt.date, int]
    songs: list[Row]
    artists: list[Row]
    locations: list[Row]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it.

    Attributes:
        moment: of which it is.
        schema: where the star lives.
        run: its row in the ledger; `report` may be missing where it failed.
        history: rows of the latest runs, newest first.
        rejects: rows of `reason`, `rejects`, `resolved`, `superseded`, `file`, `line`, `column`,
            `detail`: the first few of each reason.
        star: None where there is none that this version knows.
    """

    moment: dt.datetime
    schema: str
    run: Row
    history: list[Row]
    rejects: list[Row]
    star: Star | None


def read(connection: Connection, names: Schemas, run_id: int | None) -> Facts:
    """Read a run, or the last load or reload that ended, and the star as it is now.

    Args:
        connection: in autocommit mode.
        names: the star's schemas.
        run_id: the run's number.

    Raises:
        UsageError: no such run is on record.
    """
    # Asked before the transaction begins: what doesn't exist can't be locked.
    exists = _star_exists(connection, names.star)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(sql.SQL("SET LOCAL work_mem = {}").format(_WORK_MEM))
        if exists:
            _see(connection, names.star)
            connection.execute(statements.read("session/lock_star"))
        _see(connection, names.ledger)
        run = _run(connection, names.ledger, run_id)
        history = _rows(connection, "ledger/list_runs", limit=HISTORY)
        rejects = _rows(
            connection, "ledger/rejects_by_reason", run_id=run["run_id"], limit=EXAMPLES
        )
        _see(connection, names.star)
        star = _star(connection) if exists else None
    return Facts(run["moment"], names.star, run, history, rejects, star)


def _star_exists(connection: Connection, star: str) -> bool:
    try:
        return state.star_exists(connection, star)
    except SparkifyBulkError:
        # One of another version: a run may have failed for that, and is to be told of.
        return False


def _see(connection: Connection, schema: str) -> None:
    """Resolve plain names in a schema, as `use_schemas` does, but without a query.

    The first query decides of which moment the transaction is, and must come after the lock.
    """
    path = sql.SQL("SET LOCAL search_path = {}")
    connection.execute(path.format(sql.Identifier(schema)))


def _run(connection: Connection, schema: str, run_id: int | None) -> Row:
    if not ledger.exists(connection):
        raise UsageError(
            f"the ledger {schema} has no runs",
            hint="make a star with sparkify-bulk reload DATA, or name another by --schema",
        )
    for run in _rows(connection, "ledger/run", run_id=run_id):
        return run
    (known,) = _rows(connection, "ledger/known_runs")
    if run_id is None or not known["runs"]:
        raise UsageError(
            f"the ledger {schema} has no load or reload that has ended",
            hint="run sparkify-bulk load DATA first, or name a run by --run N",
        )
    raise UsageError(
        f"there is no run {run_id}: the ledger has runs {known['first']} to {known['last']}",
        hint="sparkify-bulk runs lists them",
    )


def _star(connection: Connection) -> Star:
    plays = _rows(connection, "analysis/page/plays")
    (sizes,) = _rows(connection, "analysis/page/sizes")
    new_users = _rows(connection, "analysis/page/new_users")
    return Star(
        days=[row for row in plays if row["day"]],
        hours={(row["weekday"], row["hour"]): row["plays"] for row in plays if not row["day"]},
        new_users={row["day"]: row["users"] for row in new_users},
        songs=_ranks(connection, "analysis/most_played_songs", name="song", artist="artist"),
        artists=_ranks(connection, "analysis/page/most_played_artists", name="artist"),
        locations=_ranks(connection, "analysis/top_locations", name="location"),
        sizes=sizes,
    )


def _ranks(connection: Connection, statement: str, **columns: str) -> list[Row]:
    """Return the plays of each row that a statement finds, and some of its columns, renamed."""
    return [
        {"plays": row["plays"]}
        | {name: row[column] and row[column][:_LONGEST_NAME] for name, column in columns.items()}
        for row in _rows(connection, statement)
    ]


def _rows(connection: Connection, statement: str, **parameters: Any) -> list[Row]:  # noqa: ANN401
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statements.read(statement), parameters or None).fetchall()
