"""The command line: arguments to settings to a run to its report to an exit code.

The only place that prints. Heavy modules are imported where a command needs them, so that `--help`
and completion answer at once.
"""

import contextlib
import dataclasses
import errno
import gc
import json
import logging
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from sparkify_bulk import __version__
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.manifest import listing
from sparkify_bulk.redaction import Redacted, holds_password, redact
from sparkify_bulk.settings import DEFAULT_RETRIES, DEFAULT_SCHEMA

if TYPE_CHECKING:
    from sparkify_bulk.connection import Connection
    from sparkify_bulk.report import Report
    from sparkify_bulk.settings import Settings

_PREFIX = "SPARKIFY_BULK_"
_INTERRUPTED, _TERMINATED = 130, 143
_asked: list[int] = []

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; what was under way ends as it does on Ctrl-C."""


def main() -> NoReturn:
    """Run the command line, and exit."""
    sys.excepthook = _show_crash
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    try:
        code = cli.main(prog_name="sparkify-bulk", standalone_mode=False)
    except click.exceptions.Abort as error:
        code = _TERMINATED if isinstance(error.__cause__, Terminated) else _INTERRUPTED
        click.echo("Interrupted; nothing is left half done.", err=True)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SparkifyBulkError as error:
        _show_error(error)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _on_signal(number: int, _frame: object) -> NoReturn:
    """End what is under way, and clear up; asked a second time, end at once."""
    if _asked:
        os.write(sys.stderr.fileno(), b"Stopped at once; the next run clears up what is left.\n")
        os._exit(128 + number)
    _asked.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _show_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a defect, without passwords."""
    click.echo(redact("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)


def _show_error(error: SparkifyBulkError) -> None:
    click.echo(f"Error: {error.message}", err=True)
    if error.hint:
        click.echo(f"Hint: {error.hint}", err=True)


# --- options --------------------------------------------------------------------------------------


def _option(
    *names: str,
    prefix: str = _PREFIX,
    **attributes: Any,  # noqa: ANN401 - click's
) -> Callable[[_Command], _Command]:
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


_DSN = _option(
    "--dsn",
    metavar="TEXT",
    callback=_warn_of_password,
    also=["DATABASE_URL"],
    help="libpq connection string or URL; else libpq's PG* variables; else the embedded server.",
)
_SCHEMA = _option(
    "--schema",
    metavar="NAME",
    default=DEFAULT_SCHEMA,
    show_default=True,
    help="Where the star lives.",
)
_JSON = _option("--json", "as_json", is_flag=True, help="JSON on stdout, nothing else there.")
_FOLDER = click.Path(path_type=Path)


_DATA = (
    click.argument("data", required=False, type=_FOLDER, metavar="[DATA]", envvar=f"{_PREFIX}DATA"),
    _option("--songs", metavar="DIR", type=_FOLDER, help="Song files, if not DATA/song_data."),
    _option("--logs", metavar="DIR", type=_FOLDER, help="Event logs, if not DATA/log_data."),
    _option("--follow-links", is_flag=True, help="Follow symbolic links below these folders."),
)
_TARGET = (_DSN, _SCHEMA)
_JOBS = _option(
    "--jobs", metavar="N", type=int, help="Parallel workers.  [default: the processors]"
)
_MAX_REJECTS = _option(
    "--max-rejects",
    metavar="N",
    type=int,
    help="More rejects than this: stop, star untouched.  [default: no limit]",
)
_CREATE = _option("--create-database", is_flag=True, help="Make the database if it doesn't exist.")
_WAIT = _option(
    "--wait",
    metavar="SECONDS",
    type=float,
    default=0,
    help="Wait so long for another run on the star.  [default: give up at once]",
)
_RETRIES = _option(
    "--retries",
    metavar="N",
    type=int,
    default=DEFAULT_RETRIES,
    show_default=True,
    help="Begin anew so often when the database fails in passing.",
)
_DROP_DEPENDENTS = _option(
    "--drop-dependents",
    is_flag=True,
    help="Drop materialized views and whatever else can't follow the switch.",
)
_REHASH = _option(
    "--rehash", is_flag=True, help="Compare the content of files that look unchanged, too."
)
_TALK = (
    _JSON,
    _option("--quiet", is_flag=True, help="Only warnings and errors on stderr."),
    _option("-v", "--verbose", is_flag=True, help="More on stderr."),
)


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Add options to a command, in the order in which its help shows them."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


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
@_options(*_DATA, *_TARGET, _JOBS, _MAX_REJECTS, _CREATE, _WAIT, _RETRIES, _DROP_DEPENDENTS, *_TALK)
def reload(**options: Any) -> int:  # noqa: ANN401 - click's
    """Build the star anew from all files; it replaces the old one at once.

    DATA is a folder with song_data/ and log_data/ below it.

    Example: sparkify-bulk reload data
    """
    return _run("reload", **options)


@cli.command()
@_options(*_DATA, *_TARGET, _JOBS, _MAX_REJECTS, _CREATE, _WAIT, _RETRIES, _REHASH, *_TALK)
def load(**options: Any) -> int:  # noqa: ANN401 - click's
    """Merge new and changed files into the live star.

    DATA is a folder with song_data/ and log_data/ below it. Files whose size and time of change are
    as the ledger has them aren't read; records that are there already change nothing.

    Example: sparkify-bulk load data --dsn service=warehouse
    """
    return _run("load", **options)


def _run(command: str, *, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:  # noqa: ANN401
    """Run a reload or a load, and print its report; return the exit code."""
    settings = _settings(**options)
    with (
        listing(settings, read=command == "reload") as listers,
        _told(as_json=as_json, quiet=quiet, verbose=verbose) as watch,
    ):
        from sparkify_bulk import pipeline  # noqa: PLC0415 - takes as long as to list many files

        # What a run makes holds no cycles, or few: looking for them takes a thirtieth of its time.
        gc.freeze()
        gc.set_threshold(50_000)
        story = pipeline.reload if command == "reload" else pipeline.load
        report = story(settings, watch, listers)
    try:
        _print_report(report, as_json=as_json, quiet=quiet)
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        # What is left unwritten would fail once more at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SparkifyBulkError(
            f"the report can't be written: {error.strerror}",
            hint=f"the star is loaded, and run {report.run_id} is on record",
        ) from None
    return report.exit_code


@cli.command()
@_options(*_DATA, *_TARGET, _JOBS, _WAIT, *_TALK)
def verify(*, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:  # noqa: ANN401
    """Read all files again, record by record, and say whether the star agrees with them.

    Exit 0 if it does, 1 if not. The star is only read.

    Example: sparkify-bulk verify data
    """
    from sparkify_bulk import pipeline, render  # noqa: PLC0415

    settings = _settings(**options)
    with _told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        report, differences = pipeline.verify(settings, watch)
    if as_json:
        found = [dataclasses.asdict(difference) for difference in differences]
        _write_line(report.to_dict() | {"differences": found})
    elif differences:
        columns = ("table", "difference", "rows", "for example")
        rows = [(d.table, d.difference, d.rows, "; ".join(d.keys)) for d in differences]
        render.console().print(render.listing(columns, rows))
    elif not quiet:
        click.echo(f"Star and files agree: {report.tables['songplays'].rows:,} songplays compared.")
    return report.exit_code


@cli.command()
@_options(*_DATA, *_TARGET, _REHASH, _JSON)
def plan(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401
    """Say what a load would read: files new, changed, unchanged and vanished. Writes nothing.

    Example: sparkify-bulk plan data
    """
    from sparkify_bulk import pipeline, render  # noqa: PLC0415

    columns = ("files", "new", "changed", "same", "vanished", "bytes")
    manifests, seconds = pipeline.plan(_settings(jobs=None, **options))
    rows = {
        kind: (m.files, m.new, m.changed, m.same, len(m.vanished), m.size)
        for kind, m in manifests.items()
    }
    if as_json:
        kinds = {kind: dict(zip(columns, row, strict=True)) for kind, row in rows.items()}
        _write_line(kinds | {"estimated_seconds": seconds})
    else:
        listed = [(kind, *row) for kind, row in rows.items()]
        render.console().print(render.listing(("to read", *columns), listed))
        if seconds is not None:
            click.echo(f"At the pace of the last run this takes about {seconds:.0f} s.")


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
def _told(*, as_json: bool, quiet: bool, verbose: bool) -> Iterator[Any]:
    """Let a run be watched and logged; print the report of one that fails, where JSON is wanted."""
    try:
        with _watch(quiet=quiet, verbose=verbose) as watch:
            yield watch
    except SparkifyBulkError as error:
        if as_json and error.report is not None:
            _write(error.report.to_json())
        raise


@contextlib.contextmanager
def _watch(*, quiet: bool, verbose: bool) -> Iterator[Any]:
    """Watch a run by bars on a terminal, by log lines elsewhere."""
    from rich.logging import RichHandler  # noqa: PLC0415

    from sparkify_bulk import progress, render  # noqa: PLC0415

    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logging.getLogger("sparkify_bulk").setLevel(level)
    console = render.console(stderr=True)
    if console.is_terminal and not quiet:
        # By the console that draws the bars: lines written past it would fall into them.
        handler = RichHandler(console=console, show_time=False, show_path=False, highlighter=None)
        handler.setFormatter(Redacted("%(message)s"))
        logging.basicConfig(handlers=[handler])
        with progress.TerminalWatch(console) as bars:
            yield bars
    else:
        plain = logging.StreamHandler(sys.stderr)
        plain.setFormatter(Redacted("%(asctime)s %(levelname)s %(message)s"))
        logging.basicConfig(handlers=[plain])
        yield progress.LogWatch()


def _print_report(report: "Report", *, as_json: bool, quiet: bool) -> None:
    from sparkify_bulk import render  # noqa: PLC0415

    if as_json:
        _write(report.to_json())
    elif not quiet:
        render.console().print(render.summary(report))


def _write(document: bytes) -> None:
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()


# --- the ledger -----------------------------------------------------------------------------------


_RUN = _option("--run", "run_id", metavar="N", type=int, help="Another run than the last.")


@cli.group(invoke_without_command=True)
@_options(
    _RUN,
    _option("--reason", metavar="CODE", help="Only those refused for this reason."),
    _option("--file", metavar="NAME", help="Only those of this file, named as it is listed."),
    _option("--by-reason", is_flag=True, help="Count them by reason instead."),
    _option("--output", metavar="FILE", type=_FOLDER, help="Write them to a new file, as NDJSON."),
    *_TARGET,
    _JSON,
)
@click.pass_context
def rejects(
    context: click.Context,
    /,
    *,
    by_reason: bool,
    output: Path | None,
    dsn: str | None,
    schema: str,
    as_json: bool,
    **chosen: Any,  # noqa: ANN401
) -> None:
    """List the records that the last run refused.

    Example: sparkify-bulk rejects --output rejects.ndjson
    """
    if context.invoked_subcommand:
        return
    from sparkify_bulk import ledger  # noqa: PLC0415
    from sparkify_bulk.settings import schemas  # noqa: PLC0415

    with _connection(dsn) as connection:
        rows = ledger.list_rejects(connection, schemas(schema).ledger, **chosen)
        if output:
            _export(rows, output)
        elif as_json:
            for row in rows:
                _write_line(_reject_document(row))
        else:
            _print_rejects(rows, by_reason=by_reason)


def _reject_document(row: dict[str, Any]) -> dict[str, Any]:
    from sparkify_bulk import ledger  # noqa: PLC0415

    return row | {"raw": ledger.export_text(row["raw"])}


def _export(rows: Iterator[dict[str, Any]], output: Path) -> None:
    """Write rejects to a file that only its owner may read; it must be new, and is no link."""
    import orjson  # noqa: PLC0415

    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(
            f"{output} can't be made: {error.strerror}", hint="name a file that doesn't exist"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        for row in rows:
            file.write(orjson.dumps(_reject_document(row), option=orjson.OPT_APPEND_NEWLINE))


def _print_rejects(rows: Iterator[dict[str, Any]], *, by_reason: bool) -> None:
    from sparkify_bulk import render  # noqa: PLC0415

    if by_reason:
        columns: tuple[str, ...] = ("reason", "rejects")
        found = Counter(row["reason"] for row in rows).most_common()
    else:
        columns = ("file", "line", "column", "reason", "detail")
        found = [tuple(row[column] for column in columns) for row in rows]
    if found:
        render.console().print(render.listing(columns, found))
    else:
        click.echo("No rejects.")


@rejects.command()
@_options(
    _option("--run", "run_id", metavar="N", type=int, help="Only those of this run."),
    _option(
        "--repaired",
        metavar="FILE",
        type=_FOLDER,
        help="An exported file whose raw texts were mended; only what it holds is replayed.",
    ),
    *_TARGET,
    *_TALK,
)
def replay(
    *,
    run_id: int | None,
    repaired: Path | None,
    dsn: str | None,
    schema: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Load rejected records again, after the rules or the records were mended.

    Those that are good now are merged into the star and marked as settled; exit 3 if any is left.

    Example: sparkify-bulk rejects replay --repaired rejects.ndjson
    """
    from sparkify_bulk import pipeline  # noqa: PLC0415
    from sparkify_bulk.settings import Settings  # noqa: PLC0415

    settings = Settings(None, None, dsn=dsn, schema=schema)
    mended = _read_repaired(repaired) if repaired else None
    with _told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        report = pipeline.replay(settings, watch, run_id=run_id, repaired=mended)
    _print_report(report, as_json=as_json, quiet=quiet)
    return report.exit_code


def _read_repaired(path: Path) -> dict[int, bytes]:
    """Read an exported file whose raw texts were mended: bytes by reject_id."""
    import orjson  # noqa: PLC0415

    try:
        lines = path.read_bytes().splitlines()
        documents = [orjson.loads(line) for line in lines if line.strip()]
        return {document["reject_id"]: document["raw"].encode() for document in documents}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is no export of rejects: {error}",
            hint="make one with sparkify-bulk rejects --output FILE, and mend its raw texts",
        ) from error


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
    columns = ("run", "command", "status", "started", "took", "records", "rejects", "exit", "who")
    render.console().print(render.listing((*columns, "error"), map(_run_row, found)))


def _run_row(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a run as it is listed; what it had not come to is left blank."""
    report = row["report"] or {}
    books = report.get("input", {}).values()
    took = row["ended_at"] and (row["ended_at"] - row["started_at"]).total_seconds()
    return (
        row["run_id"],
        row["command"],
        row["status"],
        f"{row['started_at']:%Y-%m-%d %H:%M:%S}",
        None if took is None else f"{took:.1f} s",
        sum(book["records"] for book in books) if report else None,
        report["rejects"]["count"] if report else None,
        row["exit_code"],
        f"{row['client_user']}@{row['client_host']}",
        row["error"],
    )


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
    from sparkify_bulk import pipeline, render, statements  # noqa: PLC0415
    from sparkify_bulk.stage import use_schemas  # noqa: PLC0415

    known = [name.removeprefix("analysis/") for name in statements.names("analysis")]
    if question is not None and question not in known:
        raise click.UsageError(f"no question {question!r}; there are {', '.join(known)}")
    _check_schema(schema)
    with _connection(dsn) as connection, connection.transaction():
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


@cli.command()
@_SCHEMA
@_option("--mermaid", is_flag=True, help="Print an entity-relationship diagram instead.")
@_option("--roles", is_flag=True, help="Print what makes a loading and a reading role instead.")
def schema(schema: str, *, mermaid: bool, roles: bool) -> None:
    """Print the star's DDL.

    Example: sparkify-bulk schema --roles | psql --dbname music
    """
    from sparkify_bulk import diagram  # noqa: PLC0415

    _check_schema(schema)
    if mermaid and roles:
        raise UsageError("--mermaid and --roles are two things", hint="name one of them")
    what = diagram.mermaid() if mermaid else (diagram.roles if roles else diagram.ddl)(schema)
    click.echo(what, nl=False)


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


# --- the benchmark --------------------------------------------------------------------------------


# Prefixed by the command: elsewhere --songs is a folder, and the data to load are the live ones.
_BENCH = f"{_PREFIX}BENCH_"
_AT_LEAST_ONE = click.IntRange(min=1)


def _bench_option(*names: str, **attributes: Any) -> Callable[[_Command], _Command]:  # noqa: ANN401
    return _option(*names, prefix=_BENCH, **({"show_default": True} | attributes))


@cli.command()
@_options(
    click.argument("data", required=False, type=_FOLDER, metavar="[DATA]", envvar=f"{_BENCH}DATA"),
    _DSN,
    _bench_option(
        "--events", metavar="N", type=_AT_LEAST_ONE, default=100_000, help="Events to generate."
    ),
    _bench_option(
        "--songs", metavar="N", type=_AT_LEAST_ONE, default=10_000, help="Songs to generate."
    ),
    _bench_option("--seed", metavar="N", type=int, default=1, help="The same seed, the same data."),
    _bench_option(
        "--rounds", metavar="N", type=_AT_LEAST_ONE, default=3, help="How often each one runs."
    ),
    _bench_option(
        "--contender",
        "names",
        metavar="NAME",
        multiple=True,
        show_default=False,
        help="Only this one; may be repeated.  [default: all but row-by-row-autocommit]",
    ),
    _bench_option(
        "--output", metavar="DIR", type=_FOLDER, default=Path("bench"), help="Where results go."
    ),
    *_TALK,
)
def bench(
    *,
    data: Path | None,
    dsn: str | None,
    events: int,
    songs: int,
    seed: int,
    rounds: int,
    names: tuple[str, ...],
    output: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Time this loader against other ways to fill the same star, on your own server.

    Each runs as a whole process, in turn, in a schema of its own that is dropped in the end; no
    star is touched. Without DATA, data is generated. A time only counts if the star is the same.
    Writes bench.json, and bench.png and bench.svg where sparkify-bulk[bench] is installed.

    Example: sparkify-bulk bench --events 1000000 --songs 100000 --contender floor
    """
    from sparkify_bulk import bench, render  # noqa: PLC0415

    _make_folder(output)
    with _told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        sizes = bench.Sizes(events, songs, seed)
        document = bench.bench(dsn, data, sizes=sizes, rounds=rounds, names=names, watch=watch)
    written = bench.write(document, output)
    if as_json:
        _write_line(document)
    else:
        render.console().print(render.comparison(document))
        click.echo(f"Written: {', '.join(map(str, written))}")
    if len(written) == 1 and not quiet:
        click.echo("No chart: install it by pip install 'sparkify-bulk[bench]'", err=True)
    return 1 if any("error" in contender for contender in document["contenders"]) else 0


def _make_folder(output: Path) -> None:
    """Make the folder before anything is measured, not after."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK):
            raise PermissionError(0, "no right to write there")
    except OSError as error:
        raise UsageError(
            f"{output} can't be made or written to: {error.strerror}", hint="name it by --output"
        ) from error


# --- the embedded server --------------------------------------------------------------------------


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
