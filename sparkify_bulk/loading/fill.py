"""Tables of a new star that rows go straight into, side by side with reading."""

import threading
from typing import NamedTuple

import polars as pl
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.database.session import Session
from sparkify_bulk.database.transaction import mark_table, use_schemas
from sparkify_bulk.loading import copy
from sparkify_bulk.transform.reductions import Credits


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
        self.name = table
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
            CountMismatchError: the server took another number of rows than were sent.
        """
        with self._lock:
            copy.send(self.connection, self._table, frame, freeze=True)
            self.rows += frame.height

    def commit(self) -> None:
        """Let others see the table."""
        self.connection.commit()


class Straight(NamedTuple):
    """What lets plays go straight into a new star: what gives them songs and numbers, the table."""

    credits: Credits
    numbers: Numbers
    songplays: Fill
