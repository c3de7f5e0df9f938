"""The command that answers the star's own questions."""

import json

import click

from sparkify_bulk import statements
from sparkify_bulk.commands.options import (
    DSN,
    JSON,
    SCHEMA,
)
from sparkify_bulk.settings import check_schema


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


@click.command(cls=_Show, short_help="Answer ready-made questions.")
@click.argument("question", required=False, metavar="[QUESTION]", shell_complete=_complete_question)
@DSN
@SCHEMA
@JSON
def show(question: str | None, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """Answer ready-made questions about the star: all of them, or one.

    Example: sparkify-bulk show most_played_songs
    """
    from sparkify_bulk import query
    from sparkify_bulk.commands import tables
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
                    out = tables.console()
                    out.print(_title(name), style="bold")
                    out.print(tables.listing(found.columns, found.rows))
                    if not question:
                        out.print()
