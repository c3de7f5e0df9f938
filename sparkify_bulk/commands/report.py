"""The command that writes a page about a run and the star."""

from pathlib import Path

import click

from sparkify_bulk.commands.options import (
    DSN,
    FOLDER,
    PREFIX,
    RUN_NUMBER,
    SCHEMA,
    option,
    options,
)
from sparkify_bulk.settings import schemas


@click.command(short_help="Write a page about the last run and the star.")
@options(
    option(
        "--output",
        prefix=f"{PREFIX}REPORT_",
        metavar="FILE",
        type=FOLDER,
        default=Path("sparkify-report.html"),
        show_default=True,
        help="Where the page goes; a file that exists is replaced.",
    ),
    option(
        "--run",
        "run_id",
        metavar="N",
        type=RUN_NUMBER,
        help="Number of the run; default: the last one.",
    ),
    DSN,
    SCHEMA,
)
def report(output: Path, run_id: int | None, dsn: str | None, schema: str) -> None:
    """Write a page about the last load or reload, and about the star as it is now.

    One HTML file, for browsers and for mail: whether all is well, where the time went, what was
    rejected, what the star holds, and how the runs before went.

    Example: sparkify-bulk report --output sparkify.html
    """
    from sparkify_bulk.database.server import open_connection
    from sparkify_bulk.reporting import page

    page.check_output(output)
    with open_connection(dsn, schema, schemas(schema).ledger) as connection:
        page.write(connection, schema, output, run_id)
    click.echo(f"Written: {output}")
