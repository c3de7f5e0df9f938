"""Finished frames by COPY, as CSV that Polars writes."""

from typing import Any

import polars as pl
import psycopg
from _frames import read
from _star import copy, load

from sparkify_bulk.tables import Table

ROWS = 50_000


def send(connection: psycopg.Connection[Any], table: Table, frame: pl.DataFrame) -> None:
    """Write blocks of CSV into one COPY; what is quoted is text, what is empty is NULL."""
    with connection.cursor() as cursor, cursor.copy(copy(table, "CSV")) as stream:
        for block in frame.iter_slices(ROWS):
            text = block.write_csv(include_header=False, quote_style="non_numeric", null_value="")
            stream.write(text)


if __name__ == "__main__":
    load(read, send)
