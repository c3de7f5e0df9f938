"""Finished rows by psycopg's executemany, which sends them in pipelines."""

from typing import Any

import psycopg
from _rows import Row, read
from _star import filled_columns, insert, load
from psycopg import sql

from sparkify_bulk.tables import Table


def send(connection: psycopg.Connection[Any], table: Table, rows: list[Row]) -> None:
    """Prepare one INSERT, and run it once a row."""
    places = sql.SQL(", ").join(sql.Placeholder() for _ in filled_columns(table))
    with connection.cursor() as cursor:
        cursor.executemany(insert(table) + sql.SQL("VALUES ({})").format(places), rows)


if __name__ == "__main__":
    load(read, send)
