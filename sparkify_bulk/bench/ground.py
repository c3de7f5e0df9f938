"""What contenders compete on: a server with schemas of their own there, a tree, and its star."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sparkify_bulk import pipeline
from sparkify_bulk.bench.floor import floor_folder, server_reads, write_floor
from sparkify_bulk.database.connection import Connection, check_server, connect
from sparkify_bulk.database.server import find_server, open_connection
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.loading.context import Unwatched, Watch
from sparkify_bulk.report import Phase, Report
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.source.input import input_folders

logger = logging.getLogger("sparkify_bulk")

_PREFIX = "sparkify_bench_"
# How many milliseconds a session of a contender that was stopped gets to end.
_PATIENCE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a benchmark works: a server, and schemas of its own there.

    Attributes:
        address: the server's connection string.
        dsn: the same for the commands measured, without the password: the process list shows it.
        environment: of the commands measured.
        prefix: begins the name of every schema made.
    """

    address: str
    dsn: str
    environment: dict[str, str]
    prefix: str


@contextlib.contextmanager
def open_place(dsn: str | None) -> Iterator[Place]:
    """Find the server; in the end, leave no session and no schema, whatever happens.

    Args:
        dsn: the server; None for the one that a run would take.
    """
    address, _ = find_server(dsn)
    prefix = f"{_PREFIX}{secrets.token_hex(4)}"
    with open_connection(address) as connection:
        check_server(connection)
    try:
        yield Place(address, *_for_contenders(address, prefix), prefix)
    finally:
        _clean(address, prefix)


@dataclass(slots=True)
class Ground:
    """What contenders compete on: a place, a tree, and the star that it becomes.

    Attributes:
        place: where.
        connection: looks at what they leave.
        data: the tree.
        reference: the product's report on the star that others are compared with.
        floor: the folder of the finished tables' rows; None where there is no need for it.
        floor_reads: whether the server reads that folder itself.
        checkpoints: whether this role may ask for checkpoints.
    """

    place: Place
    connection: Connection
    data: Path
    reference: Report
    floor: Path | None = None
    floor_reads: bool = False
    checkpoints: bool = False

    @property
    def star(self) -> str:
        """The schema of the product's star that others are compared with."""
        return f"{self.place.prefix}_star"


@contextlib.contextmanager
def open_ground(
    dsn: str | None, data: Path, watch: Watch | None = None, *, floor: bool = True
) -> Iterator[Ground]:
    """Load the tree by the product, untimed; leave nothing behind, whatever happens.

    That reads every file once, so that no contender pays for a cold disk.

    Args:
        dsn: the server; None for the one that a run would take.
        data: the tree.
        watch: told how it goes on.
        floor: write the finished tables into files, for the floor to copy.
    """
    songs, logs = input_folders(data, None, None)
    with (
        contextlib.ExitStack() as stack,
        open_place(dsn) as place,
        open_connection(place.address) as connection,
    ):
        star = f"{place.prefix}_star"
        began = begin(watch, "product's star")
        reference = pipeline.reload(
            Settings(songs, logs, dsn=place.address or None, schema=star), Unwatched()
        )
        end(watch, "product's star", began)
        _settle(connection, star)
        connection.execute("SET jit = off; SET work_mem = '256MB'")
        ground = Ground(place, connection, data, reference)
        ground.checkpoints = checkpoint(connection)
        if floor:
            ground.floor = stack.enter_context(floor_folder())
            write_floor(connection, star, ground.floor)
            ground.floor_reads = server_reads(connection, ground.floor)
        yield ground


def _for_contenders(dsn: str, name: str) -> tuple[str, dict[str, str]]:
    """Return the connection string and the environment that contenders get."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SPARKIFY_BULK_") and key != "DATABASE_URL"
    }
    parameters = conninfo_to_dict(dsn)
    if password := parameters.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **(parameters | {"application_name": name})), environment


def _clean(dsn: str, prefix: str) -> None:
    """End the sessions of contenders that were stopped, and drop every schema made."""
    try:
        with connect(dsn) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
                " WHERE application_name = %s",
                (_PATIENCE_MS, prefix),
            )
            drop(connection, prefix)
    except (psycopg.Error, SparkifyBulkError) as error:
        logger.warning("Schemas named %s… may be left behind: %s", prefix, error)


def drop(connection: Connection, prefix: str) -> None:
    """Drop every schema whose name begins so."""
    found = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (prefix,)
    ).fetchall()
    for (name,) in found:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _settle(connection: Connection, star: str) -> None:
    """Do now what autovacuum would do to the product's star while the first contenders run."""
    names = schemas(star)
    tables = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (%s)",
        ([names.star, names.ledger],),
    ).fetchall()
    for table in tables:
        name = sql.Identifier(*table)
        connection.execute(sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = off)").format(name))
        connection.execute(sql.SQL("VACUUM {}").format(name))


def checkpoint(connection: Connection) -> bool:
    """Write what is due before somebody's time runs; tell whether this role may ask for it."""
    try:
        connection.execute("CHECKPOINT")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def begin(watch: Watch | None, phase: str) -> float:
    """Tell that something begins; return when."""
    if watch:
        watch.begin(phase)
    return time.monotonic()


def end(watch: Watch | None, phase: str, began: float) -> None:
    """Tell that something has ended."""
    if watch:
        watch.end(Phase(phase, round(time.monotonic() - began, 3)))
