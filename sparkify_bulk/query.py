"""Ask the star: one SELECT in a transaction that only reads, its rows as they come.

The text is the query of a cursor that the server declares. By the server's own grammar that is one
SELECT, WITH, VALUES or TABLE, which changes nothing; and it is sent by the extended protocol, which
takes one statement. So nothing here needs to understand SQL.
"""

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.types.datetime import IntervalLoader
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader

from sparkify_bulk import statements
from sparkify_bulk.database import session
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.server import open_connection
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.errors import QueryError, SparkifyBulkError, UsageError
from sparkify_bulk.loading import state
from sparkify_bulk.redaction import printable, printable_json
from sparkify_bulk.settings import check_schema

if TYPE_CHECKING:
    import polars as pl

# What becomes of the rows: `plain` values are those that Python has.
Shape = Literal["table", "csv", "json", "plain"]

_DECLARE = "DECLARE answer NO SCROLL CURSOR FOR\n"
# So many rows are in memory at a time: far more don't come any faster.
_ROWS = 1000
# An error's line is cut to what stands around its place, so that the caret stays below it.
_BEFORE, _AROUND = 50, 90
_MOMENT = re.compile(r"(\d{4,}-\d\d-\d\d) ([\d:.]+)([+-][\d:]+)?")
_INTEGERS = ("int2", "int4", "int8", "oid")
_FRACTIONS = ("float4", "float8", "numeric")
_SYNTAX = "42601"
# What a frame's column is of; of any other type the values are text. Numerics come as floats: the
# questions' averages lose nothing by it.
_FRAME_TYPES: dict[str, tuple[str, ...]] = {
    "bool": ("Boolean",),
    "int2": ("Int16",),
    "int4": ("Int32",),
    "int8": ("Int64",),
    "oid": ("UInt32",),
    "float4": ("Float32",),
    "float8": ("Float64",),
    "numeric": ("Float64",),
    "bytea": ("Binary",),
    "date": ("Date",),
    "time": ("Time",),
    "interval": ("Duration", "us"),
    "timestamp": ("Datetime", "us"),
    "timestamptz": ("Datetime", "us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gives: its columns' names and types, and its rows, to be read once, in order."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


# --- asking ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def answer(connection: Connection, star: str, text: str, shape: Shape) -> Iterator[Answer]:
    """Run one query on a star, and let its rows be read while the context is open.

    The transaction is read-only, sees plain names in the star alone, and is rolled back.

    Args:
        connection: in autocommit mode.
        star: the star's schema.
        text: one SELECT, WITH, VALUES or TABLE.
        shape: what becomes of the rows, which decides how their values come.

    Raises:
        UsageError: there is no text, or it can't be one.
        SparkifyBulkError: there is no star, or the server refused the query.
    """
    if not text.strip() or "\0" in text:
        raise UsageError("there is no SQL to run", hint="give one SELECT")
    with connection.transaction(force_rollback=True):
        connection.execute("SET TRANSACTION READ ONLY")
        state.require_star(connection, star)
        use_schemas(connection, star)
        # A cursor is planned for its first rows; these are read to the end.
        connection.execute("SET LOCAL cursor_tuple_fraction = 1")
        cursor = connection.cursor()
        _adapt(cursor, shape)
        with _refusals(text):
            # Binary is what makes psycopg use the extended protocol; no row comes of this.
            cursor.execute((_DECLARE + text).encode(), binary=True)
            first = _fetch(cursor)
        yield Answer(*_head(cursor), chain.from_iterable(_batches(cursor, first, text)))


def _fetch(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return cursor.execute(sql.SQL("FETCH FORWARD {} FROM answer").format(_ROWS)).fetchall()


def _batches(
    cursor: psycopg.Cursor[tuple[Any, ...]], rows: list[tuple[Any, ...]], text: str
) -> Iterator[list[tuple[Any, ...]]]:
    while rows:
        yield rows
        if len(rows) < _ROWS:
            return
        with _refusals(text):
            rows = _fetch(cursor)


def _head(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    columns = cursor.description or ()
    types = (_type_name(cursor, column.type_code) for column in columns)
    return tuple(column.name for column in columns), tuple(types)


def _type_name(cursor: psycopg.Cursor[Any], oid: int) -> str:
    """Return a type's name, with brackets behind that of an array's values; empty if unknown."""
    info = cursor.adapters.types.get(oid)
    if info is None:
        return ""
    return f"{info.name}[]" if oid == info.array_oid else info.name


@contextlib.contextmanager
def _refusals(text: str) -> Iterator[None]:
    """Turn what the server has against a query into errors that show where; others pass."""
    try:
        yield
    # Whoever opened the connection says which rights are missing.
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
        raise
    except psycopg.Error as error:
        message = printable(error.diag.message_primary or str(error) or type(error).__name__)
        place = int(error.diag.statement_position or 0) - len(_DECLARE)
        raise QueryError(
            "\n".join([message, *(_pointer(text, place) if place > 0 else ())]), hint=_hint(error)
        ) from error


def _pointer(text: str, place: int) -> tuple[str, str]:
    """Return the line that holds a place (1 is the text's first character), and a caret below."""
    from rich.cells import cell_len  # noqa: PLC0415 - only where it is needed

    begin = text.rfind("\n", 0, place - 1) + 1
    line = "".join(c if c.isprintable() else " " for c in text[begin:].partition("\n")[0])
    column = place - 1 - begin
    cut = max(0, column - _BEFORE)
    head = f"line {text.count(chr(10), 0, begin) + 1}: {'…' if cut else ''}"
    before = head + line[cut:column]
    return head + line[cut : cut + _AROUND], f"{' ' * cell_len(before)}^"


def _hint(error: psycopg.Error) -> str:
    if error.diag.message_hint:
        return printable(error.diag.message_hint)
    if error.sqlstate == _SYNTAX:
        return "give one statement that only reads: SELECT, WITH, VALUES or TABLE"
    # Not the server, but whoever makes a value of Python's of one of the server's.
    if isinstance(error, psycopg.DataError) and error.sqlstate is None:
        return "cast the column to text in the query: column::text"
    return ""


# --- values as they come --------------------------------------------------------------------------


class _Moment(Loader):
    """ISO 8601; what that has no words for, such as infinity, as the server writes it."""

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        found = _MOMENT.fullmatch(text)
        if not found:
            return text
        day, time, offset = found.groups("")
        return f"{day}T{time}{offset}{':00' if len(offset) == len('+00') else ''}"


class _Truth(Loader):
    def load(self, data: Buffer) -> str:
        return "true" if bytes(data) == b"t" else "false"


class _JsonNumber(Loader):
    """All digits, as a number; NaN and infinity, which JSON doesn't know, as text."""

    def load(self, data: Buffer) -> object:
        import orjson  # noqa: PLC0415 - only where it is needed

        text = bytes(data)
        return orjson.Fragment(text) if text[-1:].isdigit() else text.decode()


class _Json(Loader):
    """JSON as it stands; outside of its strings a line's end is only a blank."""

    def load(self, data: Buffer) -> object:
        import orjson  # noqa: PLC0415 - only where it is needed

        return orjson.Fragment(bytes(data).translate(bytes.maketrans(b"\r\n\t", b"   ")))


class _Span(IntervalLoader):
    """A span of time of a fixed length, which one of months hasn't."""

    def load(self, data: Buffer) -> timedelta:
        text = bytes(data)
        if b"mon" in text or b"year" in text:
            raise psycopg.DataError(f"an interval of months has no fixed length: {text.decode()!r}")
        return super().load(data)


def _adapt(cursor: psycopg.Cursor[Any], shape: Shape) -> None:
    """Say how values of each type come, for this cursor alone."""
    for info in cursor.adapters.types:
        if shape == "plain" and info.name in _FRAME_TYPES:
            continue
        cursor.adapters.register_loader(info.oid, TextLoader)
        # In JSON an array is one: psycopg takes it apart, and its values come as theirs.
        if info.array_oid and shape not in ("json", "plain"):
            cursor.adapters.register_loader(info.array_oid, TextLoader)
    for name, loader in _loaders(cursor, shape):
        cursor.adapters.register_loader(name, loader)


def _loaders(context: AdaptContext, shape: Shape) -> list[tuple[str, type[Any]]]:
    if shape == "plain":
        return [("numeric", FloatLoader), ("interval", _Span)]
    special: list[tuple[str, type[Any]]] = [
        (name, _Moment) for name in ("timestamp", "timestamptz")
    ]
    if shape == "json":
        special += [(name, _default(context, name)) for name in (*_INTEGERS, "bool")]
        special += [(name, _JsonNumber) for name in _FRACTIONS]
        special += [("json", _Json), ("jsonb", _Json)]
    else:
        special.append(("bool", _Truth))
    if shape == "table":
        # Numbers stand right; but integers would get commas, which years and keys don't have.
        special += [(name, _default(context, "numeric")) for name in (*_INTEGERS, *_FRACTIONS)]
    return special


def _default(context: AdaptContext, name: str) -> type[Any]:
    oid = context.adapters.types[name].oid
    loader = psycopg.adapters.get_loader(oid, psycopg.pq.Format.TEXT)
    return loader or TextLoader


# --- rows as text ---------------------------------------------------------------------------------


def csv_lines(answer: Answer, *, terminal: bool = False) -> Iterator[bytes]:
    """Return an answer as CSV (RFC 4180), a piece at a time; NULL is empty.

    Args:
        answer: of the shape `csv`.
        terminal: it goes to one, which may not see control characters.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    for row in chain([answer.columns], answer.rows):
        writer.writerow(_printable_row(row) if terminal else row)
        if buffer.tell() > io.DEFAULT_BUFFER_SIZE or terminal:
            yield _empty(buffer)
    yield _empty(buffer)


def _printable_row(row: Iterable[Any]) -> list[str]:
    return ["" if value is None else printable(value) for value in row]


def _empty(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def json_lines(answer: Answer, *, terminal: bool = False) -> Iterator[bytes]:
    """Return an answer as JSON, one object a line.

    Args:
        answer: of the shape `json`.
        terminal: it goes to one, which may not see control characters.

    Raises:
        SparkifyBulkError: two columns have the same name.
    """
    import orjson  # noqa: PLC0415 - only where it is needed

    check_names(answer.columns)
    for row in answer.rows:
        line = orjson.dumps(dict(zip(answer.columns, row, strict=True)))
        yield (printable_json(line.decode()).encode() if terminal else line) + b"\n"


def check_names(columns: Sequence[str]) -> None:
    """Refuse columns of which an object would keep only one.

    Raises:
        SparkifyBulkError: two have the same name.
    """
    twice = [printable(name) for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise SparkifyBulkError(
            f"more than one column is named {', '.join(twice)}", hint="name each apart by AS"
        )


# --- the questions --------------------------------------------------------------------------------


def question_text(question: str) -> str:
    """Return the SQL of a question; its first line is a comment that says what it asks.

    Raises:
        UsageError: there is no such question.
    """
    if question not in statements.questions():
        raise UsageError(
            f"no question {question!r}; there are {', '.join(statements.questions())}",
            hint="see sparkify-bulk show --help",
        )
    return statements.read(f"analysis/{question}")


def frame(question: str, dsn: str | None, schema: str) -> "pl.DataFrame":
    """Return the answer to a question as a frame; see `sparkify_bulk.ask`."""
    import polars as pl  # noqa: PLC0415 - only where it is needed

    text = question_text(question)
    check_schema(schema)
    with (
        open_connection(dsn, schema, settings=session.QUERY) as connection,
        answer(connection, schema, text, "plain") as found,
    ):
        rows = list(found.rows)
        columns = zip(*rows, strict=True) if rows else [()] * len(found.columns)
        return pl.DataFrame(
            [
                pl.Series(name, values, _frame_type(kind, values), strict=True)
                for name, kind, values in zip(found.columns, found.types, columns, strict=True)
            ]
        )


def _frame_type(name: str, values: Sequence[Any]) -> "pl.DataType":
    """Return what a column of a frame is of: its type's own, or lists of it as deep as they are."""
    import polars as pl  # noqa: PLC0415 - only where it is needed

    kind, *arguments = _FRAME_TYPES.get(name.removesuffix("[]"), ("String",))
    found: pl.DataType = getattr(pl, kind)(*arguments)
    for _ in range(max(map(_depth, values), default=0) or name.endswith("[]")):
        found = pl.List(found)
    return found


def _depth(value: object) -> int:
    """Return how deep lists stand in lists; 0 of what is none."""
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0
