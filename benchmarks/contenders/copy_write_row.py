"""Finished rows by COPY, each handed to psycopg's write_row."""

from typing import Any

import psycopg
from _rows import Row, read
from _star import copy, load

from sparkify_bulk.tables import Table


def send(connection: psycopg.Connection[Any], table: Table, rows: list[Row]) -> None:
    """Write row by row into one COPY."""
    with connection.cursor() as cursor, cursor.copy(copy(table, "TEXT")) as stream:
        for row in rows:
            stream.write_row(row)


if __name__ == "__main__":
    load(read, send)
