"""Which way into an unlogged staging table is the fastest: what decided the encoder of `stage`.

    pytest benchmarks/test_copy.py --benchmark-only --rows 200000

The frame is the one that events become, wide text included. Each way must leave the same rows.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection, connect
from sparkify_bulk.loading import copy

TABLE = "staged_songplays"
COPY = sql.SQL("COPY bench.{} ({}) FROM STDIN ({})")


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """Open a connection to a schema that holds one empty staging table."""
    with connect(dsn) as opened:
        opened.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        opened.execute("CREATE SCHEMA bench")
        opened.execute("SET search_path = bench")
        opened.execute(statements.read(f"staging/{TABLE}"))
        yield opened
        opened.execute("DROP SCHEMA bench CASCADE")


@pytest.fixture
def frame(rows: int) -> pl.DataFrame:
    """Return songplays in their staging form."""
    numbers = pl.int_range(rows, dtype=pl.Int64, eager=True)
    agent = (
        '"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_4) AppleWebKit/537.36 (KHTML, like Gecko)"'
    )
    return pl.DataFrame(
        {
            "start_time": datetime(2024, 5, 6, tzinfo=UTC) + numbers * timedelta(milliseconds=1),
            "user_id": numbers % 10_000,
            "level": pl.select(
                pl.when(numbers % 3 == 0).then(pl.lit("paid")).otherwise(pl.lit("free"))
            ).to_series(),
            "session_id": numbers // 20,
            "location": pl.select(
                pl.when(numbers % 7 > 0).then(pl.lit("San Jose-Sunnyvale, CA"))
            ).to_series(),
            "user_agent": pl.select(
                pl.lit(agent).repeat_by(numbers * 0 + 1).list.first()
            ).to_series(),
            "item_in_session": numbers % 20,
            "event_song": pl.select(pl.format("Song\t{} “é”", numbers)).to_series(),
            "event_artist": pl.select(pl.format("Artist \\ {}", numbers % 1000)).to_series(),
            "event_length": (numbers % 300) + 0.12345,
        }
    )


def write_rows(connection: Connection, frame: pl.DataFrame) -> None:
    """Hand rows over one by one."""
    with connection.cursor() as cursor, cursor.copy(_statement(frame, "FORMAT TEXT")) as stream:
        for row in frame.iter_rows():
            stream.write_row(row)


def csv_blocks(connection: Connection, frame: pl.DataFrame) -> None:
    """Let Polars write CSV."""
    text = frame.write_csv(include_header=False, quote_style="non_numeric", null_value="").encode()
    with connection.cursor() as cursor, cursor.copy(_statement(frame, "FORMAT CSV")) as stream:
        for start in range(0, len(text), 2**20):
            stream.write(text[start : start + 2**20])


def binary(connection: Connection, frame: pl.DataFrame) -> None:
    """Let pgpq write COPY BINARY: the product's way."""
    copy.send(connection, sql.Identifier("bench", TABLE), frame)


def _statement(frame: pl.DataFrame, options: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    return COPY.format(sql.Identifier(TABLE), names, sql.SQL(options))  # type: ignore[arg-type] # a constant of this file


@pytest.mark.benchmark(group="copy")
@pytest.mark.parametrize("way", [write_rows, csv_blocks, binary], ids=lambda way: way.__name__)
def test_copy(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark has no types
    connection: Connection,
    frame: pl.DataFrame,
    way: Callable[[Connection, pl.DataFrame], None],
) -> None:
    """Copy the frame into an empty table; what arrives is what was sent."""

    def empty() -> None:
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(TABLE)))

    benchmark.pedantic(way, (connection, frame), setup=empty, rounds=3, warmup_rounds=1)
    query = sql.SQL("SELECT {} FROM {} ORDER BY start_time").format(
        sql.SQL(", ").join(map(sql.Identifier, frame.columns)), sql.Identifier(TABLE)
    )
    assert connection.execute(query).fetchall() == frame.rows()
