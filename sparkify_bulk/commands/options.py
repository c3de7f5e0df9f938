"""Options that several commands take, each declared once.

Nothing heavy is imported here, nor on top of the commands' modules: `--help` and completion answer
at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sparkify_bulk.redaction import holds_password
from sparkify_bulk.settings import DEFAULT_RETRIES, DEFAULT_SCHEMA

PREFIX = "SPARKIFY_BULK_"

Command = TypeVar("Command", bound=Callable[..., Any])


def option(
    *names: str,
    prefix: str = PREFIX,
    **attributes: Any,
) -> Callable[[Command], Command]:
    """Declare an option that has an environment variable too."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = prefix + long.removeprefix("--").replace("-", "_").upper()
    variables = [variable, *attributes.pop("also", ())]
    return click.option(*names, envvar=variables, show_envvar=True, **attributes)


def _warn_of_password(context: click.Context, option: click.Parameter, dsn: str) -> str:
    source = context.get_parameter_source(option.name or "")
    if dsn and source is click.core.ParameterSource.COMMANDLINE and holds_password(dsn):
        click.echo(
            "Warning: everybody on this machine can see a password on the command line; "
            "better give it by PGPASSWORD, ~/.pgpass or a service file.",
            err=True,
        )
    return dsn


DSN = option(
    "--dsn",
    metavar="TEXT",
    callback=_warn_of_password,
    also=["DATABASE_URL"],
    help="libpq connection string or URL; else libpq's PG* variables; else the embedded server.",
)
SCHEMA = option(
    "--schema",
    metavar="NAME",
    default=DEFAULT_SCHEMA,
    show_default=True,
    help="Where the star lives.",
)
JSON = option("--json", "as_json", is_flag=True, help="JSON on stdout, nothing else there.")
FOLDER = click.Path(path_type=Path)


DATA = (
    click.argument("data", required=False, type=FOLDER, metavar="[DATA]", envvar=f"{PREFIX}DATA"),
    option("--songs", metavar="DIR", type=FOLDER, help="Song files, if not DATA/song_data."),
    option("--logs", metavar="DIR", type=FOLDER, help="Event logs, if not DATA/log_data."),
    option("--follow-links", is_flag=True, help="Follow symbolic links below these folders."),
)
TARGET = (DSN, SCHEMA)
JOBS = option("--jobs", metavar="N", type=int, help="Parallel workers.  [default: the processors]")
MAX_REJECTS = option(
    "--max-rejects",
    metavar="N",
    type=int,
    help="More rejects than this: stop, star untouched.  [default: no limit]",
)
CREATE = option("--create-database", is_flag=True, help="Make the database if it doesn't exist.")
WAIT = option(
    "--wait",
    metavar="SECONDS",
    type=float,
    default=0,
    help="Wait so long for another run on the star.  [default: give up at once]",
)
RETRIES = option(
    "--retries",
    metavar="N",
    type=int,
    default=DEFAULT_RETRIES,
    show_default=True,
    help="Begin anew so often when the database fails in passing.",
)
DROP_DEPENDENTS = option(
    "--drop-dependents",
    is_flag=True,
    help="Drop materialized views and whatever else can't follow the switch.",
)
REHASH = option(
    "--rehash", is_flag=True, help="Compare the content of files that look unchanged, too."
)
TALK = (
    JSON,
    option("--quiet", is_flag=True, help="Only warnings and errors on stderr."),
    option("-v", "--verbose", is_flag=True, help="More on stderr."),
)


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add options to a command, in the order in which its help shows them."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
