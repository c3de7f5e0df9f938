"""The command that lists the runs on record."""

from contextlib import closing
from itertools import islice
from typing import Any

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.options import (
    DSN,
    JSON,
    ROW_COUNT,
    SCHEMA,
    option,
)
from sparkify_bulk.redaction import printable
from sparkify_bulk.units import count

_PART_ROWS = 1000
_INTERRUPTED = (130, 143)


@click.command()
@option("--limit", metavar="N", type=ROW_COUNT, default=20, show_default=True, help="How many.")
@DSN
@SCHEMA
@JSON
def runs(limit: int, dsn: str | None, schema: str, *, as_json: bool) -> None:
    """List the latest runs, newest first.

    Example: sparkify-bulk runs --limit 5
    """
    from sparkify_bulk import ledger
    from sparkify_bulk.commands import tables
    from sparkify_bulk.database.server import open_connection
    from sparkify_bulk.settings import schemas

    names = schemas(schema)
    with (
        open_connection(dsn, names.ledger) as connection,
        closing(ledger.each_run(connection, names.ledger, limit)) as rows,
    ):
        if as_json:
            for row in rows:
                streams.write_line(row)
            return
        out = tables.console()
        shown = 0
        while part := list(islice(rows, _PART_ROWS)):
            shown += len(part)
            columns = ("run", "command", "status", "started", "took", "records", "exit", "who")
            out.print(tables.listing(columns, map(_run_row, part)))
            # Sentences, which no column has room for.
            for row in part:
                if row["error"]:
                    out.print(printable(f"run {row['run_id']}: {row['error']}"), markup=False)
        if not shown:
            click.echo("No runs.")


def _run_row(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a run as it is listed; what it had not come to is left blank."""
    report = row["report"] or {}
    counts = report.get("input", {}).values()
    took = row["ended_at"] and (row["ended_at"] - row["started_at"]).total_seconds()
    return (
        row["run_id"],
        row["command"],
        _status(row),
        f"{row['started_at']:%Y-%m-%d %H:%M}",
        None if took is None else f"{took:.1f} s",
        sum(numbers["records"] for numbers in counts) if report else None,
        row["exit_code"],
        f"{row['client_user']}@{row['client_host']}",
    )


def _status(row: dict[str, Any]) -> str:
    """Return in a word or two how a run ended."""
    if row["exit_code"] in _INTERRUPTED:
        return "interrupted"
    if row["status"] == "succeeded_with_rejects":
        return count(row["report"]["rejects"]["count"], "reject")
    return str(row["status"])
