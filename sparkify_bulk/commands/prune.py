"""The command that deletes old runs and rejects."""

from datetime import UTC, datetime, timedelta

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.options import (
    DSN,
    JSON,
    SCHEMA,
    Age,
    option,
)
from sparkify_bulk.units import count


@click.command(short_help="Delete old runs and rejects from the ledger.")
@option(
    "--older-than",
    metavar="AGE",
    type=Age(),
    required=True,
    help="Delete what is older: 90m, 36h, 2d.",
)
@option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@DSN
@SCHEMA
@JSON
def prune(
    *, older_than: timedelta, dry_run: bool, dsn: str | None, schema: str, as_json: bool
) -> None:
    """Delete old runs, and the rejects they left, from the ledger.

    The star stays as it is, and the last run that succeeded stays on record, with those after it.
    Rejects hold raw records; those that are deleted can't be replayed any more.

    Example: sparkify-bulk prune --older-than 90d
    """
    from sparkify_bulk import ledger
    from sparkify_bulk.database.server import open_connection
    from sparkify_bulk.settings import schemas

    before = datetime.now(UTC) - older_than
    names = schemas(schema)
    needs = ("SELECT", "DELETE")
    with open_connection(dsn, names.ledger, privileges=needs) as connection:
        runs, rejects = ledger.prune(connection, names.ledger, before, dry=dry_run)
    if as_json:
        streams.write_line({"runs": runs, "rejects": rejects, "dry_run": dry_run})
    else:
        done = "Would delete" if dry_run else "Deleted"
        click.echo(f"{done} {count(runs, 'run')} and {count(rejects, 'rejected record')}.")
