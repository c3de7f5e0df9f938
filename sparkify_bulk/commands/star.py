"""What the star holds, and how it is made."""

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sparkify_bulk import statements
from sparkify_bulk.commands.options import (
    DSN,
    FOLDER,
    JSON,
    PREFIX,
    ROW_COUNT,
    RUN_NUMBER,
    SCHEMA,
    option,
    options,
)
from sparkify_bulk.commands.talk import write
from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import check_schema, schemas

if TYPE_CHECKING:
    from sparkify_bulk.query import Answer, Shape


class _Show(click.Command):
    """Lists the questions in its help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the questions, and then the options."""
        with formatter.section("Questions"):
            formatter.write_dl([(name, _title(name)) for name in statements.questions()])
        super().format_options(ctx, formatter)


def _title(question: str) -> str:
    return statements.read(f"analysis/{question}").splitlines()[0].removeprefix("-- ")


def _complete_question(_context: object, _parameter: object, begun: str) -> list[str]:
    return [name for name in statements.questions() if name.startswith(begun)]


@click.command(cls=_Show, short_help="Answer the star's own questions.")
@click.argument("question", required=False, metavar="[QUESTION]", shell_complete=_complete_question)
@DSN
@SCHEMA
@JSON
def show(question: str | None, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """Answer ready-made questions about the star: all of them, or one.

    Example: sparkify-bulk show most_played_songs
    """
    from sparkify_bulk import query
    from sparkify_bulk.commands import render
    from sparkify_bulk.database import session
    from sparkify_bulk.database.server import open_connection

    known = statements.questions()
    if question is not None and question not in known:
        raise click.UsageError(f"no question {question!r}; there are {', '.join(known)}")
    check_schema(schema)
    with open_connection(dsn, schema, settings=session.QUERY) as connection:
        for name in [question] if question else known:
            text = query.question_text(name)
            with query.answer(connection, schema, text, "plain") as found:
                if as_json:
                    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
                    click.echo(json.dumps({"question": name, "rows": rows}, default=str))
                else:
                    out = render.console()
                    out.print(_title(name), style="bold")
                    out.print(render.listing(found.columns, found.rows))
                    if not question:
                        out.print()


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
        help=f"At most so many rows.  [default: {_TABLE_ROWS} in a table, else all]",
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
    from sparkify_bulk.commands import render

    rows = list(islice(found.rows, limit))
    render.console().print(render.listing(found.columns, rows))
    if next(found.rows, None) is not None:
        click.echo(f"Only the first {limit:,} rows; see --limit, or --format csv.", err=True)


@click.command(short_help="Write a page about the last run and the star.")
@options(
    option(
        "--output",
        prefix=f"{PREFIX}REPORT_",
        metavar="FILE",
        type=FOLDER,
        default=Path("sparkify-report.html"),
        show_default=True,
        help="Where the page goes; a file that exists is replaced.",
    ),
    option("--run", "run_id", metavar="N", type=RUN_NUMBER, help="Another run than the last."),
    DSN,
    SCHEMA,
)
def report(output: Path, run_id: int | None, dsn: str | None, schema: str) -> None:
    """Write a page about the last load or reload, and about the star as it is now.

    One HTML file, for browsers and for mail: whether all is well, where the time went, what was
    rejected, what the star holds, and how the runs before went.

    Example: sparkify-bulk report --output sparkify.html
    """
    from sparkify_bulk.database.server import open_connection
    from sparkify_bulk.reporting import page

    page.check_output(output)
    with open_connection(dsn, schema, schemas(schema).ledger) as connection:
        page.write(connection, schema, output, run_id)
    click.echo(f"Written: {output}")


@click.command()
@SCHEMA
@option("--mermaid", is_flag=True, help="Print an entity-relationship diagram instead.")
@option("--roles", is_flag=True, help="Print what makes a loading and a reading role instead.")
@option("--svg", metavar="FILE", type=FOLDER, help="Draw the diagram into a file instead.")
def schema(schema: str, *, mermaid: bool, roles: bool, svg: Path | None) -> None:
    """Print the star's DDL.

    Example: sparkify-bulk schema --roles | psql --dbname music
    """
    from sparkify_bulk.reporting import diagram

    check_schema(schema)
    kinds = {"--mermaid": mermaid, "--roles": roles, "--svg": svg}
    asked = [name for name, given in kinds.items() if given]
    if len(asked) > 1:
        raise UsageError(
            f"{' and '.join(asked[:2])} are mutually exclusive", hint="name one of them"
        )
    if svg:
        _draw(svg)
        return
    what = diagram.mermaid() if mermaid else (diagram.roles if roles else diagram.ddl)(schema)
    click.echo(what, nl=False)


def _draw(file: Path) -> None:
    """Draw the star into a file, or onto stdout where that is named -."""
    from sparkify_bulk.reporting import picture

    drawn = picture.svg().encode()
    if str(file) == "-":
        write(drawn)
        return
    try:
        file.write_bytes(drawn)
        click.echo(f"Written: {file}")
    except OSError as error:
        raise UsageError(
            f"{file} can't be written: {error.strerror}", hint="name another file by --svg"
        ) from error
