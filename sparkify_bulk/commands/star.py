"""What the star holds, and how it is made."""

import json

import click

from sparkify_bulk.commands.options import DSN, JSON, SCHEMA, option
from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import check_schema


@click.command()
@click.argument("question", required=False)
@DSN
@SCHEMA
@JSON
def show(question: str | None, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """Answer the questions the star was built for: all of them, or one.

    Example: sparkify-bulk show most_played_songs
    """
    from sparkify_bulk import pipeline, render, run, statements
    from sparkify_bulk.stage import use_schemas

    known = [name.removeprefix("analysis/") for name in statements.names("analysis")]
    if question is not None and question not in known:
        raise click.UsageError(f"no question {question!r}; there are {', '.join(known)}")
    check_schema(schema)
    with run.open_connection(dsn) as connection, connection.transaction():
        pipeline.require_star(connection, schema)
        use_schemas(connection, schema)
        for name in [question] if question else known:
            text = statements.read(f"analysis/{name}")
            cursor = connection.execute(text)
            columns = [column.name for column in cursor.description or ()]
            rows = cursor.fetchall()
            if as_json:
                answer = [dict(zip(columns, row, strict=True)) for row in rows]
                click.echo(json.dumps({"question": name, "rows": answer}, default=float))
            else:
                out = render.console()
                out.print(text.splitlines()[0].removeprefix("-- "), style="bold")
                out.print(render.listing(columns, rows))


@click.command()
@SCHEMA
@option("--mermaid", is_flag=True, help="Print an entity-relationship diagram instead.")
@option("--roles", is_flag=True, help="Print what makes a loading and a reading role instead.")
def schema(schema: str, *, mermaid: bool, roles: bool) -> None:
    """Print the star's DDL.

    Example: sparkify-bulk schema --roles | psql --dbname music
    """
    from sparkify_bulk import diagram

    check_schema(schema)
    if mermaid and roles:
        raise UsageError("--mermaid and --roles are two things", hint="name one of them")
    what = diagram.mermaid() if mermaid else (diagram.roles if roles else diagram.ddl)(schema)
    click.echo(what, nl=False)
