"""The command that compares the star with all files."""

import dataclasses
from typing import Any

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.inputs import settings_of
from sparkify_bulk.commands.options import (
    DATA,
    JOBS,
    TALK,
    TARGET,
    WAIT,
    options,
)


@click.command(short_help="Compare the star with all files.")
@options(*DATA, *TARGET, JOBS, WAIT, *TALK)
def verify(*, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Read all files again, record by record, and compare them with the star.

    Exit 0 if it does, 1 if not. The star is only read.

    Example: sparkify-bulk verify data
    """
    from sparkify_bulk import pipeline
    from sparkify_bulk.commands import tables

    settings = settings_of(**options)
    with streams.told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        report, differences = pipeline.verify(settings, watch)
    if as_json:
        found = [dataclasses.asdict(difference) for difference in differences]
        streams.write_line(report.to_dict() | {"differences": found})
    elif differences:
        columns = ("table", "difference", "rows", "for example")
        rows = [(d.table, d.difference, d.rows, "; ".join(d.keys)) for d in differences]
        tables.console().print(tables.listing(columns, rows))
    elif not quiet:
        click.echo(f"Star and files agree: {report.tables['songplays'].rows:,} songplays compared.")
    return report.exit_code
