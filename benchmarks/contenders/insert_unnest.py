"""Finished rows by INSERTs of 10,000 rows each, a column an array that the server unnests."""

from typing import Any

import psycopg
from _rows import Row, read
from _star import filled_columns, insert, load
from psycopg import sql

from sparkify_bulk.tables import Table

ROWS = 10_000


def send(connection: psycopg.Connection[Any], table: Table, rows: list[Row]) -> None:
    """Run one INSERT for many rows."""
    types = {column.name: column.type for column in table.columns}
    arrays = sql.SQL(", ").join(
        sql.SQL("%s::{}[]").format(sql.SQL(types[name])) for name in filled_columns(table)
    )
    statement = insert(table) + sql.SQL("SELECT * FROM unnest({})").format(arrays)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS):
            columns = zip(*rows[start : start + ROWS], strict=True)
            cursor.execute(statement, [list(column) for column in columns], binary=True)


if __name__ == "__main__":
    load(read, send)
