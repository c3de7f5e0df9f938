"""psql on the star, and the embedded server."""

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
    """Open psql on the star; what follows is handed to it.

    Example: sparkify-bulk psql -c 'SELECT count(*) FROM songplays'
    """
    import shutil

    from sparkify_bulk import embedded, run

    check_schema(schema)
    address, embedded_name = run.find_server(dsn)
    # The embedded server's own: one of another version may know its commands only in part.
    program = None if embedded_name else shutil.which("psql")
    program = program or str(embedded.psql_path())
    options = os.environ.get("PGOPTIONS", "")
    os.environ["PGOPTIONS"] = f"{options} -c search_path={schema}".strip()
    os.environ.update(run.libpq_environment(address))
    os.execv(program, ["psql", *arguments])  # noqa: S606 - no shell is wanted


@click.group()
def db() -> None:
    """Start, stop and find the embedded PostgreSQL.

    Example: sparkify-bulk db status
    """


@db.command()
def start() -> None:
    """Start the embedded PostgreSQL, and print its URL.

    Example: sparkify-bulk db start
    """
    from sparkify_bulk import embedded

    click.echo(embedded.ensure_running().url)


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; its data stay.

    Example: sparkify-bulk db stop
    """
    from sparkify_bulk import embedded

    click.echo("stopped" if embedded.stop() else "not running")


@db.command()
def url() -> None:
    """Print the URL of the embedded PostgreSQL, for other programs; start it if need be.

    Example: psql "$(sparkify-bulk db url)"
    """
    from sparkify_bulk import embedded

    click.echo(embedded.ensure_running().url)


@db.command()
def status() -> int:
    """Tell whether the embedded PostgreSQL runs, and where; exit 4 if it doesn't.

    Example: sparkify-bulk db status || sparkify-bulk db start
    """
    from sparkify_bulk import embedded

    server = embedded.status()
    if server is None:
        click.echo(f"not running; its home is {embedded.default_home()}")
        return 4
    click.echo(f"running: PostgreSQL {server.version}, pid {server.pid}, data in {server.data}")
    click.echo(server.url)
    return 0
