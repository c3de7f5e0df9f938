"""The command line: arguments to settings to a run to its report to an exit code.

The only place that prints. Heavy modules are imported where a command needs them, so that `--help`
and completion answer at once.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from sparkify_bulk import __version__
from sparkify_bulk.errors import SparkifyBulkError

if TYPE_CHECKING:
    from sparkify_bulk.connection import Connection
    from sparkify_bulk.report import Report
    from sparkify_bulk.settings import Settings

_PREFIX = "SPARKIFY_BULK_"
_INTERRUPTED, _TERMINATED = 130, 143

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; what was under way ends as it does on Ctrl-C."""


def main() -> NoReturn:
    """Run the command line, and exit."""
    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        code = cli.main(prog_name="sparkify-bulk", standalone_mode=False)
    except click.exceptions.Abort as error:
        code = _TERMINATED if isinstance(error.__cause__, Terminated) else _INTERRUPTED
        click.echo("Interrupted; the star is untouched.", err=True)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SparkifyBulkError as error:
        _show_error(error)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _on_terminate(_signal: int, _frame: object) -> None:
    raise Terminated


def _show_error(error: SparkifyBulkError) -> None:
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(f"Hint: {error.hint}", err=True)


# --- options --------------------------------------------------------------------------------------


def _option(*names: str, **attributes: Any) -> Callable[[_Command], _Command]:  # noqa: ANN401 - click's
    """Declare an option that has an environment variable too."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = _PREFIX + long.removeprefix("--").replace("-", "_").upper()
    variables = [variable, *attributes.pop("also", ())]
    return click.option(*names, envvar=variables, show_envvar=True, **attributes)


_DSN = _option(
    "--dsn",
    metavar="TEXT",
    also=["DATABASE_URL"],
    help="libpq connection string or URL; else libpq's PG* variables; else the embedded server.",
)
_SCHEMA = _option(
    "--schema", metavar="NAME", default="sparkify", show_default=True, help="Where the star lives."
)
_JSON = _option("--json", "as_json", is_flag=True, help="JSON on stdout, nothing else there.")
_FOLDER = click.Path(path_type=Path)


def _run_options(command: _Command) -> _Command:
    """Add what `reload` and `load` take."""
    options = [
        click.argument(
            "data", required=False, type=_FOLDER, metavar="[DATA]", envvar=f"{_PREFIX}DATA"
        ),
        _option("--songs", metavar="DIR", type=_FOLDER, help="Song files, if not DATA/song_data."),
        _option("--logs", metavar="DIR", type=_FOLDER, help="Event logs, if not DATA/log_data."),
        _DSN,
        _SCHEMA,
        _option(
            "--jobs", metavar="N", type=int, help="Parallel workers.  [default: the processors]"
        ),
        _option(
            "--max-rejects",
            metavar="N",
            type=int,
            help="More rejects than this: stop, star untouched.  [default: no limit]",
        ),
        _option("--create-database", is_flag=True, help="Make the database if it doesn't exist."),
        _JSON,
        _option("--quiet", is_flag=True, help="Only warnings and errors on stderr."),
        _option("-v", "--verbose", is_flag=True, help="More on stderr."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sparkify-bulk")
def cli() -> None:
    """Load trees of JSON into a PostgreSQL star schema, fast and whole.

    \b
    sparkify-bulk reload DATA    rebuild the star from all files
    sparkify-bulk load DATA      merge new and changed files into the live star
    sparkify-bulk show           look at the result
    """  # noqa: D301 - click's mark for "leave these lines as they are"


# --- runs -----------------------------------------------------------------------------------------


@cli.command()
@_run_options
def reload(**options: Any) -> int:  # noqa: ANN401 - click's
    """Build the star anew from all files; it replaces the old one at once.

    DATA is a folder with song_data/ and log_data/ below it.

    Example: sparkify-bulk reload data
    """
    return _run("reload", **options)


@cli.command()
@_run_options
@_option("--rehash", is_flag=True, help="Compare the content of files that look unchanged, too.")
def load(**options: Any) -> int:  # noqa: ANN401 - click's
    """Merge new and changed files into the live star.

    DATA is a folder with song_data/ and log_data/ below it. Files whose size and time of change are
    as the ledger has them aren't read; records that are there already change nothing.

    Example: sparkify-bulk load data --dsn service=warehouse
    """
    return _run("load", **options)


def _run(command: str, *, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:  # noqa: ANN401
    """Run a command and print its report; return the exit code."""
    from sparkify_bulk import pipeline  # noqa: PLC0415

    _log_to_stderr(quiet=quiet, verbose=verbose)
    settings = _settings(**options)
    story = pipeline.reload if command == "reload" else pipeline.load
    try:
        with _watch(quiet=quiet) as watch:
            report = story(settings, watch)
    except SparkifyBulkError as error:
        if as_json and error.report is not None:
            _write(error.report.to_json())
        raise
    _print_report(report, as_json=as_json, quiet=quiet)
    return report.exit_code


def _settings(
    *,
    data: Path | None,
    songs: Path | None,
    logs: Path | None,
    jobs: int | None,
    **options: Any,  # noqa: ANN401
) -> "Settings":
    from sparkify_bulk.settings import Settings, default_jobs, input_folders  # noqa: PLC0415

    songs, logs = input_folders(data, songs, logs)
    return Settings(songs, logs, jobs=default_jobs() if jobs is None else jobs, **options)


@contextlib.contextmanager
def _watch(*, quiet: bool) -> Iterator[Any]:
    """Watch a run by bars on a terminal, by log lines elsewhere."""
    from sparkify_bulk import progress, render  # noqa: PLC0415

    console = render.console(stderr=True)
    if console.is_terminal and not quiet:
        with progress.TerminalWatch(console) as bars:
            yield bars
    else:
        yield progress.LogWatch()


def _print_report(report: "Report", *, as_json: bool, quiet: bool) -> None:
    from sparkify_bulk import render  # noqa: PLC0415

    if as_json:
        _write(report.to_json())
    elif not quiet:
        render.console().print(render.summary(report))


def _log_to_stderr(*, quiet: bool, verbose: bool) -> None:
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("sparkify_bulk").setLevel(level)


def _write(document: bytes) -> None:
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()


# --- the ledger -----------------------------------------------------------------------------------


@cli.command()
@_option("--run", "run_id", metavar="N", type=int, help="Another run than the last.")
@_DSN
@_SCHEMA
@_JSON
def rejects(run_id: int | None, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """List the records that the last run refused.

    Example: sparkify-bulk rejects --json > rejects.ndjson
    """
    from sparkify_bulk import ledger, render  # noqa: PLC0415
    from sparkify_bulk.settings import schemas  # noqa: PLC0415

    with _connection(dsn) as connection:
        rows = ledger.list_rejects(connection, schemas(schema).ledger, run_id)
        if as_json:
            for row in rows:
                _write_line(row | {"raw": row["raw"].decode(errors="backslashreplace")})
            return
        columns = ("file", "line", "column", "reason", "detail")
        found = [[row[column] for column in columns] for row in rows]
    if found:
        render.console().print(render.listing(columns, found))
    else:
        click.echo("No rejects.")


@cli.command()
@_option("--limit", metavar="N", type=int, default=20, show_default=True, help="How many.")
@_DSN
@_SCHEMA
@_JSON
def runs(limit: int, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """List the latest runs, newest first.

    Example: sparkify-bulk runs --limit 5
    """
    from sparkify_bulk import ledger, render  # noqa: PLC0415
    from sparkify_bulk.settings import schemas  # noqa: PLC0415

    with _connection(dsn) as connection:
        found = ledger.list_runs(connection, schemas(schema).ledger, limit)
    if as_json:
        for row in found:
            _write_line(row)
        return
    if not found:
        click.echo("No runs.")
        return
    rows = [
        (
            row["run_id"],
            row["command"],
            row["status"],
            f"{row['started_at']:%Y-%m-%d %H:%M:%S}",
            f"{(row['ended_at'] - row['started_at']).total_seconds():.1f} s"
            if row["ended_at"]
            else "",
            row["exit_code"],
            f"{row['client_user']}@{row['client_host']}",
            row["error"],
        )
        for row in found
    ]
    columns = ("run", "command", "status", "started", "took", "exit", "who", "error")
    render.console().print(render.listing(columns, rows))


def _write_line(row: dict[str, Any]) -> None:
    import orjson  # noqa: PLC0415

    _write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


# --- the star -------------------------------------------------------------------------------------


@cli.command()
@click.argument("question", required=False)
@_DSN
@_SCHEMA
@_JSON
def show(question: str | None, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """Answer the questions the star was built for: all of them, or one.

    Example: sparkify-bulk show most_played_songs
    """
    from sparkify_bulk import render, statements  # noqa: PLC0415
    from sparkify_bulk.stage import use_schemas  # noqa: PLC0415

    known = [name.removeprefix("analysis/") for name in statements.names("analysis")]
    if question is not None and question not in known:
        raise click.UsageError(f"no question {question!r}; there are {', '.join(known)}")
    _check_schema(schema)
    with _connection(dsn) as connection, connection.transaction():
        _require_star(connection, schema)
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


def _require_star(connection: "Connection", schema: str) -> None:
    from sparkify_bulk import merge  # noqa: PLC0415

    if not merge.star_exists(connection, schema):
        raise SparkifyBulkError(
            f"there is no star in the schema {schema}",
            hint="make one with sparkify-bulk reload DATA, or name another by --schema",
        )


@cli.command()
@_SCHEMA
@_option("--mermaid", is_flag=True, help="Print an entity-relationship diagram instead.")
def schema(schema: str, *, mermaid: bool) -> None:
    """Print the star's DDL.

    Example: sparkify-bulk schema | psql
    """
    from sparkify_bulk import diagram  # noqa: PLC0415

    _check_schema(schema)
    click.echo(diagram.mermaid() if mermaid else diagram.ddl(schema), nl=False)


def _check_schema(schema: str) -> None:
    from sparkify_bulk.settings import check_schema  # noqa: PLC0415

    check_schema(schema)


@contextlib.contextmanager
def _connection(dsn: str | None) -> "Iterator[Connection]":
    """Open the connection of a command that isn't a run."""
    from sparkify_bulk import run  # noqa: PLC0415

    with run.open_connection(dsn) as connection:
        yield connection


