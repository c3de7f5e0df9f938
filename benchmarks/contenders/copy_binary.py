"""Finished frames by COPY, as binary rows that pgpq writes from Arrow."""

from typing import Any

import polars as pl
import psycopg
from _frames import read
from _star import copy, load

from sparkify_bulk.loading.copy import encode
from sparkify_bulk.tables import Table


def send(connection: psycopg.Connection[Any], table: Table, frame: pl.DataFrame) -> None:
    """Write binary blocks into one COPY."""
    with connection.cursor() as cursor, cursor.copy(copy(table, "BINARY")) as stream:
        for block in encode(frame):
            stream.write(block)


if __name__ == "__main__":
    load(read, send)
