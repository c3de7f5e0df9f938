"""The commands that list rejects, export them, and load them again."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.options import (
    FOLDER,
    JSON,
    PREFIX,
    ROW_COUNT,
    RUN_NUMBER,
    TALK,
    TARGET,
    option,
    options,
)
from sparkify_bulk.errors import UsageError
from sparkify_bulk.transform.rejection import REASONS
from sparkify_bulk.units import count

_TABLE_ROWS = 100
_PART_ROWS = 1000
# Prefixed by the command: elsewhere --limit is of runs and of queries.
_REJECTS = f"{PREFIX}REJECTS_"
RUN = option(
    "--run",
    "run_id",
    metavar="N",
    type=RUN_NUMBER,
    help="Number of the run; default: the last one.",
)


@click.group(invoke_without_command=True, short_help="List the records that were rejected.")
@options(
    RUN,
    option(
        "--reason",
        metavar="CODE",
        type=click.Choice(REASONS),
        help=f"Only those refused for this reason: {', '.join(REASONS)}.",
    ),
    option("--file", metavar="NAME", help="Only those of this file, named as it is listed."),
    option("--by-reason", is_flag=True, help="Count them by reason instead."),
    option("--output", metavar="FILE", type=FOLDER, help="Write them to a new file, as NDJSON."),
    option(
        "--limit",
        prefix=_REJECTS,
        metavar="N",
        type=ROW_COUNT,
        help=f"At most N.  [default: {_TABLE_ROWS} in a table, else all]",
    ),
    *TARGET,
    JSON,
)
@click.pass_context
def rejects(
    context: click.Context,
    /,
    *,
    run_id: int | None,
    by_reason: bool,
    output: Path | None,
    limit: int | None,
    dsn: str | None,
    schema: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """List the records that the last run rejected.

    Example: sparkify-bulk rejects --output rejects.ndjson
    """
    if context.invoked_subcommand:
        return
    from sparkify_bulk import ledger
    from sparkify_bulk.database.server import open_connection
    from sparkify_bulk.settings import schemas

    names = schemas(schema)
    with open_connection(dsn, names.ledger) as connection:
        chosen_run = ledger.choose_run(connection, names.ledger, run_id)
        if chosen_run is None:
            if not as_json:
                click.echo("No runs yet, so no rejects.")
            return
        run_id = chosen_run["run_id"]
        # Closed before the connection is: not all rows may have been read.
        with closing(ledger.list_rejects(connection, names.ledger, run_id, **chosen)) as rows:
            if output:
                written = _export(islice(rows, limit), output)
                click.echo(f"Written: {count(written, 'reject')} of run {run_id} to {output}")
            elif as_json:
                for row in islice(rows, limit):
                    streams.write_line(_reject_document(row))
            else:
                click.echo(_describe_run(chosen_run))
                _print_rejects(rows, by_reason=by_reason, limit=limit)


def _describe_run(row: dict[str, Any]) -> str:
    """Say which run's rejects are shown: a command line that is wrong leaves no run."""
    return f"Run {row['run_id']} ({row['command']}, started {row['started_at']:%Y-%m-%d %H:%M:%S})"


def _reject_document(row: dict[str, Any]) -> dict[str, Any]:
    from sparkify_bulk import ledger

    return row | {"raw": ledger.export_text(row["raw"])}


def _export(rows: Iterator[dict[str, Any]], output: Path) -> int:
    """Write rejects to a file that only its owner may read; return how many.

    The file must be new, and is no link.
    """
    import orjson

    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(
            f"{output} can't be made: {error.strerror}", hint="name a file that doesn't exist"
        ) from error
    written = 0
    with os.fdopen(descriptor, "wb") as file:
        for row in rows:
            file.write(orjson.dumps(_reject_document(row), option=orjson.OPT_APPEND_NEWLINE))
            written += 1
    return written


def _print_rejects(rows: Iterator[dict[str, Any]], *, by_reason: bool, limit: int | None) -> None:
    from sparkify_bulk.commands import tables

    if by_reason:
        counted = Counter(row["reason"] for row in rows).most_common(limit)
        if counted:
            tables.console().print(tables.listing(("reason", "rejects"), counted))
        else:
            click.echo("No rejects.")
        return
    limit = _TABLE_ROWS if limit is None else limit
    columns: tuple[str, ...] = (
        "file",
        "line",
        "offset",
        "bytes",
        "column",
        "reason",
        "detail",
        "state",
    )
    rows = iter(rows)
    shown = 0
    # A table of many rows takes a kilobyte for each: it comes in parts.
    while part := list(islice(rows, min(_PART_ROWS, limit - shown))):
        shown += len(part)
        seen_rows = (row | {"bytes": len(row["raw"]), "state": _state(row)} for row in part)
        found = [[row[name] for name in columns] for row in seen_rows]
        # Most runs' rejects are.
        all_open = all(state == "open" for *_, state in found)
        seen = len(columns) - all_open
        listing = tables.listing(columns[:seen], [row[:seen] for row in found])
        tables.console().print(listing)
    more = next(rows, None) is not None
    if not shown and not more:
        click.echo("No rejects.")
    if more:
        click.echo(
            f"Only the first {limit:,}; see --limit, --by-reason, or --output for all.", err=True
        )


def _state(row: dict[str, Any]) -> str:
    """Return in a word or two whether a reject can still be replayed."""
    return f"resolved by {row['settled_by']}" if row["state"] == "resolved" else str(row["state"])


@rejects.command()
@options(
    option("--run", "run_id", metavar="N", type=RUN_NUMBER, help="Only those of this run."),
    option(
        "--repaired",
        metavar="FILE",
        type=FOLDER,
        help="An exported file with repaired raw texts; only the records in it are replayed.",
    ),
    *TARGET,
    *TALK,
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
    """Load rejected records again, after the rules changed or the records were repaired.

    Those that are good now are merged into the star and marked as resolved; exit 3 if any is left.

    Example: sparkify-bulk rejects replay --repaired rejects.ndjson
    """
    from sparkify_bulk import pipeline
    from sparkify_bulk.settings import Settings

    settings = Settings(None, None, dsn=dsn, schema=schema)
    mended = _read_repaired(repaired) if repaired else None
    with streams.told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        report = pipeline.replay(settings, watch, run_id=run_id, repaired=mended)
    streams.print_report(report, as_json=as_json, quiet=quiet, verbose=verbose)
    return report.exit_code


def _read_repaired(path: Path) -> dict[int, bytes]:
    """Read an exported file whose raw texts were mended: bytes by reject_id."""
    import orjson

    try:
        lines = path.read_bytes().splitlines()
        documents = [orjson.loads(line) for line in lines if line.strip()]
        return {document["reject_id"]: document["raw"].encode() for document in documents}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not an export of rejects: {error}",
            hint="make one with sparkify-bulk rejects --output FILE, and repair its raw texts",
        ) from error