# --- the embedded server --------------------------------------------------------------------------


@cli.command(context_settings={"ignore_unknown_options": True})
@_DSN
@_SCHEMA
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(dsn: str | None, schema: str, arguments: tuple[str, ...]) -> None:
    """Open psql on the star; what follows is handed to it.

    Example: sparkify-bulk psql -c 'SELECT count(*) FROM songplays'
    """
    import shutil  # noqa: PLC0415

    from sparkify_bulk import embedded, run  # noqa: PLC0415

    _check_schema(schema)
    address, _ = run.find_server(dsn)
    program = shutil.which("psql") or str(embedded.psql_path())
    options = os.environ.get("PGOPTIONS", "")
    os.environ["PGOPTIONS"] = f"{options} -c search_path={schema}".strip()
    os.environ.update(run.libpq_environment(address))
    os.execv(program, ["psql", *arguments])  # noqa: S606 - no shell is wanted


@cli.group()
def db() -> None:
    """Start, stop and find the embedded PostgreSQL."""


@db.command()
def start() -> None:
    """Start the embedded PostgreSQL, and print its URL."""
    from sparkify_bulk import embedded  # noqa: PLC0415

    click.echo(embedded.ensure_running().url)


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; its data stay."""
    from sparkify_bulk import embedded  # noqa: PLC0415

    click.echo("stopped" if embedded.stop() else "not running")


@db.command()
def url() -> None:
    """Print the URL of the embedded PostgreSQL, for other programs; start it if need be."""
    from sparkify_bulk import embedded  # noqa: PLC0415

    click.echo(embedded.ensure_running().url)


@db.command()
def status() -> int:
    """Tell whether the embedded PostgreSQL runs, and where; exit 4 if it doesn't."""
    from sparkify_bulk import embedded  # noqa: PLC0415

    server = embedded.status()
    if server is None:
        click.echo(f"not running; its home is {embedded.default_home()}")
        return 4
    click.echo(f"running: PostgreSQL {server.version}, pid {server.pid}, data in {server.data}")
    click.echo(server.url)
    return 0


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete this command.

    Example: eval "$(sparkify-bulk completion bash)"
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(cli, {}, "sparkify-bulk", "_SPARKIFY_BULK_COMPLETE").source())
