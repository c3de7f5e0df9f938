"""The command that runs a query of the user's own."""

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sparkify_bulk.commands.options import (
    DSN,
    FOLDER,
    JSON,
    PREFIX,
    ROW_COUNT,
    SCHEMA,
    option,
    options,
)
from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import check_schema

if TYPE_CHECKING:
    from sparkify_bulk.query import Answer, Shape


# Prefixed by the command: elsewhere --file and --limit are of rejects and of runs.
_QUERY = f"{PREFIX}QUERY_"
_TABLE_ROWS = 100


@click.command(short_help="Run one SELECT on the star.")
@options(
    click.argument("sql", required=False, metavar="[SQL]"),
    option("--file", prefix=_QUERY, metavar="FILE", type=FOLDER, help="Read the SQL from a file."),
    DSN,
    SCHEMA,
    option(
        "--format",
        "shape",
        prefix=_QUERY,
        type=click.Choice(["table", "csv", "json"]),
        help="How to print the rows.  [default: table]",
    ),
    option(
        "--limit",
        prefix=_QUERY,
        metavar="N",
        type=ROW_COUNT,
        help=f"At most N rows.  [default: {_TABLE_ROWS} in a table, else all]",
    ),
    JSON,
)
@click.pass_context
def query(
    context: click.Context,
    /,
    *,
    sql: str | None,
    file: Path | None,
    dsn: str | None,
    schema: str,
    shape: "Shape | None",
    limit: int | None,
    as_json: bool,
) -> None:
    """Run one SELECT on the star, and print its rows.

    Plain names are the star's tables; - stands for stdin. Nothing is written: the query runs in a
    transaction that only reads, and is rolled back. CSV, and JSON with one object a line, come as
    they are read, however many rows there are.

    Example: sparkify-bulk query "SELECT level, count(*) FROM songplays GROUP BY level"
    """
    from sparkify_bulk import query
    from sparkify_bulk.database import session
    from sparkify_bulk.database.server import open_connection

    shape = _shape(context, shape, as_json=as_json)
    text = _sql(sql, file)
    check_schema(schema)
    with (
        open_connection(dsn, schema, settings=session.QUERY) as connection,
        query.answer(connection, schema, text, shape) as found,
    ):
        if shape == "table":
            _print_table(found, _TABLE_ROWS if limit is None else limit)
            return
        wanted = replace(found, rows=islice(found.rows, limit))
        lines = query.csv_lines if shape == "csv" else query.json_lines
        sys.stdout.buffer.writelines(lines(wanted, terminal=sys.stdout.isatty()))
        sys.stdout.buffer.flush()


def _shape(context: click.Context, shape: "Shape | None", *, as_json: bool) -> "Shape":
    """Return how to print rows; what is typed comes before what the environment says."""
    typed = {
        name for name in ("as_json", "shape")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }  # fmt: skip
    if len(typed) > 1 and shape != "json":
        raise UsageError(
            f"--json and --format {shape} are mutually exclusive", hint="name one of them"
        )
    return "json" if as_json and typed != {"shape"} else shape or "table"


def _sql(sql: str | None, file: Path | None) -> str:
    """Return the text of a query: as it stands, from stdin, or from a file."""
    if (sql is None) == (file is None):
        raise UsageError(
            "No SQL given. Pass it as an argument, with --file FILE, or - for standard input."
            if sql is None
            else "SQL and --file are mutually exclusive",
            hint="see sparkify-bulk query --help",
        )
    try:
        if file is not None:
            return file.read_bytes().decode("utf-8-sig")
        return sys.stdin.buffer.read().decode("utf-8-sig") if sql == "-" else sql or ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            f"the SQL in {file or 'stdin'} can't be read: {reason}", hint="name a file of SQL"
        ) from error


def _print_table(found: "Answer", limit: int) -> None:
    from sparkify_bulk.commands import tables

    rows = list(islice(found.rows, limit))
    tables.console().print(tables.listing(found.columns, rows))
    if next(found.rows, None) is not None:
        click.echo(f"Only the first {limit:,} rows; see --limit, or --format csv.", err=True)
