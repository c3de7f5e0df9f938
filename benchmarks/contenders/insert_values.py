"""Finished rows by INSERTs of 1,000 VALUES each."""

from itertools import chain
from typing import Any

import psycopg
from _rows import Row, read
from _star import filled_columns, insert, load
from psycopg import sql

from sparkify_bulk.tables import Table

ROWS = 1000  # a statement takes 65,535 parameters at most


def send(connection: psycopg.Connection[Any], table: Table, rows: list[Row]) -> None:
    """Run one INSERT for many rows."""
    places = sql.SQL("({})").format(
        sql.SQL(", ").join(sql.Placeholder() for _ in filled_columns(table))
    )
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            values = sql.SQL("VALUES {}").format(sql.SQL(", ").join([places] * len(some)))
            cursor.execute(insert(table) + values, list(chain.from_iterable(some)))


if __name__ == "__main__":
    load(read, send)
