"""Send frames to tables by COPY BINARY: nowhere else does the package copy."""

from collections.abc import Iterator

import polars as pl
from arro3.core import DataType, Table
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from sparkify_bulk.database.connection import Connection
from sparkify_bulk.errors import CountMismatchError

# What one call of Copy.write takes: libpq buffers it whole, so large blocks only cost memory.
_BLOCK_BYTES = 2**20
# What is encoded at once: about a megabyte of plays. It stays in the processor's cache, and the
# encoder, which holds the interpreter's lock, doesn't hold up other workers for long.
_BLOCK_ROWS = 4096


def send(
    connection: Connection, table: sql.Identifier, frame: pl.DataFrame, *, freeze: bool = False
) -> None:
    """Send a frame to a table by COPY BINARY.

    Args:
        connection: where to.
        table: the table's name.
        frame: its columns carry the names and the types of the table's.
        freeze: the table was made in the transaction that is open; its rows need never be looked
            up again.

    Raises:
        CountMismatchError: the server took another number of rows than were sent.
    """
    if not frame.height:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    options = sql.SQL("FORMAT BINARY, FREEZE" if freeze else "FORMAT BINARY")
    statement = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(table, columns, options)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as stream:
            for block in encode(frame):
                stream.write(block)
        if cursor.rowcount != frame.height:
            raise CountMismatchError(
                f"{frame.height} rows were sent to {table.as_string()}, "
                f"the server took {cursor.rowcount}"
            )


def encode(frame: pl.DataFrame) -> Iterator[memoryview]:
    """Yield a frame's rows in PostgreSQL's binary COPY format, in blocks."""
    # One chunk a column: columns that are cut differently make the conversion crawl.
    table = _without_binary_views(Table(frame.rechunk()))
    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    yield memoryview(encoder.write_header())
    for part in table.rechunk(max_chunksize=_BLOCK_ROWS).to_batches():
        view = memoryview(encoder.write_batch(part))
        for start in range(0, len(view), _BLOCK_BYTES):
            yield view[start : start + _BLOCK_BYTES]
    yield memoryview(encoder.finish())


def _without_binary_views(table: Table) -> Table:
    """Copy columns of bytes into a form that the encoder knows; only rejects have one."""
    for index in range(table.num_columns):
        column = table.field(index)
        if column.type == DataType.binary_view():
            plain = table.column(index).cast(DataType.binary())
            table = table.set_column(index, column.with_type(DataType.binary()), plain)
    return table
