"""The command that opens psql on the star."""

import os

import click

from sparkify_bulk.commands.options import DSN, SCHEMA
from sparkify_bulk.settings import check_schema


@click.command(
    context_settings={"ignore_unknown_options": True}, short_help="Open psql on the star."
)
@DSN
@SCHEMA
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(dsn: str | None, schema: str, arguments: tuple[str, ...]) -> None:
    """Open psql on the star; all arguments are passed to psql.

    Example: sparkify-bulk psql -c 'SELECT count(*) FROM songplays'
    """
    import shutil

    from sparkify_bulk.database import embedded, server

    check_schema(schema)
    address, embedded_name = server.find_server(dsn)
    # The embedded server's own: one of another version may know its commands only in part.
    program = None if embedded_name else shutil.which("psql")
    program = program or str(embedded.psql_path())
    options = os.environ.get("PGOPTIONS", "")
    os.environ["PGOPTIONS"] = f"{options} -c search_path={schema}".strip()
    os.environ.update(server.libpq_environment(address))
    os.execv(program, ["psql", *arguments])  # noqa: S606 - no shell is wanted
