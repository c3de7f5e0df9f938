"""Options that several commands take, each declared once.

Nothing heavy is imported here, nor on top of the commands' modules: `--help` and completion answer
at once.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from sparkify_bulk.commands.streams import log_as_json
from sparkify_bulk.redaction import holds_password
from sparkify_bulk.settings import (
    DEFAULT_MAX_SHRINK,
    DEFAULT_RETRIES,
    DEFAULT_SCHEMA,
    DEFAULT_SWITCH_PATIENCE,
)

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


def variables(parameter: click.Parameter) -> list[str]:
    """Return the environment variables of an option or argument, the first to count first."""
    names = parameter.envvar or []
    return [names] if isinstance(names, str) else list(names)


class Age(click.ParamType[timedelta]):
    """A span of time as people write it: 90m, 36h, 2d."""

    name = "age"
    _UNITS = {"m": "minutes", "h": "hours", "d": "days"}  # noqa: RUF012 - never changed

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> timedelta:
        """Return the span; fail on anything else."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,5})([mhd])", str(value), re.ASCII)
        if not found:
            self.fail(f"{value!r} is an invalid duration: write 90m, 36h or 2d", parameter, context)
        return timedelta(**{self._UNITS[found[2]]: int(found[1])})


def _warn_of_password(context: click.Context, option: click.Parameter, dsn: str) -> str:
    source = context.get_parameter_source(option.name or "")
    if dsn and source is click.core.ParameterSource.COMMANDLINE and holds_password(dsn):
        click.echo(
            "Warning: everybody on this machine can see a password on the command line; "
            "better give it by PGPASSWORD, ~/.pgpass or a service file.",
            err=True,
        )
    return dsn


def _choose_logs(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value == "json":
        log_as_json()
    return value


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
    help="Schema of the star.",
)
JSON = option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")
FOLDER = click.Path(path_type=Path)
# What the server takes for a number: of a run, and of rows.
RUN_NUMBER = click.IntRange(min=1, max=2**63 - 1)
ROW_COUNT = click.IntRange(min=0, max=2**63 - 1)


# Where input is may be named otherwise than by a path, too.
TREE = click.Path()
DATA = (
    click.argument("data", required=False, type=TREE, metavar="[DATA]", envvar=f"{PREFIX}DATA"),
    option("--songs", metavar="DIR", type=TREE, help="Song files, if not DATA/song_data."),
    option("--logs", metavar="DIR", type=TREE, help="Event logs, if not DATA/log_data."),
    option("--follow-links", is_flag=True, help="Follow symbolic links below these folders."),
)
TARGET = (DSN, SCHEMA)
JOBS = option("--jobs", metavar="N", type=int, help="Parallel workers.  [default: the processors]")
MAX_REJECTS = option(
    "--max-rejects",
    metavar="N",
    type=int,
    help="Abort without changing anything if more than N records are rejected.  "
    "[default: no limit]",
)
MAX_SHRINK = option(
    "--max-shrink",
    metavar="SHARE",
    type=float,
    default=DEFAULT_MAX_SHRINK,
    show_default=True,
    help="Stop a reload that leaves less: songplays, songs or users smaller by more than this "
    "share, or any table empty that had rows. 1 switches the check off.",
)
CREATE = option("--create-database", is_flag=True, help="Create the database if it doesn't exist.")
WAIT = option(
    "--wait",
    metavar="SECONDS",
    type=float,
    default=0,
    help="Seconds to wait while another run is active.  [default: give up at once]",
)
RETRIES = option(
    "--retries",
    metavar="N",
    type=int,
    default=DEFAULT_RETRIES,
    show_default=True,
    help="Retry this many times after a transient database error.",
)
DROP_DEPENDENTS = option(
    "--drop-dependents",
    is_flag=True,
    help="Drop materialized views and other dependents that a reload can't carry over.",
)
SWITCH_PATIENCE = option(
    "--switch-patience",
    metavar="SECONDS",
    type=float,
    default=DEFAULT_SWITCH_PATIENCE,
    show_default=True,
    help="Seconds to wait for readers of the old star to end before the run gives up.",
)
REHASH = option(
    "--rehash", is_flag=True, help="Compare the content of files that look unchanged, too."
)
MAX_AGE = option(
    "--max-age",
    metavar="AGE",
    type=Age(),
    help="Exit 7 if the star's newest event is older: 90m, 36h, 2d.  [default: no limit]",
)
FOLLOW_UPS = (
    option(
        "--report",
        "page",
        metavar="FILE",
        type=FOLDER,
        help="Write an HTML page about the run and the star after the run.",
    ),
    option(
        "--metrics",
        metavar="FILE",
        type=FOLDER,
        help="Write metrics for Prometheus' textfile collector after the run.",
    ),
    option(
        "--notify-command",
        metavar="TEXT",
        help="Run this, with the report on its stdin, if the exit code isn't 0.",
    ),
)
TALK = (
    JSON,
    option("--quiet", is_flag=True, help="Only warnings and errors on stderr."),
    option("-v", "--verbose", is_flag=True, help="More on stderr."),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        # Before the other options: what is wrong with one of them is said in JSON, too.
        is_eager=True,
        expose_value=False,
        callback=_choose_logs,
        help="Format of log lines on stderr.",
    ),
)


def options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add options to a command, in the order in which its help shows them."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
