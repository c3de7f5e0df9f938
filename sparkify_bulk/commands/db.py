"""The commands of the embedded server."""

import sys

import click

from sparkify_bulk.commands.options import PREFIX, option
from sparkify_bulk.errors import UsageError


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{text} …", err=True)


@click.group()
def db() -> None:
    """Start, stop and find the embedded PostgreSQL.

    Example: sparkify-bulk db status
    """


@db.command()
@option(
    "--port",
    prefix=f"{PREFIX}DB_",
    metavar="N",
    type=click.IntRange(1024, 65_535),
    help="Listen at this port of the loopback address, too; a password is needed there.",
)
def start(port: int | None) -> None:
    """Start the embedded PostgreSQL, and print its URL.

    Other programs of this machine reach it by --port, until it is stopped. The password stands in a
    file that only you may read; write your own into it, if you like.

    Example: sparkify-bulk db start --port 5433
    """
    from sparkify_bulk.database import embedded

    server = embedded.ensure_running(port=port, tell=_tell)
    click.echo(server.url)
    if server.listens:
        click.echo(f"The password is in {server.home / 'password'}.", err=True)


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; its data are kept.

    Example: sparkify-bulk db stop
    """
    from sparkify_bulk.database import embedded

    click.echo("stopped" if embedded.stop() else "not running")


@db.command()
@click.option(
    "--with-password",
    is_flag=True,
    help="Include the password, for programs that don't support passfile=.",
)
def url(*, with_password: bool) -> None:
    """Print the URL of the embedded PostgreSQL, for other programs; start it if necessary.

    After db start --port it is the URL of the port.

    Example: psql "$(sparkify-bulk db url)"
    """
    from sparkify_bulk.database import embedded

    server = embedded.ensure_running(tell=_tell)
    click.echo(server.url_with_password if with_password else server.url)


@db.command()
def status() -> int:
    """Show whether the embedded PostgreSQL is running, and where; exit 4 if it isn't.

    Example: sparkify-bulk db status || sparkify-bulk db start
    """
    from sparkify_bulk.database import embedded

    server = embedded.status()
    if server is None:
        click.echo(f"not running; its home is {embedded.default_home()}")
        return 4
    click.echo(f"running: PostgreSQL {server.version}, pid {server.pid}, data in {server.data}")
    click.echo(server.url)
    return 0


@db.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
def reset(*, yes: bool) -> None:
    """Delete the embedded PostgreSQL with all its data, after asking.

    Example: sparkify-bulk db reset
    """
    from sparkify_bulk.database import embedded

    data = embedded.has_data()
    if data is None:
        click.echo(f"There is nothing to delete in {embedded.default_home()}.")
        return
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            f"can't ask for confirmation to delete {data}: stdin is not a terminal",
            hint="confirm with --yes",
        )
    question = f"Delete the embedded PostgreSQL in {data}, with every star and ledger in it?"
    if not yes and not click.confirm(question):
        click.echo("Nothing was deleted.")
        return
    embedded.reset()
    click.echo(f"Deleted: {data}")
